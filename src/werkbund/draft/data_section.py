"""The data section of a drafted configuration: roles of the columns, features, and what must never be one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkbund.config.rows import DataSection
from werkbund.core.target import NumberTarget
from werkbund.data import Column
from werkbund.data.dialect import Dialect, Reading
from werkbund.draft.columns import Excluded, Feature
from werkbund.draft.label import Label
from werkbund.draft.roles import Roles
from werkbund.draft.sizes import TableSizes
from werkbund.draft.telemetry import Drafted
from werkbund.draft.toml import SetKey, comment, key, remark, section, value


@dataclass(frozen=True)
class SourceFiles:
    """Hold where the rows lie.

    Parameters
    ----------
    path, by_client
        One file, or one a client by its name.
    config_folder
        Where the draft will lie.
    reading
        How the files are written, and what was done to read them.
    """

    path: Path | None
    by_client: Mapping[str, Path]
    config_folder: Path
    reading: Reading

    def shown(self, path: Path) -> str:
        """Return a path from the draft's folder if it lies in it or beside it, else the whole path."""
        base, whole = self.config_folder.resolve(), path.resolve()
        if whole.is_relative_to(base):
            return whole.relative_to(base).as_posix()
        beside = base.parent != Path(base.anchor) and whole.is_relative_to(base.parent)
        return f"../{whole.relative_to(base.parent).as_posix()}" if beside else whole.as_posix()


@dataclass(frozen=True)
class Draft:
    """Hold everything that a look at a table says.

    Parameters
    ----------
    files
        Where its rows lie.
    label, roles, features, excluded
        What its columns are.
    sizes
        How it is divided and how long it is trained.
    known
        Whether header and label are those of AI4I 2020.
    telemetry
        What rows are made of, where the file holds readings.
    """

    files: SourceFiles
    label: Label
    roles: Roles
    features: tuple[Feature, ...]
    excluded: tuple[Excluded, ...]
    sizes: TableSizes
    known: bool = False
    telemetry: Drafted | None = None


def data_section(draft: Draft) -> list[str]:
    """Return the lines of the data section and the tables below it."""
    settings, files = _roles(draft), draft.files
    if files.path is not None:
        settings.insert(0, SetKey("path", files.shown(files.path), "From this file's folder, or a whole path."))
    settings += _form(files.reading)
    lines = [*section("data", DataSection, settings), *_never(draft)]
    if files.by_client:
        lines += ["", "[data.clients]", *comment("One file a client.")]
        lines += [f"{key(name)} = {value(files.shown(path))}" for name, path in files.by_client.items()]
    if draft.telemetry is not None:
        lines += ["", *draft.telemetry.lines()]
    return [*lines, "", *_columns(draft), *_codes(draft)]


_USUAL = Dialect(",", False, "utf-8", 0, True, False)


def _form(reading: Reading) -> list[SetKey]:
    """Return the keys that say how the file is written, where it is not written in the usual way."""
    usual, whys = _USUAL.said(), {"separator": f"Read as: {reading.sentence()}. What is left out is found out."}
    told = {key: setting for key, setting in reading.dialect.said().items() if usual.get(key) != setting}
    return [SetKey(key, setting, whys.get(key, "As the file is written.")) for key, setting in told.items()]


def _roles(draft: Draft) -> list[SetKey]:
    label, roles = draft.label, draft.roles
    settings = [SetKey("label", label.name, "The column to foretell.")]
    if draft.telemetry is not None:
        settings = []
    elif label.positive is not None:
        settings.append(SetKey("positive", label.positive, label.remark))
    else:
        settings[0] = SetKey("label", label.name, f"The column to foretell. {label.remark}")
    if label.empty is not None:
        settings.append(
            SetKey("empty_label", label.empty, "What a row without a value of the label means: no failure.")
        )
    if isinstance(label.target, NumberTarget):
        settings += _of_number(label.target)
    if roles.machine is not None:
        why = "Named like a machine, and its values repeat. Whole machines are held out to judge the model."
        settings.append(SetKey("machine", roles.machine, why))
    if roles.machine_reset is not None:
        why = "It grows and falls back to nearly nothing, as wear does: a new machine or tool begins where it falls."
        settings.append(SetKey("machine_reset", roles.machine_reset, why))
    if roles.time is not None:
        settings.append(SetKey("time", roles.time, roles.time_remark))
    if roles.client is not None and not draft.files.by_client:
        settings.append(
            SetKey(
                "client",
                roles.client,
                "Each of its values is a client; if it is no site, name it in never.",
            )
        )
    return settings


def _of_number(target: NumberTarget) -> list[SetKey]:
    ahead = "A row counts as a failure if its number is at most this; put in the lead time that planning needs."
    cap = "Numbers above it are taken for it: wear rarely shows so early. Three quarters of the rows are below."
    return [
        SetKey("target", "number", "The number itself is foretold; alarms and costs go by the horizon."),
        SetKey("horizon", target.horizon, ahead),
        SetKey("cap", target.cap, cap),
    ]


def _never(draft: Draft) -> list[str]:
    """Return what is known about rows and sites without a key of its own, and the columns that stay out."""
    roles, lines = draft.roles, []
    if roles.time is None:
        lines += comment(roles.time_remark)
    for name in roles.sites:
        lines += comment(
            f'Is {name!r} the site? Then take it out of never, set client to it and clients.partition to "by-column" '
            f"without a count; or write the draft again with --client {name}."
        )
    lines += comment("Columns that must never become features; each with its reason.")
    if not draft.excluded:
        return [*lines, "never = []"]
    listed_columns = [f"  {value(column.name)},{remark(column.reason)}" for column in draft.excluded]
    return [*lines, "never = [", *listed_columns, "]"]


def _columns(draft: Draft) -> list[str]:
    lines = ["[data.columns]"]
    lines += comment(
        "The features: only what stands here. Units are read off the header. low and high bound what is plausible: the "
        "1st to the 99th percentile, widened by their distance at both ends. Values outside are reported, not dropped; "
        "put in the limits that you know. A missing value counts as average and is marked by a feature of its own."
    )
    lines += [_column(feature.column, feature.remark) for feature in draft.features]
    spare = [(excluded.column, excluded.reason) for excluded in draft.excluded if excluded.column is not None]
    if spare:
        lines += comment("Left out; to bring one back take it out of never above, and the # away here.")
    return [*lines, *("#" + _column(column, reason) for column, reason in spare)]


def _codes(draft: Draft) -> list[str]:
    """Return the marks that stand for no reading, where columns have some."""
    columns = [feature.column for feature in draft.features if feature.column.missing]
    if not columns:
        return []
    why = "Numbers that stand apart from all others of their column, as a controller writes where there is no reading."
    return [
        "",
        "[data.missing]",
        *comment(why),
        *(f"{key(each.name)} = {value(list(each.missing))}" for each in columns),
    ]


def _column(column: Column, why: str) -> str:
    described: dict[str, Any] = {"kind": column.kind}
    described |= {"unit": column.unit} if column.unit else {}
    bounds = {"low": column.low, "high": column.high}
    described |= {name: bound for name, bound in bounds.items() if bound is not None}
    return f"{key(column.name)} = {value(described)}{remark(why)}"
