"""Readings between two ticks of a grid as sums, from which windows of any length are put together.

A window on the grid is a run of bins, so that each reading is touched once. Squares are about means, of a bin and then
of the window, so that nothing is lost where a mean is large (Chan, Golub and LeVeque 1983, eq. 1.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array

_ROWS_A_PIECE = 250_000


@dataclass(frozen=True)
class Bins:
    """Hold what the readings of each bin amount to, by columns: (bins,), and (bins, signals) for moments.

    Parameters
    ----------
    life
        Number of the machine's life, from new or a repair to the next.
    number
        Of the bin on the grid; it ends at this many steps.
    regime
        Number of the readings' regime, where bins are told apart by it; else 0.
    count
        Readings present.
    mean, square, low, high, last
        Of these: mean, sum of squares about it, extremes, the last one.
    hour, hour_square, product
        Of their times, in units of slope after the end of the bin: mean, sum of squares about it, and of products with
        the readings about theirs.
    """

    life: Int64Array
    number: Int64Array
    regime: Int64Array
    count: Float64Array
    mean: Float64Array
    square: Float64Array
    low: Float64Array
    high: Float64Array
    last: Float64Array
    hour: Float64Array
    hour_square: Float64Array
    product: Float64Array

    def __len__(self) -> int:
        return len(self.life)


def binned(life: Int64Array, number: Int64Array, regime: Int64Array, values: Float64Array, hours: Float64Array) -> Bins:
    """Return the bins of readings.

    Parameters
    ----------
    life, number, regime
        (rows,), of the bin of each row; rows of one bin lie together, in order of time.
    values
        (rows, signals), NaN where there is no reading.
    hours
        (rows,), time of each row after the end of its bin, at most 0.
    """
    keys = np.stack([life, number, regime])
    starts = np.flatnonzero(np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0)))
    pieces = [
        _piece(values[first:end], hours[first:end], starts[own] - first) for first, end, own in _cuts(starts, len(life))
    ]
    moments = [np.concatenate(parts) for parts in zip(*pieces, strict=True)]
    return Bins(life[starts], number[starts], regime[starts], *moments)


def _cuts(starts: Int64Array, rows: int) -> Iterator[tuple[int, int, slice]]:
    """Yield the rows of whole bins, so many at a time, and which bins these are."""
    first = 0
    while first < len(starts):
        last = max(int(np.searchsorted(starts, starts[first] + _ROWS_A_PIECE)), first + 1)
        yield int(starts[first]), int(starts[last]) if last < len(starts) else rows, slice(first, last)
        first = last


def _piece(values: Float64Array, hours: Float64Array, starts: Int64Array) -> tuple[Float64Array, ...]:
    """Return the moments of some bins, in the order of `Bins`."""
    sizes = np.diff(np.append(starts, len(values)))
    present = np.isfinite(values)

    def total(parts: Float64Array) -> Float64Array:
        return np.add.reduceat(parts, starts, axis=0)

    def about(parts: Float64Array, mean: Float64Array) -> Float64Array:
        return np.where(present, parts - np.repeat(mean, sizes, axis=0), 0.0)

    count = total(present.astype(np.float64))
    some = np.maximum(count, 1.0)
    mean = total(np.where(present, values, 0.0)) / some
    apart = about(values, mean)
    when = total(np.where(present, hours[:, None], 0.0)) / some
    hours_apart = about(hours[:, None], when)
    place = np.maximum.reduceat(np.where(present, np.arange(len(values))[:, None], 0), starts, axis=0)
    return (
        count,
        mean,
        total(apart * apart),
        np.minimum.reduceat(np.where(present, values, np.inf), starts, axis=0),
        np.maximum.reduceat(np.where(present, values, -np.inf), starts, axis=0),
        np.take_along_axis(values, place, axis=0),
        when,
        total(hours_apart * hours_apart),
        total(hours_apart * apart),
    )
