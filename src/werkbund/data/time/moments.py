"""What the bins of a window amount to: its mean, spread, slope, extremes, and deviation from a reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.data.time.bins import Bins


@dataclass(frozen=True)
class Runs:
    """Lay bins out so that those of a window lie behind each other, with empty places between lives.

    Parameters
    ----------
    bins
        One a life and number, sorted by both.
    longest
        Bins of the longest window.
    step
        Length of a bin, in units of slope.
    above
        What the readings of each bin lie above their reference, added up: (bins, signals).
    """

    bins: Bins
    longest: int
    step: float
    above: Float64Array

    @cached_property
    def places(self) -> Int64Array:
        """Place of each bin, (bins,): as many further than the one before as it is later, at most a window."""
        steps = np.full(len(self.bins), self.longest, np.int64)
        same = self.bins.life[1:] == self.bins.life[:-1]
        steps[1:][same] = np.minimum(np.diff(self.bins.number)[same], self.longest)
        return np.cumsum(steps)

    def back(self, values: Float64Array, number: int, empty: float = 0.0) -> Iterator[Float64Array]:
        """Yield values of the bin of each window's end, then of the one before it, and so on: (bins, ...) each.

        Parameters
        ----------
        values
            (bins, ...).
        number
            Of bins of a window.
        empty
            What stands where there is no bin.
        """
        spread = np.full((self.places[-1] + 1, *values.shape[1:]), empty)
        spread[self.places] = values
        for steps in range(number):
            yield spread[self.places - steps]

    def window(self, number: int) -> Window:
        """Return the windows of so many bins that end with each bin."""
        return Window(self, number)

    def coverage(self, number: int) -> Float64Array:
        """Return the share of each window's bins that have readings: (bins,)."""
        return sum(self.back(np.ones(len(self.bins)), number), np.zeros(len(self.bins))) / number


@dataclass(frozen=True)
class Window:
    """Compute statistics of windows, (bins, signals) each, NaN where a window has no reading.

    Parameters
    ----------
    runs
        The bins.
    number
        Of bins of each window.
    """

    runs: Runs
    number: int

    @cached_property
    def count(self) -> Float64Array:
        """Readings present."""
        return self._total(self.runs.bins.count)

    @cached_property
    def level(self) -> Float64Array:
        """Mean of the readings."""
        bins = self.runs.bins
        return self._mean(bins.count * bins.mean)

    def mean(self) -> Float64Array:
        """Return the mean."""
        return self.level

    def deviation(self) -> Float64Array:
        """Return the mean of the readings less their reference."""
        return self._mean(self.runs.above)

    def std(self) -> Float64Array:
        """Return the standard deviation, divided by the number of readings."""
        bins, total = self.runs.bins, np.zeros_like(self.level)
        parts = (self.runs.back(part, self.number) for part in (bins.count, bins.mean, bins.square))
        for count, mean, square in zip(*parts, strict=True):
            total += square + np.where(count > 0, count * (mean - self.level) ** 2, 0.0)
        return np.sqrt(self._over_count(total))

    def slope(self) -> Float64Array:
        """Return the slope of the line of least squares, an hour or a unit; NaN where all readings are at one time."""
        bins, middle = self.runs.bins, np.zeros_like(self.level)
        parts = (self.runs.back(part, self.number) for part in (bins.count, bins.hour))
        for steps, (count, hour) in enumerate(zip(*parts, strict=True)):
            middle += count * (hour - steps * self.runs.step)
        middle = self._over_count(middle)
        product, square = np.zeros_like(middle), np.zeros_like(middle)
        of_bins = (bins.count, bins.mean, bins.hour, bins.hour_square, bins.product)
        parts_of = (self.runs.back(part, self.number) for part in of_bins)
        for steps, (count, mean, hour, hour_square, together) in enumerate(zip(*parts_of, strict=True)):
            apart = hour - steps * self.runs.step - middle
            square += hour_square + np.where(count > 0, count * apart * apart, 0.0)
            product += together + np.where(count > 0, count * apart * (mean - self.level), 0.0)
        return np.divide(product, square, out=np.full_like(square, np.nan), where=square > 0)

    def min(self) -> Float64Array:
        """Return the least reading."""
        lows = self.runs.back(self.runs.bins.low, self.number, np.inf)
        return self._known(np.minimum.reduce(list(lows)))

    def max(self) -> Float64Array:
        """Return the greatest reading."""
        highs = self.runs.back(self.runs.bins.high, self.number, -np.inf)
        return self._known(np.maximum.reduce(list(highs)))

    def last(self) -> Float64Array:
        """Return the last reading."""
        found = np.full_like(self.level, np.nan)
        for values in self.runs.back(self.runs.bins.last, self.number, np.nan):
            found = np.where(np.isnan(found), values, found)
        return found

    def _total(self, values: Float64Array) -> Float64Array:
        return sum(self.runs.back(values, self.number), np.zeros_like(values))

    def _mean(self, sums: Float64Array) -> Float64Array:
        return self._over_count(self._total(sums))

    def _over_count(self, sums: Float64Array) -> Float64Array:
        return np.divide(sums, self.count, out=np.full_like(sums, np.nan), where=self.count > 0)

    def _known(self, values: Float64Array) -> Float64Array:
        return np.where(self.count > 0, values, np.nan)


def above_reference(cells: Bins, steps: int) -> Float64Array:
    """Return what the readings of each bin lie above the machine's own reference, added up: (bins, signals).

    The reference is the mean of the first readings of a life in a regime, until so many steps after the first of them;
    a bin before that has the mean of those so far.

    Parameters
    ----------
    cells
        Bins told apart by regime, sorted by life, number and regime.
    steps
        Bins of a reference.
    """
    order = np.lexsort((cells.number, cells.regime, cells.life))
    keys = np.stack([cells.life, cells.regime])[:, order]
    begins = np.flatnonzero(np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0)))
    above = np.empty_like(cells.mean)
    for stretch in np.split(order, begins[1:]):
        first = cells.number[stretch] < cells.number[stretch[0]] + max(steps, 1)
        counts = np.where(first[:, None], cells.count[stretch], 0.0)
        reference = np.cumsum(counts * cells.mean[stretch], axis=0) / np.maximum(np.cumsum(counts, axis=0), 1.0)
        above[stretch] = cells.count[stretch] * (cells.mean[stretch] - reference)
    keys = np.stack([cells.life, cells.number])
    return np.add.reduceat(above, np.flatnonzero(np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0))), axis=0)
