"""Linear algebra on updates, one a row, in blocks of columns: in double precision without a second copy of them all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from werkbund.core.arrays import AnyArray, BoolArray, Float32Array, Float64Array
from werkbund.core.threads import spread

WIDTH = 1024
"""Columns of a block: a hundred rows of it, sorted or in double precision, stay in a processor's cache."""


def blocks(num_columns: int) -> list[slice]:
    """Return which columns each block has."""
    return [slice(start, min(start + WIDTH, num_columns)) for start in range(0, num_columns, WIDTH)]


def of_ordered(
    rows: Float32Array, value: Callable[[Float32Array], AnyArray], chosen: list[int] | None = None
) -> Float32Array:
    """Return what becomes of each column's values in ascending order, (parameters,); threads share the blocks out.

    Blocks are turned before they are sorted: NumPy sorts a contiguous axis several times faster, and partitions it
    slower than that.

    Parameters
    ----------
    rows
        (n, parameters)
    value
        Given (width, n) ascending values, returns (width,).
    chosen
        The rows that are looked at; None for all.
    """
    values = np.empty(rows.shape[1], np.float32)

    def work(where: slice) -> None:
        block = rows[:, where] if chosen is None else rows[chosen, where]
        turned = block.T.copy()
        turned.sort(axis=1)
        values[where] = value(turned)

    spread(work, blocks(rows.shape[1]), float(rows.size))
    return values


def combined(rows: Float32Array, coefficients: Float64Array) -> Float32Array:
    """Return the sum of rows times coefficients, (parameters,).

    Parameters
    ----------
    rows
        (n, parameters)
    coefficients
        (n,); rows of coefficient 0 are not read.
    """
    used = np.flatnonzero(coefficients)
    total = np.empty(rows.shape[1], np.float32)
    for where in blocks(rows.shape[1]):
        block = rows[:, where] if len(used) == len(rows) else rows[used, where]
        total[where] = coefficients[used] @ block.astype(np.float64)
    return total


def lengths(rows: Float32Array, origin: Float32Array | None = None) -> Float64Array:
    """Return the Euclidean distance of each row from a point, (parameters,), or from zero: (n,)."""
    squares = np.zeros(len(rows))
    for where in blocks(rows.shape[1]):
        ways = rows[:, where].astype(np.float64)
        if origin is not None:
            ways -= origin[where]
        squares += np.vecdot(ways, ways)
    return np.sqrt(squares)


def inner_products(rows: Float32Array) -> Float64Array:
    """Return the inner product of each row with each, (n, n), in double precision."""
    products = np.zeros((len(rows), len(rows)))
    for where in blocks(rows.shape[1]):
        wide = rows[:, where].astype(np.float64)
        products += wide @ wide.T
    return products


def cosines(rows: Float32Array) -> Float64Array:
    """Return the cosine of the angle of each row to each, (n, n): symmetric to the bit; 0 for a row of length 0."""
    products = inner_products(rows)
    own = np.sqrt(np.diagonal(products))
    upper = np.triu(products / np.maximum(own[:, None] * own[None, :], np.finfo(np.float64).tiny), k=1)
    return np.asarray(upper + upper.T + np.diag((own > 0).astype(np.float64)))


def squared_distances(rows: Float32Array) -> Float64Array:
    """Return the squared distance of each row from each, (n, n): symmetric to the bit, zeros along the diagonal.

    Of |x|^2 + |y|^2 - 2 x.y of updates in double precision; of weights in single precision hardly a digit would be
    left.
    """
    products = inner_products(rows)
    squares = np.diagonal(products)
    upper = np.triu(np.maximum(squares[:, None] + squares[None, :] - 2.0 * products, 0.0), k=1)
    return upper + upper.T


def nearest(distances: Float64Array, number: int) -> BoolArray:
    """Return for each row which are its nearest, itself among them, (n, n); of equally near ones the first."""
    ranked = distances.copy()
    np.fill_diagonal(ranked, -1.0)
    order = np.argsort(ranked, axis=1, kind="stable")
    near = np.zeros(distances.shape, np.bool_)
    np.put_along_axis(near, order[:, :number], True, axis=1)
    return near


def mixed(rows: Float32Array, hostile: int) -> Float32Array:
    """Return rows, each the mean of its n - `hostile` nearest ones, itself among them: (n, parameters).

    A rule that throws away what stands apart then throws away fewer of the clients that are rare and honest.
    """
    number = len(rows) - hostile
    shares = nearest(squared_distances(rows), number) / number
    means = np.empty_like(rows)
    for where in blocks(rows.shape[1]):
        means[:, where] = shares @ rows[:, where].astype(np.float64)
    return means
