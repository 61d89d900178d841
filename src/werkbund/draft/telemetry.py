"""A first description of readings with a log of failures: what the log's columns mean, and how long windows are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from werkbund.config.rows import ColumnSection, DataSection, EventsSection, WindowsSection
from werkbund.core.errors import ConfigError
from werkbund.data import source_for
from werkbund.data.time.clock import TICKS, Clock, is_counted, span
from werkbund.data.time.events import LogTable, key_of
from werkbund.data.time.rows import LABEL, made, purge_of, told_outcomes
from werkbund.data.times import moments
from werkbund.draft.columns import Feature
from werkbund.draft.roles import Roles, is_moment, machine_of, words
from werkbund.draft.toml import SetKey, section

_BACK_WORDS = {
    "back",
    "end",
    "ended",
    "until",
    "finished",
    "repaired",
    "up",
    "ende",
    "bis",
    "fertig",
    "behoben",
    "zurück",
}
_PLANNED_WORDS = {"planned", "plan", "preventive", "scheduled", "maintenance", "pm", "inspection", "geplant", "wartung"}
_PLANNED_WORDS |= {"planmäßig", "planmaessig", "inspektion", "vorbeugend"}
_MOST_KINDS = 12

_LADDER = (
    ("1d", ("7d", "30d"), "14d", "1d"),
    ("2h", ("6h", "24h", "72h"), "72h", "0"),
    ("1h", ("6h", "24h"), "24h", "0"),
    ("10m", ("30m", "4h"), "8h", "30m"),
    ("1m", ("5m", "30m"), "1h", "0"),
    ("10s", ("1m", "5m"), "10m", "0"),
    ("1s", ("3s", "10s"), "10s", "0"),
)
"""Step, windows, horizon, dead time: the first whose step is no shorter than the readings', and that fits lives."""


@dataclass(frozen=True)
class Drafted:
    """Hold what a look at readings and a log says.

    Parameters
    ----------
    events, windows
        Keys of the sections, each with its reason.
    rows
        What they make of the readings.
    counted
        What was counted on the way.
    by_time
        Whether rows are held out by time: few machines, and failures early and late.
    """

    events: tuple[SetKey, ...]
    windows: tuple[SetKey, ...]
    rows: pl.DataFrame
    counted: Mapping[str, Any]
    by_time: bool

    def lines(self) -> list[str]:
        """Return the lines of the two sections."""
        events = section("data.events", EventsSection, self.events)
        return [*events, "", *section("data.windows", WindowsSection, self.windows)]

    @property
    def remark(self) -> str:
        """What became of the points in time, for people."""
        text = f"Of the points in time {told_outcomes(self.counted)} (with a failure ahead: failure)."
        missed = self.counted["unforetold_named"]
        return text + (f" No row foretells {', '.join(missed)}." if missed else "")


def draft_telemetry(frame: pl.DataFrame, roles: Roles, signals: Sequence[Feature], log: Path, shown: str) -> Drafted:
    """Find out what a log's columns mean, choose windows, and make rows.

    Parameters
    ----------
    frame
        The readings.
    roles, signals
        Of their columns.
    log
        The log's file.
    shown
        How the draft names it.

    Raises
    ------
    ConfigError
        If readings or log have no column that names the machine or orders them.
    DataError
        If they give no rows.
    """
    if roles.machine is None or roles.time is None:
        lacking = "names the machine" if roles.machine is None else "holds the time"
        raise ConfigError(
            f"readings must have a column that {lacking}, got {', '.join(frame.columns)}; "
            "give it a header such as machine or time"
        )
    told = source_for(log).read()[0]
    events = _log_keys(told, roles, shown)
    section_of_log = EventsSection(**{key.key: key.value for key in events})
    table = LogTable.of(told, section_of_log.model_dump(), roles.machine, roles.client)
    windows = _window_keys(frame, roles, table)
    data = DataSection(
        machine=roles.machine,
        time=roles.time,
        columns={signal.column.name: ColumnSection() for signal in signals},
        events=section_of_log,
        windows=WindowsSection(**{key.key: key.value for key in windows}),
    ).model_dump()
    rows, _, _, counted = made(frame, table, data, roles.client)
    if rows["age"].null_count() == rows.height:
        rows = rows.drop("age")
        why = "No machine comes back from a stop, so its age is not known; with new = true add age."
        windows.append(SetKey("statistics", ["mean", "slope", "deviation"], why))
    return Drafted(tuple(events), tuple(windows), rows, counted, _by_time(rows, roles, data["windows"]))


def _log_keys(log: pl.DataFrame, roles: Roles, shown: str) -> list[SetKey]:
    """Return the keys of the section about the log."""
    names = [name for name in log.columns if name != roles.client]
    machine = roles.machine if roles.machine in names else machine_of(log, names)
    if machine is None:
        raise ConfigError(
            f"the log must have a column with the machine, as the readings have {roles.machine!r}, "
            f"got {', '.join(log.columns)}; give it that header"
        )
    moments = [name for name in names if name != machine and (is_moment(log[name]) or _counts(log[name], roles, name))]
    backs = [name for name in moments if _BACK_WORDS & set(words(name))]
    starts = [name for name in moments if name not in backs]
    if not starts:
        raise ConfigError(f"the log must have a column with the time of a stop, got {', '.join(log.columns)}")
    start = roles.time if roles.time in starts else starts[0]
    keys = [SetKey("path", shown, "One row a stop.")]
    if machine != roles.machine:
        keys.append(SetKey("machine", machine, "Named like a machine."))
    keys.append(SetKey("start", start, "When a machine stopped."))
    if backs:
        keys.append(SetKey("back", backs[0], "When it was back."))
    return keys + _meanings(log, [name for name in names if name not in (machine, *moments)])


