"""Draws that depend on a row itself, not on who holds it: equal rows share their draw."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array, UInt8Array, UInt64Array
from werkbund.core.rng import mix
from werkbund.trees.arithmetic.kernels import inlined, kernel

MOST_DRAWS = 12
"""A Poisson draw of mean 1 is cut here; one in ten thousand million would be higher."""

_GOLDEN, _SHIFT1, _SHIFT2, _SHIFT3 = np.uint64(0x9E3779B97F4A7C15), np.uint64(30), np.uint64(27), np.uint64(31)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_INVERSE_E = sum((Fraction((-1) ** j, math.factorial(j)) for j in range(30)), Fraction(0))  # no library's last digit
_POISSON = np.array(
    [
        math.floor(2**53 * _INVERSE_E * sum((Fraction(1, math.factorial(j)) for j in range(k + 1)), Fraction(0)))
        for k in range(MOST_DRAWS)
    ],
    np.int64,
)


def row_hashes(features: Float64Array, targets: Float64Array) -> UInt64Array:
    """Return 64 bits of each row's content; zeros of either sign are equal, and so are all missing values.

    Examples
    --------
    >>> x = np.array([[0.0, np.nan], [-0.0, np.nan], [0.0, 1.0]])
    >>> a, b, c = row_hashes(x, np.zeros(3)).tolist()
    >>> a == b, a == c
    (True, False)
    """
    whole = np.column_stack([features, targets]) + 0.0  # -0.0 + 0.0 is 0.0
    bits = whole.view(np.uint64)
    bits[np.isnan(whole)] = np.uint64(0x7FF8000000000000)
    return _hash_rows(bits)


def draw_rows(hashes: UInt64Array, key: int, share: float, poisson: bool) -> UInt8Array:
    """Return how often each row is in a tree.

    Parameters
    ----------
    hashes
        (rows,), of `row_hashes`.
    key
        Of the tree.
    share
        Chance of a row to be in, if `poisson` is not asked for; all are at 1, and none is drawn: (0,).
    poisson
        Draw from the Poisson distribution of mean 1: a bootstrap that needs no number of rows (Oza and Russell,
        "Online bagging and boosting", AISTATS 2001); cut at `MOST_DRAWS`.
    """
    if share >= 1 and not poisson:
        return np.empty(0, np.uint8)
    limits = _POISSON if poisson else np.array([2**53 - math.floor(share * 2.0**53)], np.int64)
    return _draw(hashes, np.uint64(key), limits)


def draw_features(key: UInt64Array, num_features: int, most: int) -> Int64Array:
    """Return `most` distinct features of `num_features` for each key, ascending: (keys, most).

    Examples
    --------
    >>> draw_features(np.array([1, 2], np.uint64), 3, 3).tolist()
    [[0, 1, 2], [0, 1, 2]]
    """
    salt = mix((np.arange(num_features, dtype=np.uint64) + np.uint64(1)) * _GOLDEN)
    order = np.argsort(mix(mix(key)[:, None] ^ salt[None, :]), axis=1, kind="stable")
    return np.sort(order[:, :most], axis=1).astype(np.int64)


@inlined
def _mix(z: np.uint64) -> np.uint64:
    """Return 64 bits of which each depends on all bits of z (the output function of SplitMix64)."""
    z = (z ^ (z >> _SHIFT1)) * _MIX1
    z = (z ^ (z >> _SHIFT2)) * _MIX2
    return z ^ (z >> _SHIFT3)


@kernel
def _hash_rows(bits: UInt64Array) -> UInt64Array:
    hashes = np.empty(len(bits), np.uint64)
    for i in range(len(bits)):
        h = _GOLDEN
        for column in range(bits.shape[1]):
            h = _mix(h ^ bits[i, column]) + _GOLDEN
        hashes[i] = h
    return hashes


@kernel
def _draw(hashes: UInt64Array, key: np.uint64, limits: Int64Array) -> UInt8Array:
    """Return how many limits, ascending, do not exceed each row's even random number of 53 bits: (rows,)."""
    draws = np.empty(len(hashes), np.uint8)
    base = _mix(key + _GOLDEN)
    for i in range(len(hashes)):
        even = np.int64(_mix(hashes[i] ^ base) >> np.uint64(11))
        count = 0
        while count < len(limits) and even >= limits[count]:
            count += 1
        draws[i] = count
    return draws
