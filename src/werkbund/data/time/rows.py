"""Rows to learn from, made of readings and a log: one a decision point, with features of windows and what followed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from werkbund.core.errors import ConfigError, DataError
from werkbund.data.markers import Marker, marked
from werkbund.data.time.clock import HOUR, TICKS, Clock, counts_units, span, when_of
from werkbund.data.time.events import EventLog, LogTable, stops_of
from werkbund.data.time.labels import OUTCOMES, SILENT, LabelRule, label_points, never_foretold
from werkbund.data.time.readings import Readings, widened
from werkbund.data.time.windows import Telemetry, WindowPlan

LABEL, CAUSE, LIFE, CENSORED = "failure", "cause", "life", "censored"
"""Columns of the rows: whether a failure follows within the horizon, which, time to it, and time without one."""

NO_CAUSE, UNNAMED = "none", "not named"
"""What the cause is where no failure follows, and where nobody noted what failed."""

_GRACE = "6h"
_NAMED = 20


@dataclass(frozen=True)
class Course:
    """Say how rows are made.

    Parameters
    ----------
    telemetry
        What from.
    rule
        Which points have a label.
    clock
        How times are written.
    client
        The column with the site; None for one site.
    """

    telemetry: Telemetry
    rule: LabelRule
    clock: Clock
    client: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any], signals: Sequence[str], client: str | None) -> Course:
        """Return a course by the values of a section `data`.

        Raises
        ------
        ConfigError
            If machine, time or horizon are missing, or a key breaks a rule.
        """
        windows = values["windows"]
        absent = [f"data.{name}" for name in ("machine", "time") if values[name] is None]
        absent += [f"data.windows.{name}" for name in ("horizon", "spans") if not windows[name]]
        if absent:
            raise ConfigError(f"{', '.join(absent)} must be set where data.windows.step is: rows are made of readings")
        plan = WindowPlan(
            tuple(signals),
            windows["step"],
            tuple(windows["spans"]),
            tuple(windows["statistics"]),
            windows["reference"],
            windows["regime"],
            tuple(windows["edges"]),
            windows["new"],
        )
        telemetry = Telemetry(values["machine"], values["time"], plan)
        return cls(telemetry, rule_of(windows), Clock(values["zone"]), client)

    def rows(self, frame: pl.DataFrame, log: LogTable | None, now: int) -> tuple[pl.DataFrame, dict[str, Any]]:
        """Return the rows with a label, and what was counted on the way.

        Parameters
        ----------
        frame
            Readings in wide form.
        log
            Of stops; None if nothing ever stopped.
        now
            In ticks.

        Raises
        ------
        DataError
            If no point has a label.
        """
        labelled, stops, readings = self._labelled(frame, log, now)
        counted = _counts(labelled, stops, readings)
        rows = labelled.filter(pl.col("label").is_not_null())
        if rows.height == 0:
            raise DataError(f"readings and log must give a row with a label, got none: {told_outcomes(counted)}")
        return self._table(rows, readings), counted

    def watched(self, frame: pl.DataFrame, log: LogTable | None, now: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the points at which an alarm may ring, and the stops: both by `machine`, in ticks.

        A point has no alarm where its machine is down or run in, or has too few readings; points that have no label
        for another reason have one, as alarms ring there too.

        Parameters
        ----------
        frame, log, now
            As for `rows`.

        Returns
        -------
        points
            `machine`, `tick`, `end` of the record and the features, sorted by machine and tick.
        stops
            `machine`, `start`, `back`, `planned`.
        """
        labelled, stops, _ = self._labelled(frame, log, now)
        silent = labelled["outcome"].cast(pl.String).is_in(SILENT)
        names = ("machine", "tick", "end", *self.telemetry.windows.feature_names)
        return labelled.filter(~silent).select(names), stops.frame

    def _labelled(self, frame: pl.DataFrame, log: LogTable | None, now: int) -> tuple[pl.DataFrame, EventLog, Readings]:
        """Return all points with what is known of the next failure, the stops, and the readings."""
        readings = self.telemetry.readings(frame, self.clock, now, self.client)
        stops = stops_of(log, readings.frame, self.clock, self.client)
        _check_machines(readings, stops)
        points = self.telemetry.windows.points(readings, stops)
        kept = None if log is None else log.end(self.clock)
        return (
            label_points(points.with_columns(pl.min_horizontal("end", pl.lit(kept))), stops, self.rule),
            stops,
            readings,
        )

    def _table(self, rows: pl.DataFrame, readings: Readings) -> pl.DataFrame:
        """Return the columns of the table, under the names that the readings have."""
        telemetry = self.telemetry
        unit = telemetry.windows.unit
        ids = dict.fromkeys((telemetry.machine, *([self.client] if self.client else [])))
        names = readings.frame.group_by("machine").agg(pl.col(f"{name}\x1f").first() for name in ids)
        found = rows.join(names, on="machine", how="left", maintain_order="left")
        own = [pl.col(f"{name}\x1f").alias(name) for name in ids]
        return found.select(
            *own,
            when_of(found["tick"], readings.counted).alias(telemetry.time),
            *telemetry.windows.feature_names,
            pl.col("label").alias(LABEL),
            pl.when(pl.col("label") == 1)
            .then(pl.col("cause").fill_null(UNNAMED))
            .otherwise(pl.lit(NO_CAUSE))
            .alias(CAUSE),
            (pl.col("life") / unit).alias(LIFE),
            (pl.col("censored") / unit).alias(CENSORED),
        )