def _meanings(log: pl.DataFrame, names: Iterable[str]) -> list[SetKey]:
    """Return which text column tells planned stops from failures, and which says what failed."""
    texts = [name for name in names if log[name].dtype == pl.String and log[name].drop_nulls().n_unique()]
    keys: list[SetKey] = []
    for name in texts:
        values = log[name].drop_nulls().unique().sort().to_list()
        planned = [value for value in values if _PLANNED_WORDS & set(words(value))]
        if planned and len(values) <= _MOST_KINDS:
            keys += [
                SetKey("kind", name, "Some of its values sound like planned stops."),
                SetKey("planned", planned, "These; all others are failures."),
            ]
            break
    rest = [name for name in texts if name not in [key.value for key in keys]]
    repeated = [name for name in rest if log[name].drop_nulls().n_unique() <= max(log.height // 2, 1)]
    if repeated:
        keys.append(SetKey("mode", repeated[0], "What failed, by its values."))
    return keys


def _counts(column: pl.Series, roles: Roles, name: str) -> bool:
    return column.dtype.is_numeric() and name == roles.time


def _window_keys(frame: pl.DataFrame, roles: Roles, log: LogTable) -> list[SetKey]:
    """Return the keys of the section about windows: by how often readings come, and how long machines live."""
    key = key_of(frame, str(roles.machine), roles.client)
    counted = is_counted(frame[str(roles.time)])
    rows = pl.DataFrame({"machine": key, "tick": Clock().ticks(frame[str(roles.time)], key)}).drop_nulls()
    rows = rows.sort("machine", "tick")
    usual = rows.select(pl.col("tick").diff().over("machine").alias("step")).filter(pl.col("step") > 0)["step"].median()
    life = _usual_life(rows, log)
    step, spans, horizon, dead = _fitting(int(usual or TICKS), life, counted)  # type: ignore[arg-type]
    often = (
        f"a reading comes every {_shown(int(usual or TICKS), counted)}, a life lasts {_shown(life, counted)} or more."  # type: ignore[arg-type]
    )
    keys = [
        SetKey("step", step, f"A row a machine and step: {often}"),
        SetKey("spans", list(spans), "Windows before each row: no longer than a third of a usual life."),
        SetKey(
            "horizon", horizon, "Positive where a failure follows within so long. Put in the lead time that you need."
        ),
    ]
    if dead != "0":
        keys.append(SetKey("dead", dead, "Rows so short before a failure are left out: too late to act."))
    if not counted and span(horizon) < 8 * span("6h"):
        keys.append(SetKey("grace", "0", "No run-in after a repair, as everything is fast here."))
    return keys


def _usual_life(rows: pl.DataFrame, log: LogTable) -> int:
    """Return how long most machines run at least, in ticks, from the begin of their record or a stop to the next."""
    begins = rows.group_by("machine").agg(pl.col("tick").first())
    stops = log.stops(Clock()).frame.select("machine", pl.col("start").alias("tick"))
    alone = rows.with_columns(pl.col("machine").str.split("\x1f").list.last())
    known = pl.concat([begins.with_columns(pl.col("machine").str.split("\x1f").list.last()), stops]).sort(
        "machine", "tick"
    )
    lives = known.select(pl.col("tick").diff().over("machine").alias("life")).filter(pl.col("life") > 0)["life"]
    whole = alone.select((pl.col("tick").max() - pl.col("tick").min()).alias("life"))["life"]
    return int((lives if len(lives) else whole).quantile(0.25) or TICKS)


def _fitting(usual: int, life: int, counted: bool) -> tuple[str, tuple[str, ...], str, str]:
    """Return step, windows, horizon and dead time."""
    if not counted:
        for step, spans, horizon, dead in _LADDER:
            if span(step) >= usual and span(spans[-1]) <= life / 3:
                return step, spans, horizon, dead
    number = max(min(round(life / 3 / usual), 30), 1)
    unit = "" if counted else "s"
    one, many = (f"{usual * times / TICKS:g}{unit}" for times in (1, number))
    return one, (many,), many, "0"


def _shown(ticks: int, counted: bool) -> str:
    """Return a span for people."""
    if counted:
        return f"{ticks / TICKS:g} units"
    for unit, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if ticks >= 2 * unit * TICKS:
            return f"{ticks / unit / TICKS:.3g} {name}"
    return f"{ticks / TICKS:.3g} s"


_FEWEST_MACHINES = 5


def _by_time(rows: pl.DataFrame, roles: Roles, windows: Mapping[str, Any]) -> bool:
    """Say whether rows are held out by time: where a site has few machines, and failures lie early and late."""
    sites = rows.group_by(roles.client) if roles.client else rows.group_by(pl.lit(0))
    fewest = int(sites.agg(pl.col(str(roles.machine)).n_unique().alias("machines"))["machines"].min() or 0)  # type: ignore[arg-type]
    if fewest >= _FEWEST_MACHINES:
        return False
    when, failing = moments(rows[str(roles.time)]), rows[LABEL].to_numpy() > 0
    ahead, back = purge_of(windows)
    early, late = np.quantile(when, (0.6, 0.75))
    return bool((failing & (when < early - ahead)).any() and (failing & (when > late + back)).any())
