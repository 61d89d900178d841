"""Where to cut ordered intervals into few bins, so that any threshold on a feature has a cut near it.

A tree can split a feature at cuts alone. The rank error of a bin is the most rows that lie between a threshold within
it and the nearer of its ends: so many rows go to the other child than if the cut could be at the threshold. A value of
many rows with lighter ones around it needs no more than one cut: its bin's error is that of the lighter ones.

The cuts are those whose largest rank error is the least that so many bins allow; a bin's error grows with the bin, so
that bins which reach as far as an error permits are as few as can be. Cuts that are left over go, one after the other,
to the bin of the largest error.
"""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import BoolArray, Int64Array
from werkbund.trees.arithmetic.kernels import inlined, kernel


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
    """Return the bin of the largest error that can be cut, of these the one with most rows; -1 if there is none."""
    best, worst, most = -1, 0, 0
    for i in range(number):
        first, stop = starts[i], starts[i + 1] if i + 1 < number else len(ends) - 1
        error, rows = _error(ends, single, first, stop), ends[stop] - ends[first]
        if stop - first > 1 and (error > worst or (error == worst and rows > most)):
            best, worst, most = i, error, rows
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
