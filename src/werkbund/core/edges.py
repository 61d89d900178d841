"""The edges of the bins in which scores are counted: as many for every question, the same for all clients of one.

A question without edges of its own counts on the standard ones: steps of 1/32 of the logit from -16 to 16. Others are
numbers of single precision, as the scores of networks are, so that no two different scores need share a bin.
"""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import AnyArray, BoolArray, Float32Array, Float64Array
from werkbund.core.errors import DataError

NUM_BINS = 1024
BINS_PER_LOGIT = 32
LOWEST_LOGIT = -16.0

EDGES = "edges"
"""Name of the edges among what a task shares."""

STANDARD_EDGES: Float32Array = np.asarray(np.arange(1, NUM_BINS) / BINS_PER_LOGIT + LOWEST_LOGIT, np.float32)
"""(NUM_BINS - 1,), the logits between neighbouring bins; the outer bins are open."""
STANDARD_EDGES.flags.writeable = False


LARGEST_EDGE = np.finfo(np.float32).max
"""The highest edge that there can be, and minus the lowest."""


def are_standard(edges: AnyArray) -> bool:
    """Return whether these are the standard edges."""
    return edges is STANDARD_EDGES or np.array_equal(edges, STANDARD_EDGES)


def checked_edges(edges: AnyArray) -> Float32Array:
    """Return edges, if they are such.

    Raises
    ------
    DataError
        If they are not as many, not of single precision, not finite, or do not rise.
    """
    fits = edges.shape == STANDARD_EDGES.shape and edges.dtype == np.float32
    if not fits or not np.isfinite(edges).all() or not (edges[1:] > edges[:-1]).all():
        raise DataError(
            f"edges must be {NUM_BINS - 1} rising finite numbers of single precision, got {edges.dtype} {edges.shape}; "
            "ask with this release"
        )
    return np.asarray(edges)


def of_one_score(edges: Float32Array) -> BoolArray:
    """Return which bins hold one number of single precision alone: (NUM_BINS,); of the open ones, those of infinity."""
    with np.errstate(over="ignore"):
        above = np.nextafter(edges, np.float32(np.inf))
    ends = edges[[0, -1]] == np.array([-LARGEST_EDGE, LARGEST_EDGE])
    return np.concatenate((ends[:1], above[:-1] == edges[1:], ends[1:]))


def centres(edges: Float32Array) -> Float64Array:
    """Return the logit that stands for each bin: (NUM_BINS,), its middle; an open bin is as wide as its neighbour."""
    inner = edges.astype(np.float64)
    width = np.diff(inner)
    return np.concatenate(([inner[0] - width[0] / 2], inner[:-1] + width / 2, [inner[-1] + width[-1] / 2]))
