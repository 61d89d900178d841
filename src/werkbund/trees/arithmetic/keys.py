"""One scale of 64-bit keys that keeps the order of all numbers there are, and intervals on it.

No range of a feature need be known: an interval of keys is an interval of numbers, and half its keys are half of it.
"""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array, UInt64Array
from werkbund.core.threads import even_slices, num_threads, spread
from werkbund.trees.arithmetic.kernels import kernel

_SIGN = np.uint64(1) << np.uint64(63)
_BLOCK = 128  # rows that are read at a time, so that they stay in the cache for all columns


def keys_of(numbers: Float64Array) -> UInt64Array:
    """Return keys in the order of the numbers; zeros of either sign have one key.

    Examples
    --------
    >>> bool((np.diff(keys_of(np.array([-np.inf, -2.0, 0.0, 1e-300, np.inf]))) > 0).all())
    True
    """
    bits = (np.asarray(numbers, np.float64) + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def ordered_keys(columns: Float64Array) -> list[UInt64Array]:
    """Return the keys of each column's numbers in ascending order, missing values left out.

    Parameters
    ----------
    columns
        (rows, columns)
    """
    x = np.ascontiguousarray(columns)
    keys, present = np.empty(x.shape[::-1], np.uint64), np.zeros(x.shape[1], np.int64)
    steps = 10.0 * x.size

    def order(part: slice) -> None:
        _by_columns(x, x.view(np.uint64), part.start, part.stop, keys, present)
        for column in range(part.start, part.stop):
            keys[column, : present[column]].sort()

    spread(order, even_slices(x.shape[1], min(num_threads(steps), x.shape[1])), steps)
    return [own[:number] for own, number in zip(keys, present.tolist(), strict=True)]


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


@kernel
def _by_columns(
    x: Float64Array, bits: UInt64Array, first: int, stop: int, keys: UInt64Array, present: Int64Array
) -> None:
    """Write the keys of the columns `first` to `stop`, each column's together; count its numbers."""
    for begin in range(0, len(x), _BLOCK):
        for column in range(first, stop):
            own, number = keys[column], present[column]
            for i in range(begin, min(begin + _BLOCK, len(x))):
                b = bits[i, column]
                if b == _SIGN:  # -0.0
                    b = np.uint64(0)
                own[number] = ~b if b & _SIGN else b | _SIGN
                number += 1 if x[i, column] == x[i, column] else 0
            present[column] = number
