"""A commented configuration for a table that nobody prepared: a first proposal that runs, and says why it is so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from glob import has_magic
from pathlib import Path
from typing import Any

import polars as pl

from werkbund.config import privacy, rows, sections, simulated
from werkbund.core.errors import ConfigError, DataError
from werkbund.core.target import FAILURE
from werkbund.data import ClientFiles, Dialect, Origin, recognise, source_for
from werkbund.data.checks.labels import FEW_POSITIVES
from werkbund.data.client_files import CLIENT_COLUMN
from werkbund.data.names import nearest
from werkbund.data.sources import files_of
from werkbund.data.targets import Value
from werkbund.data.time.rows import LABEL
from werkbund.draft.columns import signals_of, sort_columns
from werkbund.draft.data_section import Draft, SourceFiles, data_section
from werkbund.draft.label import find_label, label_of
from werkbund.draft.roles import SITE_WORDS, Roles, roles_of, words
from werkbund.draft.sizes import listed, positive_weight_of, sizes_of
from werkbund.draft.telemetry import Drafted, draft_telemetry
from werkbund.draft.toml import SetKey, comment, name_of, section, value


def draft_config(path: Path | None = None, **known: Any) -> str:
    """Look at a table and return a configuration for it as commented TOML; its arguments are those of `draft_of`.

    `load_config` reads it, and `run` runs it as it is.
    """
    return text_of(draft_of(path, **known))


def draft_of(
    path: Path | None = None,
    *,
    clients: Mapping[str, Path] | None = None,
    label: str | None = None,
    client: str | None = None,
    positive: Value | Sequence[Value] | None = None,
    events: Path | None = None,
    dialect: Dialect | None = None,
    config_folder: Path,
) -> Draft:
    """Look at a table, and return what a configuration for it rests on: label, roles, features, sizes.

    Parameters
    ----------
    path
        A file with all rows, or a folder or pattern of such; see `source_for`. Files that are named like plants, and
        have no column with the site, are one a client.
    clients
        Or one of these a client, by its name.
    label
        The column to foretell; None where the label follows from a log, or to find it by header and values.
    client
        The column whose values are the clients; None to take the one column that names sites, if there is one.
    positive
        The label's value that means failure, or several; None to guess it.
    events
        A log of failures and planned stops: the table holds readings, of which rows are made.
    dialect
        What is known of how the files are written; the rest is found out.
    config_folder
        Where the configuration will lie; files near it are named from there.

    Raises
    ------
    ConfigError
        If a column or value that was named is not in the table.
    DataError
        If the table cannot be read or cannot be learnt from.
    """
    by_client = dict(clients or {})
    if (path is None) == (not by_client):
        raise ConfigError("give one table or one file a client, got " + ("both" if by_client else "neither"))
    if by_client and client is not None:
        raise ConfigError(f"client must be left out where every client has a file, got {client!r}; drop it")
    if label is not None and events is not None:
        raise ConfigError("give the label's column, or a log of failures, got both; drop one")
    frame, origin = _read(path, by_client, dialect or Dialect())
    if path is not None and client is None and events is None and not roles_of(frame, "", None).sites:
        by_client = _files_of_plants(Path(path))
        path = None if by_client else path
        frame, origin = _read(path, by_client, dialect or Dialect()) if by_client else (frame, origin)
    files = SourceFiles(Path(path) if path else None, by_client, Path(config_folder), origin.reading)
    column = CLIENT_COLUMN if by_client else client
    _check_client(frame, column, label)
    if events is not None:
        return _look_at_readings(files, frame, column, Path(events))
    return _look(files, frame, label, column, positive)


def _files_of_plants(path: Path) -> dict[str, Path]:
    """Return the files of a folder or pattern that are named like plants, by name; none where they are named otherwise.

    A name of a plant has no digit, as the names of days and exports have, or has a word for a site.
    """
    if not (path.is_dir() or has_magic(str(path))) or path.is_file():
        return {}
    files = {file.name.split(".")[0]: file for file in files_of(path)}
    named = all(not re.search(r"\d", name) or SITE_WORDS & set(words(name)) for name in files)
    return files if len(files) > 1 and named else {}


def _read(path: Path | None, by_client: Mapping[str, Path], dialect: Dialect) -> tuple[pl.DataFrame, Origin]:
    """Return the rows, read just as a run will read them."""
    if path is None:
        return ClientFiles(by_client, CLIENT_COLUMN, dialect).read()
    return source_for(Path(path), dialect).read()


def _check_client(frame: pl.DataFrame, client: str | None, label: str | None) -> None:
    """Refuse a client column that is not there, is the label, or lacks values."""
    if client is None:
        return
    if client == label:
        raise ConfigError(f"client and label must be two columns, got {client!r} for both; name the site's column")
    if client not in frame.columns:
        raise ConfigError(f"client must name a column of the table, got {client!r}{nearest(client, frame.columns)}")
    missing = frame[client].null_count()
    if missing:
        raise DataError(
            f"client {client!r} must have a value in every row, {missing} of {frame.height} are missing; fill them in "
            "or drop these rows"
        )


def _look(
    files: SourceFiles,
    frame: pl.DataFrame,
    label: str | None,
    client: str | None,
    positive: Value | Sequence[Value] | None,
) -> Draft:
    known = recognise(frame)
    if label is None:
        label = find_label(frame) if known is None else known.label
    meaning = label_of(frame, label, positive)
    roles = _roles(frame, label, client)
    client = roles.client
    features, excluded = sort_columns(meaning.filled(frame), meaning, roles, files.reading.units)
    return Draft(
        files,
        meaning,
        roles,
        features,
        excluded,
        sizes_of(frame, meaning, roles, client),
        known is not None and known.label == label,
    )


def _look_at_readings(files: SourceFiles, frame: pl.DataFrame, client: str | None, log: Path) -> Draft:
    """Look at readings and a log, and return what a draft rests on; one column that names sites is the client's."""
    roles = _roles(frame, "", client)
    client = roles.client
    signals, excluded = signals_of(frame, roles)
    drafted = draft_telemetry(frame, roles, signals, log, files.shown(log))
    meaning = label_of(drafted.rows, LABEL, None)
    sizes = sizes_of(drafted.rows, meaning, roles, client)
    return Draft(files, meaning, roles, signals, excluded, sizes, telemetry=drafted)


