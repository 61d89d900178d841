"""How far apart clients' vectors are, such as their updates: matrices over all pairs, summed in double precision."""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import Float32Array, Float64Array

MEASURES = ("arccos", "l2", "l1")
"""The angle between two vectors, their Euclidean distance, and the sum of absolute differences."""

_COLUMNS = 1 << 15  # how many columns of vectors are multiplied at once in double precision


def inner_products(vectors: Float32Array) -> Float64Array:
    """Return the inner product of each pair of rows, (rows, rows)."""
    products = np.zeros((len(vectors), len(vectors)))
    for start in range(0, vectors.shape[1], _COLUMNS):
        part = vectors[:, start : start + _COLUMNS].astype(np.float64)
        products += part @ part.T
    return products


def distances(vectors: Float32Array) -> Float64Array:
    """Return the Euclidean distance of each pair of rows, (rows, rows)."""
    products = inner_products(vectors)
    squares = np.diag(products)
    apart: Float64Array = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2.0 * products, 0.0))
    np.fill_diagonal(apart, 0.0)
    return apart


def angles(vectors: Float32Array) -> Float64Array:
    """Return the angle of each pair of rows, (rows, rows), 0 to pi; a right one to a row of zeros."""
    products = inner_products(vectors)
    lengths = np.sqrt(np.diag(products))
    scale = np.outer(lengths, lengths)
    cosine = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    apart: Float64Array = np.arccos(cosine.clip(-1.0, 1.0))
    np.fill_diagonal(apart, 0.0)
    return apart


def unlikeness(vectors: Float32Array, measure: str) -> Float64Array:
    """Return how unlike each pair of rows is, (rows, rows), by one of `MEASURES`."""
    if measure == "arccos":
        return angles(vectors)
    if measure == "l2":
        return distances(vectors)
    from scipy.spatial.distance import cdist  # slow to import

    apart: Float64Array = cdist(vectors.astype(np.float64), vectors.astype(np.float64), "cityblock")
    return apart
