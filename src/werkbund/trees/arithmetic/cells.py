"""Bin edges from counts alone: intervals of each feature's numbers, refined where rows are many, until edges are clear.

A question names intervals of keys; the answer is how many rows of all clients fall into each. Whatever the division of
rows, the sums are the same, so the next question is, and so are the edges.

While a feature has at most as many occupied intervals as it may have bins, all of them are refined, down to single
numbers: its bins are then its values. Else those with more rows than the stated share are, down to single numbers, so
that bins can be cut as if all values were known, up to this share (`last_of_bins`). Intervals with fewer rows than
`least` are refined no further: an edge then does not say where such rows lie.

A tree can split a feature at edges alone. The rank error of a bin is the most rows that lie between a threshold within
it and the nearer of its ends: so many rows go to the other child than if the edge could be at the threshold. A value of
many rows with lighter ones around it needs no more than one edge: its bin's error is that of the lighter ones. The
edges are those whose largest rank error is the least that so many bins allow; a bin's error grows with the bin, so that
bins which reach as far as an error permits are as few as can be. Edges that are left over go, one after the other, to
the bin of the largest error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, Int64Array, UInt64Array
from werkbund.core.defaults import MOST_BINS, RANK_ERROR
from werkbund.core.errors import ConfigError
from werkbund.trees.arithmetic.kernels import inlined, kernel
from werkbund.trees.arithmetic.keys import keys_of, numbers_of, parts_of

_MOST_ASKED = 8192  # intervals of a feature in one question, unless more than half as many must be refined
_FIRST = 4096
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Cells:
    """Hold the intervals of one feature, ascending and apart, those that hold rows alone.

    Parameters
    ----------
    lows, highs
        (cells,), first and last key of each.
    counts
        (cells,), rows of all clients; -1 where nobody was asked yet.
    cut_lows, cut_highs, parts
        (cuts,) and a number: the intervals that were cut, each into so many parts: those that are asked now.
    num_bins
        Bins to be had at most.
    rank_error
        Share of the rows that an interval of several numbers may hold where there are more intervals than bins.
    least
        Intervals with fewer rows are refined no further.
    most_parts
        An interval is cut into at most so many: few where clients withhold small counts, which are lost; 0 for any.
    """

    lows: UInt64Array
    highs: UInt64Array
    counts: Int64Array
    cut_lows: UInt64Array
    cut_highs: UInt64Array
    parts: int
    num_bins: int = MOST_BINS
    rank_error: float = RANK_ERROR
    least: int = 1
    most_parts: int = 0

    @classmethod
    def whole(
        cls, num_bins: int = MOST_BINS, rank_error: float = RANK_ERROR, least: int = 1, most_parts: int = 0
    ) -> Cells:
        """Return all numbers there are, in the first few thousand intervals.

        Raises
        ------
        ConfigError
            If a parameter is out of its range.
        """
        if not 2 <= num_bins <= MOST_BINS:
            raise ConfigError(f"num_bins must be in 2..{MOST_BINS}, got {num_bins}")
        if not 0 < rank_error <= 0.5:
            raise ConfigError(f"rank_error must be in (0, 0.5], got {rank_error}")
        if least < 1:
            raise ConfigError(f"least must be at least 1 row, got {least}")
        if most_parts < 0 or most_parts == 1:
            raise ConfigError(f"most_parts must be 0 for any number, or at least 2, got {most_parts}")
        ends = keys_of(np.array([-np.inf, np.inf]))
        lows, highs = parts_of(ends[:1], ends[1:], _FIRST)
        unknown = np.full(len(lows), -1, np.int64)
        return cls(lows, highs, unknown, ends[:1], ends[1:], _FIRST, num_bins, rank_error, least, most_parts)

    @property
    def asked(self) -> BoolArray:
        """Which intervals' counts are wanted: (cells,)."""
        return self.counts < 0

    @property
    def settled(self) -> bool:
        """Whether nothing is left to ask."""
        return not self.asked.any()

    @property
    def exact(self) -> bool:
        """Whether every interval is a single number."""
        return bool((self.lows == self.highs).all())

    def refined(self, counts: Int64Array) -> Cells:
        """Return what the answer leads to: occupied intervals, those to be refined cut into parts.

        Parameters
        ----------
        counts
            (asked,), in order.
        """
        known = self.counts.copy()
        known[self.asked] = counts
        occupied = known > 0
        lows, highs, known = self.lows[occupied], self.highs[occupied], known[occupied]
        coarse = self._coarse(lows, highs, known)
        parts = int(max(2, _MOST_ASKED // max(int(coarse.sum()), 1)))
        parts = min(parts, self.most_parts or parts)
        part_lows, part_highs = parts_of(lows[coarse], highs[coarse], parts)
        all_lows = np.concatenate([lows[~coarse], part_lows])
        order = np.argsort(all_lows, kind="stable")
        return replace(
            self,
            lows=all_lows[order],
            highs=np.concatenate([highs[~coarse], part_highs])[order],
            counts=np.concatenate([known[~coarse], np.full(len(part_lows), -1, np.int64)])[order],
            cut_lows=lows[coarse],
            cut_highs=highs[coarse],
            parts=parts,
        )

    def edges(self) -> Float64Array:
        """Return the edges, half way between neighbouring intervals, where `last_of_bins` cuts."""
        last = last_of_bins(self.counts, self.lows == self.highs, self.num_bins)
        below, above = numbers_of(self.highs)[last], numbers_of(self.lows)[last + 1]
        with np.errstate(over="ignore", invalid="ignore"):
            middle = below + (above - below) / 2
        return np.asarray(np.where((middle >= below) & (middle < above), middle, below))

    def _coarse(self, lows: UInt64Array, highs: UInt64Array, counts: Int64Array) -> BoolArray:
        """Say of each occupied interval whether it is to be refined: (cells,)."""
        several = (lows < highs) & (counts >= self.least)
        if len(lows) <= self.num_bins:
            return np.asarray(several)
        most = max(1, int(counts.sum() * self.rank_error))
        return np.asarray(several & (counts > most))


def last_of_bins(counts: Int64Array, single: BoolArray, num_bins: int) -> Int64Array:
    """Return the last interval of each bin but the last.

    Parameters
    ----------
    counts
        (intervals,), rows of each, at least 1, in ascending order of values.
    single
        (intervals,), whether an interval holds one value alone; in another one, any place may be a threshold.
    num_bins
        Bins at most.

    Examples
    --------
    >>> heavy_and_light = np.array([90, 1, 90, 2, 90, 1])
    >>> last_of_bins(heavy_and_light, np.ones(6, np.bool_), 3).tolist()
    [1, 3]
    """
    if len(counts) <= num_bins:
        return np.arange(max(len(counts) - 1, 0))
    ends = np.concatenate(([0], np.cumsum(counts)))
    starts = _starts(ends, single, num_bins)
    return np.asarray(starts[1:] - 1, np.int64)


@inlined
def _error(ends: Int64Array, single: BoolArray, first: int, stop: int) -> int:
    """Return the rank error of a bin of the intervals `first` to `stop`, in rows."""
    half = ends[first] + (ends[stop] - ends[first]) // 2
    middle, beyond = first, stop  # of the interval that holds the row in the middle
    while beyond - middle > 1:
        place = (middle + beyond) // 2
        if ends[place] <= half:
            middle = place
        else:
            beyond = place
    if not single[middle]:
        return int(half - ends[first])
    return int(max(ends[middle] - ends[first], ends[stop] - ends[middle + 1]))


@inlined
def _furthest(ends: Int64Array, single: BoolArray, first: int, error: int) -> int:
    """Return where the longest bin stops that begins here and has at most this error; one interval at least."""
    stop, beyond = first + 1, len(ends)
    while beyond - stop > 1:
        place = (stop + beyond) // 2
        if _error(ends, single, first, place) <= error:
            stop = place
        else:
            beyond = place
    return stop


@inlined
def _fill(ends: Int64Array, single: BoolArray, error: int, starts: Int64Array) -> int:
    """Write where the fewest bins of at most this error begin; return how many they are, or one more than fit."""
    first, number = 0, 0
    while first < len(ends) - 1:
        if number == len(starts):
            return number + 1
        starts[number] = first
        number += 1
        first = _furthest(ends, single, first, error)
    return number


@inlined
def _halfway(ends: Int64Array, single: BoolArray, first: int, stop: int) -> int:
    """Return where to cut a bin of several intervals so that the larger error of its parts is least."""
    best, least = first + 1, ends[stop] - ends[first] + 1
    for place in range(first + 1, stop):
        error = max(_error(ends, single, first, place), _error(ends, single, place, stop))
        if error < least:
            best, least = place, error
    return best


@inlined
def _widest(ends: Int64Array, single: BoolArray, starts: Int64Array, number: int) -> int:
    """Return the bin of the largest error that can be cut, of these the one with most rows; -1 if there is none.

    Of equals it is the one whose place times the golden ratio has the largest fraction: they follow each other all over
    the range.
    """
    best, worst, most, highest = -1, 0, 0, 0.0
    for i in range(number):
        first, stop = starts[i], starts[i + 1] if i + 1 < number else len(ends) - 1
        error, rows = _error(ends, single, first, stop), ends[stop] - ends[first]
        if stop - first < 2 or error < worst or (error == worst and rows < most):
            continue
        place = first * _GOLDEN % 1.0
        if error > worst or rows > most or place > highest:
            best, worst, most, highest = i, error, rows, place
    return best


@kernel
def _starts(ends: Int64Array, single: BoolArray, num_bins: int) -> Int64Array:
    """Return the first interval of each bin."""
    starts = np.empty(num_bins, np.int64)
    low, high = 0, ends[-1] // 2  # bins of the latter error are one bin
    while low < high:
        error = (low + high) // 2
        if _fill(ends, single, error, starts) <= num_bins:
            high = error
        else:
            low = error + 1
    number = _fill(ends, single, low, starts)
    while number < num_bins:
        i = _widest(ends, single, starts, number)
        if i < 0:
            break
        stop = starts[i + 1] if i + 1 < number else len(ends) - 1
        place = _halfway(ends, single, starts[i], stop)
        for j in range(number, i + 1, -1):
            starts[j] = starts[j - 1]
        starts[i + 1] = place
        number += 1
    return starts[:number].copy()
