"""How figures of held-out rows move by chance: machines are drawn anew, and every model is judged on the draw.

A machine's rows resemble each other, so they are drawn together. A plant with few machines held out is cut into runs of
neighbouring rows of one machine instead, which are the units of its draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

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


def percentile_interval(
    value: float, drawn: Float64Array, n: int, level: float = 0.95, reach: float | None = None
) -> Interval:
    """Return a figure with the interval that the middle of its drawn values spans, corrected for their bias.

    Parameters
    ----------
    value
        The figure of the rows themselves.
    drawn
        (draws,), the figure of each draw; NaN where it is undefined.
    n
        What it is a mean over, such as the number of plants.
    level
        Chance, in (0, 1), with which such an interval holds the true figure.
    reach
        How far the ends lie from the middle, in standard deviations; by default those of a normal variable at `level`.
        `reach_of` gives that of few units.

    References
    ----------
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 14.3, with an acceleration of 0.
    """
    if not 0.0 < level < 1.0:
        raise DataError(f"level must be between 0 and 1, got {level}; 0.95 is usual")
    known = drawn[np.isfinite(drawn)]
    reach = float(ndtri((1 + level) / 2)) if reach is None else reach
    if not np.isfinite(value) or len(known) < len(drawn) / 2 or not np.isfinite(reach):
        return Interval(float(value), float("nan"), float("nan"), n)
    below = (np.mean(known < value) + np.mean(known <= value)) / 2
    middle = 2 * float(ndtri(np.clip(below, 1 / len(known), 1 - 1 / len(known))))
    low, high = np.quantile(known, ndtr([middle - reach, middle + reach])).tolist()
    return Interval(float(value), min(low, float(value)), max(high, float(value)), n)


def reach_of(units: Int64Array, level: float = 0.95) -> float:
    """Return how far the ends of an interval lie from its middle, in standard deviations of draws from few units.

    Parameters
    ----------
    units
        (plants,), on how many units each plant's figure rests. Draws of n units vary by (n - 1) / n of the variance
        that there is, and Student's t stands for what few units say of it; NaN where no plant has two units.
    level
        Chance, in (0, 1), with which such an interval holds the true figure.

    References
    ----------
    Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69, 2015, section 3.2: the
    expanded percentile interval. That is for one sample; here the plants' units are counted together, with a degree
    of freedom less for each plant.

    Examples
    --------
    >>> round(reach_of(np.array([1000])), 2), round(reach_of(np.array([5])), 2)
    (1.96, 3.1)
    """
    held = units[units > 0]
    free = int(held.sum()) - len(held)
    if free < 1:
        return math.nan
    return math.sqrt(held.sum() / free) * float(stdtrit(free, (1 + level) / 2))
