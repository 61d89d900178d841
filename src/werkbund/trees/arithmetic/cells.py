"""Bin edges from counts alone: intervals of each feature's numbers, refined where rows are many, until edges are clear.

All numbers lie on one scale of 64-bit keys that keeps their order, so no range need be known. A question names
intervals; the answer is how many rows of all clients fall into each. Whatever the division of rows, the sums are the
same, so the next question is, and so are the edges.

While a feature has at most as many occupied intervals as it may have bins, all of them are refined, down to single
numbers: its bins are then its values. Else those with more rows than the stated share are, down to single numbers, so
that bins can be cut as if all values were known, up to this share (`last_of_bins`). Intervals with fewer rows than
`least` are refined no further: an edge then does not say where such rows lie.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, Int64Array, UInt64Array
from werkbund.core.defaults import MOST_BINS, RANK_ERROR
from werkbund.core.errors import ConfigError
from werkbund.trees.arithmetic.cuts import last_of_bins

_SIGN = np.uint64(1) << np.uint64(63)
_MOST_ASKED = 8192  # intervals of a feature in one question, unless more than half as many must be refined
_FIRST = 4096


def keys_of(numbers: Float64Array) -> UInt64Array:
    """Return keys in the order of the numbers; zeros of either sign have one key.

    Examples
    --------
    >>> bool((np.diff(keys_of(np.array([-np.inf, -2.0, 0.0, 1e-300, np.inf]))) > 0).all())
    True
    """
    bits = (np.asarray(numbers, np.float64) + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def numbers_of(keys: UInt64Array) -> Float64Array:
    """Return the numbers of keys.

    Examples
    --------
    >>> numbers_of(keys_of(np.array([-1.5, 0.0, 3.25]))).tolist()
    [-1.5, 0.0, 3.25]
    """
    bits: UInt64Array = np.where(keys & _SIGN, keys ^ _SIGN, ~keys)
    return bits.view(np.float64)


def count_keys(ordered: UInt64Array, lows: UInt64Array, highs: UInt64Array) -> Int64Array:
    """Return how many of the ordered keys lie in each interval, both ends included."""
    return np.asarray(np.searchsorted(ordered, highs, "right") - np.searchsorted(ordered, lows, "left"), np.int64)


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


def parts_of(lows: UInt64Array, highs: UInt64Array, parts: int) -> tuple[UInt64Array, UInt64Array]:
    """Cut each interval into so many parts of one length, or into its single keys where these are fewer.

    Examples
    --------
    >>> low, high = parts_of(np.array([0, 20], np.uint64), np.array([9, 21], np.uint64), 3)
    >>> low.tolist(), high.tolist()
    ([0, 4, 8, 20, 21], [3, 7, 9, 20, 21])
    """
    length = (highs - lows) // np.uint64(parts) + np.uint64(1)  # of a part, in keys
    number = ((highs - lows) // length).astype(np.int64) + 1
    interval = np.repeat(np.arange(len(lows)), number)
    place = np.arange(len(interval)) - np.repeat(np.cumsum(number) - number, number)
    first = lows[interval] + place.astype(np.uint64) * length[interval]
    last = np.minimum(first + (length[interval] - np.uint64(1)), highs[interval])
    return first, np.where(last < first, highs[interval], last)  # last runs over at the highest keys