def _roles(frame: pl.DataFrame, label: str, client: str | None) -> Roles:
    """Return the roles of the columns; where no client is named, the one column that names sites is it."""
    roles = roles_of(frame, label, client)
    sites = [name for name in roles.sites if not frame[name].null_count()]
    return roles_of(frame, label, sites[0]) if client is None and len(sites) == 1 else roles


def text_of(draft: Draft) -> str:
    """Return the draft as commented TOML, which `load_config` reads and `run` runs as it is."""
    strategy = sections.Config().strategy
    parts = [
        _head(draft),
        _federation(draft),
        data_section(draft),
        _features(draft),
        _clients(draft),
        section("model", sections.ModelSection, []),
        section("trees", sections.TreesSection, []),
        _training(draft),
        section("strategy.selection", sections.SelectionSection, []),
        _aggregation(draft),
        *(section(f"strategy.{name}", type(getattr(strategy, name)), []) for name in ("pace", "clusters", "personal")),
        section("privacy", privacy.PrivacySection, []),
        _evaluation(draft),
        section("stop", sections.StopSection, []),
        section("world", simulated.WorldSection, []),
        section("attack", simulated.AttackSection, []),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def _head(draft: Draft) -> list[str]:
    """Return the comment lines that stand above all sections."""
    label, files = draft.label, draft.files
    source = files.path.name if files.path else f"the files of {len(files.by_client)} clients"
    lines = comment(
        f"Written by `werkbund init` after a look at {source}: {label.rows} rows, {len(draft.features)} features, "
        f"{label.positives} failures ({100 * label.prevalence:.2g} %) in {label.name!r}. It runs as it is; the reason "
        "of each choice stands beside it, so read it and correct what is wrong. Lines that begin with #key are further "
        "keys with their usual values: take the # away to change them."
    )
    if draft.telemetry is not None:
        lines += comment(draft.telemetry.remark)
    if draft.known:
        lines += comment(
            "Werkbund knows this table by its header: with nothing but path in [data] it uses failure modes, ranges "
            "and derived features of its own."
        )
    if label.positives < FEW_POSITIVES:
        lines += [
            "#",
            *comment(
                f"Beware: {label.positives} failures are too few. Some splits will hold none in the validation or test "
                "rows, or even none to train on, and every score is mostly chance. Collect more before you decide."
            ),
        ]
    return lines


def _federation(draft: Draft) -> list[str]:
    sizes = draft.sizes
    settings = [
        SetKey("name", name_of(draft.files.path.stem if draft.files.path else ""), "Runs lie in runs/<name>."),
        SetKey(
            "rounds",
            sizes.rounds,
            "In a round each client goes once through its training rows; the round that is best on validation rows is "
            "kept. With few rows many rounds cost little; try twice as many if the last ones are still the best.",
        ),
        SetKey(
            "quorum",
            sizes.quorum,
            f"Share of the {sizes.count} clients that must answer for a round to count"
            + ("; with so few, all must." if sizes.quorum == 1 else "; the others may fail."),
        ),
    ]
    return section("federation", sections.FederationSection, settings)


def _features(draft: Draft) -> list[str]:
    numbers = [feature.column.name for feature in draft.features if feature.column.kind == "number"]
    lines = section("features", rows.FeaturesSection, [])
    lines += comment(
        "Derived features in SQL over columns from above, names in double quotes; such as power, differences."
    )
    first, second = (numbers * 2)[:2] if numbers else ("torque", "speed")
    expression = f'"{first}" * "{second}"'
    return [*lines, "#[features.derived]", f"#product = {value(expression)}"]


def _clients(draft: Draft) -> list[str]:
    sizes, roles = draft.sizes, draft.roles
    kind = SetKey("partition", sizes.partition, _partition_reason(draft))
    if sizes.partition == "by-column":
        return section("clients", rows.ClientsSection, [kind, *_split(draft)], {"count": sizes.count})
    count = SetKey(
        "count",
        sizes.count,
        "So many that each has at least about 500 rows and 10 failures, at most 10"
        + (", and some machines to hold out." if roles.machine or roles.machine_reset else "."),
    )
    return section("clients", rows.ClientsSection, [kind, count, *_split(draft)])


_FEWEST_TIMES, _FEWEST_FAILURES = 20, 30
"""Below, a share of the rows, the last ones in time, is a moment rather than a period, or has next to no failure."""


def _split(draft: Draft) -> list[SetKey]:
    """Return how rows are held out in time; nothing where no column tells the time."""
    roles, label = draft.roles, draft.label
    if draft.telemetry is not None:
        return _split_of_readings(draft.telemetry)
    if roles.time is None:
        return []
    if roles.num_times < _FEWEST_TIMES or label.positives < _FEWEST_FAILURES:
        few = f"{roles.num_times} different times and {label.positives} failures are too few for a period of its own."
        return [SetKey("later", 0.0, few)]
    ahead = (
        f"If a label looks ahead, as a failure within the next 24 hours does, set gap to as long: rows so near before "
        f"a border of {roles.time!r} are then left out."
    )
    if not (roles.machine or roles.machine_reset):
        why = "No machine is known, and a model is used on rows that come after those it learnt from: so the last rows "
        return [SetKey("split", "time", f"{why}in time are held out to judge it. {ahead}")]
    why = (
        "Whole machines are held out, and of all machines the last fifth of the rows in time: the report says how the "
        "model does on machines that it does not know, and in a later period, which is often worse. "
    )
    later = f'With split = "time" the later rows alone judge it. {ahead}'
    return [SetKey("split", "machines", why), SetKey("later", rows.ClientsSection().later, later)]


def _split_of_readings(drafted: Drafted) -> list[SetKey]:
    """Return how rows that are made of readings are held out."""
    later = SetKey("later", 0.0, "No period of its own; with many failures and machines try 0.2.")
    if drafted.by_time:
        why = "A site has fewer than five machines, so the last rows in time are held out; "
        return [SetKey("split", "time", why + "rows near a border, whose windows or labels cross it, are left out.")]
    why = "Whole machines are held out; those with failures and others apart, and one alone with failures trains."
    return [SetKey("split", "machines", why), later]


def _partition_reason(draft: Draft) -> str:
    """Return why the rows are divided as they are."""
    sizes = draft.sizes
    if sizes.partition == "tool-blocks":
        return (
            "No column was named as client, so the federation is played: consecutive blocks of whole machines are the "
            "clients. Name a site column, if there is one, to see your own plants."
        )
    if sizes.partition == "iid":
        return (
            "Neither client nor machine is known, so rows are dealt out at random: the clients are alike, and "
            "neighbouring rows of a machine may lie in training and test, which flatters the scores. Name a machine or "
            "a client column if there is one."
        )
    without = sum(client.positives == 0 for client in sizes.clients)
    text = f"{sizes.count} clients. {listed(sizes.clients)}."
    if not (draft.roles.machine or draft.roles.machine_reset or draft.roles.time):
        text += " No machine is known, so the last rows of each client are held out."
    if sizes.count == 1:
        text += " One client alone is no federation; name another column."
    if without:
        text += f" {without} without a failure cannot learn one alone; they take part like the others."
    if any(client.rows < 3 for client in sizes.clients):
        text += " Those with fewer than 3 rows only train, nothing is held out."
    return text


def _training(draft: Draft) -> list[str]:
    label, sizes = draft.label, draft.sizes
    ratio = (label.rows - label.positives) / label.positives
    weight = positive_weight_of(label)
    rarity = f"There are {ratio:.3g} rows without failure for each one with. "
    why = rarity + (
        f"A failure counts as sqrt({ratio:.3g}) = {ratio**0.5:.2g} rows in the loss, so that it is not drowned; "
        "probabilities come out too high by about this factor, and the threshold allows for it. "
        '"none" keeps them honest, "balanced" weighs by the full ratio.'
        if weight == "sqrt"
        else 'That is no imbalance to correct; else "sqrt" or "balanced" weigh failures by their rarity.'
    )
    settings = [
        SetKey(
            "batch_size",
            sizes.batch_size,
            "Rows a step: about 200 steps a round at the largest client, but 16 rows at least.",
        ),
        SetKey("positive_weight", weight, why),
        SetKey(
            "clip_norm",
            1.0,
            "Largest norm of a step's gradient: a wild reading or a rare failure cannot throw the weights about.",
        ),
    ]
    return section("training", sections.TrainingSection, settings)


def _aggregation(draft: Draft) -> list[str]:
    clients = draft.sizes.clients
    why = "Each client's update counts by its number of training rows"
    if clients and clients[0].rows >= 10 * clients[-1].rows:
        why += (
            f"; {clients[0].name} has {clients[0].rows} rows and {clients[-1].name} {clients[-1].rows}, and with "
            '"equal" the smallest would have as much say as the largest'
        )
    settings = [SetKey("weighting", "examples", why + ".")]
    return section("strategy.aggregation", type(sections.Config().strategy.aggregation), settings)


def _evaluation(draft: Draft) -> list[str]:
    share, costs = draft.label.prevalence, sections.EvaluationSection()
    nothing, everything = 1000 * share * costs.missed_failure, 1000 * (1 - share) * costs.needless_inspection
    why = (
        "What a failure costs that nobody foresaw, against an inspection that found nothing; only their ratio counts. "
        "Put in your own prices: the threshold follows them. With these, to inspect nothing costs "
        f"{nothing:.3g} per 1000 rows and to inspect every row {everything:.3g}; the model must come out below both."
    )
    metric = [] if draft.label.target == FAILURE else [SetKey("metric", "rmse", "Of the number, on validation rows.")]
    settings = [
        *metric,
        SetKey("missed_failure", costs.missed_failure, why),
        SetKey("needless_inspection", costs.needless_inspection, "In the same currency."),
    ]
    return section("evaluation", sections.EvaluationSection, settings)
