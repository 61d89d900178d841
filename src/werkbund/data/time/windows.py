"""Windows of readings as features, at points on a grid of time: one description for runs, plants and scoring.

A point at t sees readings in (t - W, t] of the machine's present life alone, never one of a life before a repair.

Features of a signal over a window are its mean, slope, spread, extremes and last value, and its deviation from the
machine's own reference: the mean of its first readings after it was new or repaired, in each regime of load apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.errors import ConfigError, DataError
from werkbund.data.time.bins import binned
from werkbund.data.time.clock import HOUR, TICKS, Clock, counts_units, span, when_of
from werkbund.data.time.events import EventLog, LogTable, stops_of
from werkbund.data.time.labels import COVERAGE
from werkbund.data.time.moments import Runs, above_reference
from werkbund.data.time.readings import Readings, read_readings

STATISTICS = ("mean", "slope", "deviation", "std", "min", "max", "last", "trend")
"""Of each signal and window; a trend is the mean less that over the longest window, which itself has none."""

OF_MACHINES = ("age", "coverage")
"""Of a point: time since the machine was new or repaired, and share of the shortest window's steps with readings."""

_ROWS_A_BATCH = 200_000


@dataclass(frozen=True)
class WindowPlan:
    """Describe windows.

    Parameters
    ----------
    signals
        Columns of numbers.
    step
        Between points, a span such as "10m".
    spans
        Lengths of the windows, whole numbers of steps.
    statistics
        Some of `STATISTICS` and `OF_MACHINES`.
    reference
        Readings of so long after the first one of a life and regime are its reference; until then those so far. None
        for as long as the longest window.
    regime, edges
        The column that tells the regime of load, and where it is a number its limits between regimes, rising.
    new
        Whether a machine is new where its record begins. Else its age is unknown until it is repaired, and its first
        reference may be worn.
    """

    signals: tuple[str, ...]
    step: str
    spans: tuple[str, ...]
    statistics: tuple[str, ...] = ("mean", "slope", "deviation", "age")
    reference: str | None = None
    regime: str | None = None
    edges: tuple[float, ...] = ()
    new: bool = False

    def __post_init__(self) -> None:
        if not self.signals or not self.spans:
            raise ConfigError("windows need at least one signal and one span; list data.columns and data.windows.spans")
        texts = (self.step, *([self.reference] if self.reference else []), *self.spans)
        if len({counts_units(text) for text in texts}) > 1:
            raise ConfigError(
                f"spans must all have a unit of time or none, got {', '.join(texts)}; write 6h or 6 alike"
            )
        uneven = [text for text in self.spans if span(text) == 0 or span(text) % max(span(self.step), 1)]
        if span(self.step) == 0 or uneven:
            raise ConfigError(
                f"data.windows.spans must be whole numbers of steps, got {', '.join(uneven or self.spans)} "
                f"with a step of {self.step}; change step or spans"
            )
        unknown = [name for name in self.statistics if name not in (*STATISTICS, *OF_MACHINES)]
        if unknown or not self.statistics:
            raise ConfigError(
                f"data.windows.statistics must be among {', '.join((*STATISTICS, *OF_MACHINES))}, got {unknown}"
            )
        if list(self.edges) != sorted(set(self.edges)) or (self.edges and self.regime is None):
            raise ConfigError(f"data.windows.edges must rise and belong to a regime, got {list(self.edges)}; sort them")

    @cached_property
    def counts(self) -> bool:
        """Whether spans are in the unit of a record that counts, instead of hours."""
        return counts_units(self.step)

    @property
    def unit(self) -> int:
        """Ticks of the unit in which ages and slopes are: an hour, or the record's own."""
        return TICKS if self.counts else HOUR

    @cached_property
    def ordered(self) -> tuple[str, ...]:
        """The spans, from the shortest to the longest."""
        return tuple(sorted(self.spans, key=span))

    @property
    def longest(self) -> int:
        """The longest window, in ticks."""
        return span(self.ordered[-1])

    @cached_property
    def of_signals(self) -> dict[str, tuple[str, str]]:
        """Signal and statistic of each feature of a window, by its name."""
        return {
            f"{signal} {statistic} {text}": (signal, statistic)
            for text in self.ordered
            for statistic in self._of(text)
            for signal in self.signals
        }

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features: of each window, statistic and signal, then of the machine."""
        return (*self.of_signals, *(name for name in OF_MACHINES if name in self.statistics))

    def _of(self, text: str) -> tuple[str, ...]:
        """Return the statistics of a window."""
        own = tuple(name for name in STATISTICS if name in self.statistics)
        return tuple(name for name in own if name != "trend") if text == self.ordered[-1] else own

    def points(self, readings: Readings, log: EventLog | None = None) -> pl.DataFrame:
        """Return the features at each point that has readings in the step before it.

        Parameters
        ----------
        readings
            Of all machines.
        log
            Stops with an end each; None where none are known. A life ends where a machine is back.

        Returns
        -------
        points
            `machine`, `tick`, `COVERAGE` of the shortest window, `end`: the machine's last reading, and the features,
            Float64, null where a window has no reading; sorted by machine and tick.

        Raises
        ------
        ConfigError
            If times are dates and spans have no unit, or the reverse.
        """
        if readings.counted != self.counts:
            wanted = "bare numbers" if readings.counted else "spans such as 6h"
            raise ConfigError(f"data.windows must have {wanted}, as the times of the readings are, got {self.step!r}")
        rows = _with_lives(readings.frame, log)
        found = pl.concat([self._batch(batch) for batch in _batches(rows)])
        return found.filter(pl.col("tick") <= pl.col("end")).unique(
            ["machine", "tick"], keep="last", maintain_order=True
        )

    def _batch(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the points of some machines."""
        step, tick = span(self.step), rows["tick"].to_numpy()
        number = -(-tick // step)
        life = rows["life"].to_numpy().astype(np.int64)
        values = np.stack([rows[name].fill_null(np.nan).to_numpy() for name in self.signals], axis=1)
        hours = (tick - number * step) / self.unit
        bins = binned(life, number, np.zeros_like(life), values, hours)
        above = np.zeros_like(bins.mean)
        if "deviation" in self.statistics:
            regime = self._regimes(rows)
            order = np.lexsort((regime, number, life))
            cells = binned(life[order], number[order], regime[order], values[order], hours[order])
            above = above_reference(cells, span(self.reference or self.ordered[-1]) // step)
        runs = Runs(bins, self.longest // step, step / self.unit, above)
        about = rows.select("machine", "origin", "begin", "end")[np.searchsorted(life, bins.life)]
        told = about.select("machine", pl.Series("tick", bins.number * step), "end")
        return told.with_columns(self._coverage(runs), *self._features(runs, told["tick"], about))

    def _coverage(self, runs: Runs) -> pl.Series:
        """Return the share of the shortest window's steps that have readings, (bins,)."""
        return pl.Series(COVERAGE, runs.coverage(span(self.ordered[0]) // span(self.step)))

    def _features(self, runs: Runs, tick: pl.Series, about: pl.DataFrame) -> list[pl.Series]:
        """Return the features in the order of their names, (bins,) each."""
        found = self._of_signals(runs)
        if "age" in self.statistics:
            since = about["origin"].fill_null(about["begin"]) if self.new else about["origin"]
            found["age"] = ((tick - since).cast(pl.Float64) / self.unit).fill_null(np.nan).to_numpy()
        if "coverage" in self.statistics:
            found["coverage"] = self._coverage(runs).to_numpy()
        return [pl.Series(name, found[name]).fill_nan(None) for name in self.feature_names]

    def _of_signals(self, runs: Runs) -> dict[str, Float64Array]:
        found: dict[str, Float64Array] = {}
        whole = runs.window(self.longest // span(self.step))
        for text in self.ordered:
            window = whole if text == self.ordered[-1] else runs.window(span(text) // span(self.step))
            for statistic in self._of(text):
                values = window.level - whole.level if statistic == "trend" else getattr(window, statistic)()
                found |= {f"{name} {statistic} {text}": values[:, place] for place, name in enumerate(self.signals)}
        return found

    def _regimes(self, rows: pl.DataFrame) -> Int64Array:
        """Return the number of each row's regime, (rows,); a row without one has that of the row before it."""
        if self.regime is None:
            return np.zeros(rows.height, np.int64)
        column = rows[self.regime if self.regime in self.signals else f"{self.regime}\x1f"]
        if self.edges:
            if not column.dtype.is_numeric():
                raise DataError(f"regime {self.regime!r} must hold numbers where it has edges, got {column.dtype}")
            load = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
            codes = pl.Series(np.searchsorted(self.edges, load, "right")).set(column.is_null(), None)
        else:
            codes = column.cast(pl.String).rank("dense")
        known = pl.DataFrame({"code": codes.cast(pl.Int64), "life": rows["life"]})
        return known.select(pl.col("code").forward_fill().over("life").fill_null(-1))["code"].to_numpy()


@dataclass(frozen=True)
class Telemetry:
    """Say what rows are made from, alike at every client, in the report and where new readings are scored.

    Parameters
    ----------
    machine, time
        Columns of the readings: the machine's id, and when.
    windows
        The features.
    """

    machine: str
    time: str
    windows: WindowPlan

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        plan = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self.windows).items()
        }
        return {"machine": self.machine, "time": self.time, "windows": plan}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Telemetry:
        """Return what `to_json` described.

        Raises
        ------
        ConfigError
            If a value breaks a rule.
        """
        lists = {name: tuple(value) for name, value in values["windows"].items() if isinstance(value, list)}
        return cls(values["machine"], values["time"], WindowPlan(**{**values["windows"], **lists}))

    def points(
        self, frame: pl.DataFrame, clock: Clock, now: int, log: LogTable | None = None, client: str | None = None
    ) -> pl.DataFrame:
        """Return the features at each point of new readings; see `WindowPlan.points`.

        Parameters
        ----------
        frame
            Readings in wide form, with as much history as the windows and the reference need.
        clock, now
            As for `read_readings`.
        log
            Of stops; without one each machine has one life.
        client
            The column with the site, where machines of two sites have one id; it then stands before the id.
        """
        readings = self.readings(frame, clock, now, client)
        stops = stops_of(log, readings.frame, clock, client)
        points = self.windows.points(readings, stops)
        when = when_of(points["tick"], readings.counted).alias(self.time)
        machine = pl.col("machine").str.replace("\x1f", " ", literal=True).alias(self.machine)
        return points.select(machine, when, *self.windows.feature_names)

    def readings(self, frame: pl.DataFrame, clock: Clock, now: int, client: str | None) -> Readings:
        """Return readings in order."""
        regime = self.windows.regime
        return read_readings(
            frame,
            machine=self.machine,
            time=self.time,
            client=client,
            signals=self.windows.signals,
            kept=[] if regime is None or regime in self.windows.signals else [regime],
            clock=clock,
            now=now,
        )


def _with_lives(rows: pl.DataFrame, log: EventLog | None) -> pl.DataFrame:
    """Add the number of each row's life, when it began (null for the first) and when the record begins and ends."""
    if log is None or log.frame.height == 0:
        found = rows.with_columns(pl.lit(None, pl.Int64).alias("origin"))
    else:
        backs = log.frame.select("machine", pl.col("back").alias("origin")).sort("origin")
        found = rows.sort("tick", maintain_order=True).join_asof(
            backs, left_on="tick", right_on="origin", by="machine", strategy="backward", check_sortedness=False,
            coalesce=False,
        ).sort("machine", "tick", maintain_order=True)  # fmt: skip
    return found.with_columns(
        pl.struct("machine", "origin").rle_id().alias("life"),
        pl.col("tick").first().over("machine").alias("begin"),
        pl.col("tick").last().over("machine").alias("end"),
    )


def _batches(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the rows of whole machines, so many at a time."""
    ends, first = np.cumsum(rows["machine"].rle().struct.field("len").to_numpy()), 0
    while first < rows.height:
        fits = ends[(ends > first) & (ends <= first + _ROWS_A_BATCH)]
        last = int(fits[-1]) if len(fits) else int(ends[ends > first][0])
        yield rows[first:last]
        first = last
