"""Counts of scores in bins of enough rows: neighbouring bins are put together until each holds as many.

What a bin says is then about so many held-out rows, and so are the sums beside it, which are taken from the bins: a sum
over all rows could be that of one alone, under weights that give every other row a score without error.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from werkbund.core.arrays import AnyArray, Float32Array, Int64Array
from werkbund.core.edges import STANDARD_EDGES, centres
from werkbund.learner.counts import sums_of_histogram


def in_wide_bins(
    counts: Mapping[str, AnyArray], least: int, edges: Float32Array = STANDARD_EDGES
) -> dict[str, AnyArray]:
    """Return the counts of one split with at least so many rows in every bin that holds any.

    Parameters
    ----------
    counts
        `histogram`, (..., 2, bins), and where they are there `modes`, (..., modes, bins), `brier`, `log_loss`, `spread`
        (...) and `calibration` (..., deciles, 3), as `learner.counts.count_scores` gives them; others are left as they
        are.
    least
        Rows of both classes together; of fewer rows all are in one bin. 1: each stays as it is.
    edges
        The logits between bins.

    Returns
    -------
    counts
        In the same layout. The rows of bins that were put together lie in the one with the middle row; all rows are
        said to be `spread`, whether their bin was put together or not.
    """
    if least <= 1:
        return dict(counts)
    histogram = counts["histogram"]
    flat = histogram.reshape(-1, *histogram.shape[-2:])
    target = np.stack([_targets(own.sum(axis=0), least) for own in flat])
    moved = {
        name: _moved(counts[name].reshape(len(flat), *counts[name].shape[-2:]), target).reshape(counts[name].shape)
        for name in ("histogram", "modes")
        if name in counts
    }
    sums = sums_of_histogram(moved["histogram"], centres(edges))
    said = {"spread": histogram.sum(axis=(-2, -1))}
    return {**counts, **moved, **{name: array for name, array in (sums | said).items() if name in counts}}


def _targets(rows: Int64Array, least: int) -> Int64Array:
    """Return into which bin the rows of each go, (bins,): from the highest score on, whole bins up to enough rows."""
    target = np.arange(len(rows))
    filled = np.flatnonzero(rows)[::-1]
    if not len(filled):
        return target
    ends = np.cumsum(rows[filled])
    firsts, begun = [0], 0  # where groups begin among the filled bins, and rows before the last of them
    for place, end in enumerate(ends[:-1].tolist(), 1):
        if end - begun >= least:
            firsts.append(place)
            begun = end
    if len(firsts) > 1 and ends[-1] - begun < least:
        firsts.pop()
    for first, last in pairwise([*firsts, len(filled)]):
        before = ends[first - 1] if first else 0
        middle = first + int(np.searchsorted(2 * (ends[first:last] - before), ends[last - 1] - before))
        target[filled[first:last]] = filled[middle]
    return target


def _moved(array: Int64Array, target: Int64Array) -> Int64Array:
    """Return counts, (clients, classes or modes, bins), with each bin's rows in its target: (clients, bins)."""
    moved = np.zeros_like(array)
    for own, into, places in zip(array, moved, target, strict=True):
        filled = np.flatnonzero(own.any(axis=0))
        np.add.at(into.T, places[filled], own.T[filled])
    return moved
