"""What is known at a decision point about the next failure: a label within a horizon, or why there is none.

The next event of either kind decides: a failure behind a repair belongs to another life.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from werkbund.core.errors import ConfigError
from werkbund.data.time.events import EventLog

OUTCOMES = ("none", "failure", "down", "grace", "thin", "gap", "intervened", "censored")
"""Of a decision point: the first two have a label, 0 and 1, the others none; see `label_points`."""

SILENT = ("down", "grace", "thin")
"""Outcomes of points at which no alarm rings."""

COVERAGE = "coverage\x1f"
"""The column with the coverage of a point, under a name that no feature has."""


@dataclass(frozen=True)
class LabelRule:
    """Say which points are labelled.

    Parameters
    ----------
    horizon
        A failure counts so many ticks ahead.
    dead
        It comes too late to act where it is no further ahead than this.
    grace
        A machine that is back is run in for so long.
    coverage
        Least share of a window's steps that have readings.
    intervened
        Whether a point before a planned stop has no label; else it is 0, which gives more rows and risks that are too
        low, as the stop may have prevented a failure.
    """

    horizon: int
    dead: int = 0
    grace: int = 0
    coverage: float = 0.5
    intervened: bool = True

    def __post_init__(self) -> None:
        if self.horizon <= 0:
            raise ConfigError(f"data.events.horizon must be above 0, got {self.horizon}; write such as 72h")


def label_points(points: pl.DataFrame, log: EventLog, rule: LabelRule) -> pl.DataFrame:
    """Say of each decision point what is known about the next failure.

    Parameters
    ----------
    points
        `machine`, `tick`, `COVERAGE`: share of its window with readings; `end`: when the record of the machine ends, in
        ticks. Sorted by machine and tick.
    log
        Stops with an end each, see `EventLog.closed`.
    rule
        Horizon H, dead time D, to which the log's resolution is added, and the others.

    Returns
    -------
    labelled
        The points with: `outcome`, by the first rule that holds

        - `down`, from the start of a stop until the machine is back;
        - `grace`, less than the rule's grace after that;
        - `thin`, too few readings;
        - `gap`, a failure follows in D or less;
        - `failure`, one follows in D + H or less;
        - `intervened`, a planned stop follows in D + H or less;
        - `censored`, the record ends before D + H have passed;
        - `none`, else;

        `label`: 1 for `failure`, 0 for `none`, else null; `cause`: the mode of the next failure, null where nobody
        named it or none follows; `life`: ticks to the next failure, null where no failure is the next event;
        `censored`: where it is not, ticks for which no failure came, until a planned stop or the end; `stop`: start of
        the next failure.
    """
    dead = rule.dead + log.resolution
    ahead = dead + rule.horizon
    work = _with_next(_with_last(points, log.frame), log.frame)
    until = pl.col("next") - pl.col("tick")
    fails = ~pl.col("next_planned").fill_null(True)
    intervened = (pl.col("next_planned") & (until <= ahead)).fill_null(False) & rule.intervened
    rules = (
        ("down", (pl.col("tick") < pl.col("back")).fill_null(False)),
        ("grace", (pl.col("tick") < pl.col("back") + rule.grace).fill_null(False)),
        ("thin", pl.col(COVERAGE) < rule.coverage),
        ("gap", fails & (until <= dead)),
        ("failure", fails & (until <= ahead)),
        ("intervened", intervened),
        ("censored", pl.col("tick") + ahead > pl.col("end")),
    )
    outcome = pl.coalesce(*(pl.when(holds).then(pl.lit(name)) for name, holds in rules), pl.lit("none"))
    planned = pl.when(pl.col("next_planned")).then("next")
    return work.with_columns(
        outcome.cast(pl.Enum(OUTCOMES)).alias("outcome"),
        pl.when(fails).then("mode").alias("cause"),
        pl.when(fails).then(until).alias("life"),
        pl.when(~fails).then(pl.min_horizontal(planned, "end") - pl.col("tick")).alias("censored"),
        pl.when(fails).then("next").alias("stop"),
    ).with_columns(
        pl.col("outcome").cast(pl.String).replace_strict({"none": 0, "failure": 1}, default=None, return_dtype=pl.Int8)
        .alias("label")
    ).drop("back", "next", "next_planned", "mode")  # fmt: skip


def never_foretold(labelled: pl.DataFrame, log: EventLog) -> pl.DataFrame:
    """Return the failures of a log before which no point is labelled 1: too soon after a repair, or no readings."""
    seen = labelled.filter(pl.col("outcome") == "failure").select("machine", pl.col("stop").alias("start")).unique()
    return log.frame.filter(~pl.col("planned")).join(seen, on=["machine", "start"], how="anti")


def _with_last(points: pl.DataFrame, stops: pl.DataFrame) -> pl.DataFrame:
    """Add when each point's machine was back, or will be, from its last stop."""
    last = stops.select("machine", "start", "back").sort("start")
    return points.sort("tick", maintain_order=True).join_asof(
        last, left_on="tick", right_on="start", by="machine", strategy="backward", check_sortedness=False
    ).drop("start")  # fmt: skip


def _with_next(points: pl.DataFrame, stops: pl.DataFrame) -> pl.DataFrame:
    """Add start, kind and mode of the first stop that begins after each point."""
    coming = stops.select("machine", pl.col("start").alias("next"), pl.col("planned").alias("next_planned"), "mode")
    return points.join_asof(
        coming.sort("next"), left_on="tick", right_on="next", by="machine", strategy="forward",
        allow_exact_matches=False, check_sortedness=False,
    ).sort("machine", "tick", maintain_order=True)  # fmt: skip