def made(
    frame: pl.DataFrame, log: LogTable | None, data: Mapping[str, Any], client: str | None
) -> tuple[pl.DataFrame, Telemetry, dict[str, Any], dict[str, Any]]:
    """Make rows of readings by the values of a section `data`.

    Parameters
    ----------
    frame
        The readings, as they were read.
    log
        Of stops; None if nothing ever stopped.
    data
        The values.
    client
        The column with the site.

    Returns
    -------
    rows, telemetry
        The table, and what it was made from.
    keys
        What the section would say of a file that holds such rows.
    counted
        What was counted on the way, as plain values.

    Raises
    ------
    ConfigError
        If a key is missing, breaks a rule, or does not go with rows that are made.
    """
    unfit = [f"data.{name}" for name in ("label", "units", "modes", "mode", "machine_reset") if data[name]]
    if unfit:
        raise ConfigError(f"{', '.join(unfit)} must be left out where data.windows.step is set; drop them")
    wide = in_wide_form(frame, data, client)
    signals = _signals(wide, data, client)
    course = Course.of(data, signals, client)
    rows, counted = course.rows(wide, log, time.time_ns() // 1000)
    columns = _columns(course.telemetry.windows, data["columns"])
    keys: dict[str, Any] = {
        "label": LABEL,
        "mode": CAUSE,
        "mode_none": NO_CAUSE,
        "columns": columns,
        "missing": {},
        "never": [],
    }
    if data["target"] == "number":
        rows = with_lives(rows, data["cap"])
        ahead = course.rule.horizon / course.telemetry.windows.unit
        keys |= {"label": LIFE, "horizon": ahead if data["horizon"] is None else data["horizon"]}
    return rows, course.telemetry, keys, counted


def with_lives(rows: pl.DataFrame, cap: float | None) -> pl.DataFrame:
    """Return the rows of which the time to a failure is known, or at least that it is beyond the cap, which is then it.

    A row that is watched for less than the cap without a failure is left out: to take its time for a life would make
    lives too short.

    Raises
    ------
    ConfigError
        If there is no cap.
    """
    if cap is None:
        raise ConfigError("data.cap must say beyond which time lives are not told apart, got none; set it")
    long = pl.when(pl.col(CENSORED) >= cap).then(pl.lit(float(cap)))
    return rows.with_columns(pl.coalesce(LIFE, long).alias(LIFE)).filter(pl.col(LIFE).is_not_null())


def _signals(frame: pl.DataFrame, data: Mapping[str, Any], client: str | None) -> list[str]:
    """Return the signals: the columns that are listed, or all numbers without another role."""
    if data["columns"]:
        return list(data["columns"])
    roles = {data["machine"], data["time"], client, *data["never"]}
    return [name for name in frame.columns if frame[name].dtype.is_numeric() and name not in roles]


_LEVELS = ("mean", "min", "max", "last")


def _columns(plan: WindowPlan, described: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what is known about each feature: a unit, and of a level the plausible range of its signal."""
    hours = "" if plan.counts else "h"
    features: dict[str, dict[str, Any]] = {}
    for name, (signal, statistic) in plan.of_signals.items():
        known = {key: value for key, value in described.get(signal, {}).items() if value not in (None, "")}
        unit = known.get("unit", "")
        between = {key: value for key, value in known.items() if key in ("low", "high") and statistic in _LEVELS}
        features[name] = {"kind": "number", "unit": f"{unit}/h" if statistic == "slope" and unit else unit, **between}
    machine: dict[str, dict[str, Any]] = {
        "age": {"kind": "number", "unit": hours},
        "coverage": {"kind": "number", "low": 0.0, "high": 1.0},
    }
    return features | {name: machine[name] for name in plan.feature_names if name in machine}


def rule_of(windows: Mapping[str, Any]) -> LabelRule:
    """Return the rule of labels by the values of a section `data.windows`."""
    grace = windows["grace"] or ("0" if counts_units(windows["step"]) else _GRACE)
    left_out = windows["intervened"] == "left out"
    return LabelRule(span(windows["horizon"]), span(windows["dead"]), span(grace), windows["coverage"], left_out)


def purge_of(windows: Mapping[str, Any]) -> tuple[float, float]:
    """Return how far a label looks ahead and the longest window back, in hours or the record's own unit.

    Parameters
    ----------
    windows
        The values of a section `data.windows`.
    """
    rule, unit = rule_of(windows), TICKS if counts_units(windows["step"]) else HOUR
    return (rule.horizon + rule.dead) / unit, max(map(span, windows["spans"])) / unit


def in_wide_form(frame: pl.DataFrame, data: Mapping[str, Any], client: str | None) -> pl.DataFrame:
    """Return readings with a column for each signal, by the values of a section `data`, marks taken for none."""
    if data["tag"] is not None:
        keys = [name for name in (client, data["machine"], data["time"]) if name is not None]
        frame = widened(frame, keys, data["tag"], data["value"])
    return frame.with_columns(_emptied(frame[name], marks) for name, marks in data["missing"].items())


def _emptied(column: pl.Series, marks: Sequence[Marker]) -> pl.Series:
    values = column.cast(pl.Float64)
    return values.set(pl.Series(marked(values.fill_null(np.nan).to_numpy(), marks)), None)


def told_outcomes(counted: Mapping[str, Any]) -> str:
    """Return how many points had which outcome, in words."""
    return ", ".join(f"{number} {name}" for name, number in counted["points"].items() if number)


def _check_machines(readings: Readings, log: EventLog) -> None:
    """Refuse a log of which no machine has readings: its ids are written otherwise, or its site is not known."""
    known = readings.frame["machine"].unique()
    if log.frame.height and not log.frame["machine"].is_in(known.implode()).any():
        shown = ", ".join(repr(name.replace("\x1f", " ")) for name in log.frame["machine"].unique().sort()[:3])
        there = ", ".join(repr(name.replace("\x1f", " ")) for name in known.sort()[:3])
        raise DataError(
            f"the log must name machines as the readings do, got {shown} and {there}; "
            "correct data.events.machine or client, or the ids"
        )


def _counts(labelled: pl.DataFrame, log: EventLog, readings: Readings) -> dict[str, Any]:
    """Return what was counted, as plain values."""
    outcomes = dict(labelled["outcome"].cast(pl.String).value_counts().iter_rows())
    missed = never_foretold(labelled, log)
    known = log.frame["machine"].is_in(readings.frame["machine"].unique().implode())
    shown = missed.head(_NAMED).select(
        pl.col("machine").str.replace("\x1f", " ", literal=True),
        when_of(missed.head(_NAMED)["start"], readings.counted).cast(pl.String).alias("start"),
        pl.col("mode").fill_null(""),
    )
    return {
        "points": {name: outcomes.get(name, 0) for name in OUTCOMES},
        "failures": int((~log.frame["planned"]).sum()),
        "planned": int(log.frame["planned"].sum()),
        "unforetold": missed.height,
        "unforetold_named": [" ".join(row).strip() for row in shown.iter_rows()],
        "unknown_machines": int((~known).sum()),
        "merged": log.merged,
        "undated": log.undated,
        "days": bool(log.resolution),
        "dirt": readings.dirt.to_json(),
    }
