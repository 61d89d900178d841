"""How figures of held-out rows move by chance: machines are drawn anew, and every model is judged on the draw.

A machine's rows resemble each other, so they are drawn together. A plant with few machines held out is cut into runs of
neighbouring rows of one machine instead, which are the units of its draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, FloatingArray, Int64Array
from werkbund.core.errors import DataError
from werkbund.evaluation.intervals import Interval

FEWEST_MACHINES = 10
"""Machines below which a plant's rows are drawn in runs of neighbouring rows."""
NUM_RUNS = 20
"""Runs that such a plant's rows are cut into, about."""
_MOST_STEPS = 1000


@dataclass(frozen=True, eq=False)
class Resamples:
    """Hold how often each unit of some rows is drawn.

    Parameters
    ----------
    units
        (rows,), number of the unit that each row belongs to, from 0.
    times
        (draws, units), how often a unit is in a draw.
    """

    units: Int64Array
    times: Float64Array

    @classmethod
    def of(cls, units: Int64Array, number: int, rng: np.random.Generator) -> Resamples:
        """Draw as many units as there are, with replacement, `number` times.

        References
        ----------
        Field and Welsh, "Bootstrapping clustered data", J. R. Statist. Soc. B 69, 2007: the randomized cluster
        bootstrap.
        """
        count = int(units.max(initial=-1)) + 1
        if count == 0:
            return cls(units, np.zeros((number, 0)))
        return cls(units, rng.multinomial(count, np.full(count, 1 / count), size=number).astype(np.float64))

    @cached_property
    def rows(self) -> Float64Array:
        """Number of rows in each draw: (draws,)."""
        return self.times @ np.bincount(self.units, minlength=self.times.shape[1]).astype(np.float64)

    def sums(self, values: FloatingArray) -> Float64Array:
        """Return the sum over each draw's rows of a value (rows,): (draws,)."""
        drawn: Float64Array = self.times @ np.bincount(self.units, values, minlength=self.times.shape[1])
        return drawn

    def average_precisions(self, scores: FloatingArray, labels: FloatingArray) -> Float64Array:
        """Return the average precision of a ranking in each draw: (draws,), NaN in one without a failure.

        Parameters
        ----------
        scores
            (rows,), the higher the more likely a failure.
        labels
            (rows,), 0 or 1.

        Notes
        -----
        Ranks that hold no failure are counted with the next lower one that does, which changes nothing. Where more
        than 1,000 different scores have a failure, neighbouring ones are counted as equal.
        """
        step, steps = _steps(scores, labels > 0)
        if steps == 0:
            return np.full(len(self.times), np.nan)
        counted = step < steps  # rows below the last failure change nothing
        place = self.units[counted] * steps + step[counted]
        size, shape = self.times.shape[1] * steps, (self.times.shape[1], steps)
        rows = self.times @ np.bincount(place, minlength=size).reshape(shape)
        found = self.times @ np.bincount(place, labels[counted], minlength=size).reshape(shape)
        return _average_precisions(found, rows)


def _steps(scores: FloatingArray, failed: BoolArray) -> tuple[Int64Array, int]:
    """Return for each row the first score with a failure that is not above its own: its place from the top."""
    levels = np.unique(scores[failed])[::-1]
    if len(levels) > _MOST_STEPS:
        levels = levels[np.linspace(0, len(levels) - 1, _MOST_STEPS).round().astype(np.int64)]
    return np.searchsorted(-levels, -scores, side="left").astype(np.int64), len(levels)


def _average_precisions(found: Float64Array, rows: Float64Array) -> Float64Array:
    """Return the average precision of counts (draws, steps) by falling score."""
    hits, calls = np.cumsum(found, axis=1), np.cumsum(rows, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(calls > 0, hits / calls, 0.0)
        reached: Float64Array = (found * precision).sum(axis=1) / hits[:, -1]
    return reached


def units_of(machines: Int64Array) -> Int64Array:
    """Return the units (rows,) by which one plant's rows are drawn: its machines, or runs of rows if they are few.

    Parameters
    ----------
    machines
        (rows,), each row's machine; rows in order of time.

    Examples
    --------
    >>> units_of(np.arange(12)).tolist()[:3], len(np.unique(units_of(np.zeros(100, np.int64))))
    ([0, 1, 2], 20)
    """
    _, number, sizes = np.unique(machines, return_inverse=True, return_counts=True)
    if len(sizes) >= FEWEST_MACHINES or not len(machines):
        return number.astype(np.int64)
    length = max(len(machines) // NUM_RUNS, 1)
    order = np.argsort(number, kind="stable")
    place = np.empty(len(number), np.int64)
    place[order] = np.arange(len(number)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    run = number * len(machines) + np.minimum(place // length, np.maximum(sizes // length - 1, 0)[number])
    return np.unique(run, return_inverse=True)[1].astype(np.int64)


def percentile_interval(value: float, drawn: Float64Array, n: int, level: float = 0.95) -> Interval:
    """Return a figure with the interval that the middle of its drawn values spans.

    Parameters
    ----------
    value
        The figure of the rows themselves.
    drawn
        (draws,), the figure of each draw; NaN where it is undefined.
    n
        What it is a mean over, such as the number of plants.

    References
    ----------
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3.
    """
    if not 0.0 < level < 1.0:
        raise DataError(f"level must be between 0 and 1, got {level}; 0.95 is usual")
    known = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(known) < len(drawn) / 2:
        return Interval(float(value), float("nan"), float("nan"), n)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(float(value), min(low, float(value)), max(high, float(value)), n)
