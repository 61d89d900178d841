"""The best split of each node, from its histogram alone; ties go to the lowest feature, then the lowest bin.

A split's gain is what it lowers twice the second-order objective by: -(2 G w + (H + l2) w²) of both children, less
that of their parent, where w = -G / (H + l2) unless a monotone constraint binds it (Chen and Guestrin, "XGBoost",
KDD 2016, equations 5 and 7, with all terms doubled and no penalty for a leaf).

The levels of a category are sorted by G / (H + smoothing) and cut as a number would be: for a convex objective the
best subset is such a cut (Fisher, "On grouping for maximum homogeneity", JASA 1958), at the cost of a sort where all
subsets would cost 2**levels; one level against the rest is among the cuts only if it lies outermost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, Int64Array, UInt8Array, UInt64Array
from werkbund.trees.arithmetic.jit import kernel, part
from werkbund.trees.arithmetic.threads import num_threads, pieces, spread


class Limits(NamedTuple):
    """Hold what a split must obey, as plain numbers."""

    gradient_step: float  # one unit of a summed gradient
    hessian_step: float
    l2: float
    min_weight: float
    min_rows: int
    min_gain: float
    smoothing: float
    bound: bool  # whether monotone constraints bind any value


@dataclass(frozen=True)
class Splits:
    """Hold the best split of each node, (nodes, ...); its gain is 0 where there is none.

    Parameters
    ----------
    gain
        (nodes,)
    feature, bin, missing_left
        (nodes,); `bin` is -1 for a split by levels.
    left
        (nodes, 3), summed gradient, hessian and rows of the left child.
    subsets
        (nodes, 32), the levels that go left, for a split by levels.
    """

    gain: Float64Array
    feature: Int64Array
    bin: Int64Array
    missing_left: BoolArray
    left: Int64Array
    subsets: UInt8Array


def best_splits(
    words: Int64Array,
    features: Int64Array,
    starts: Int64Array,
    sizes: Int64Array,
    levels: Int64Array,
    totals: Int64Array,
    bounds: Float64Array,
    signs: Int64Array,
    draws: UInt64Array,
    limits: Limits,
) -> Splits:
    """Search all nodes.

    Parameters
    ----------
    words
        (cells, 3), histograms of all nodes.
    features, starts
        (nodes, m), which features a node has, and where their cells begin.
    sizes, levels
        (features,), cells of each feature, and levels of a categorical one.
    totals
        (nodes, 3), sums over all rows of a node.
    bounds
        (nodes, 2), between which a node's value must stay.
    signs
        (features,), 1 or -1 where the score must rise or fall with the feature, else 0.
    draws
        (nodes, m), random numbers by which each number feature gets one threshold, evenly among its occupied bins;
        empty: all thresholds are tried.
    limits
        What a split must obey.
    """
    nodes = len(totals)
    found = np.zeros((nodes, 6), np.int64)
    gains, subsets = np.zeros(nodes), np.zeros((nodes, 32), np.uint8)

    def search(part: slice) -> None:
        _search(
            words, features[part], starts[part], sizes, levels, totals[part], bounds[part], signs, draws[part], limits,
            found[part], gains[part], subsets[part],
        )  # fmt: skip

    steps = 10.0 * len(words)
    spread(search, pieces(nodes, min(num_threads(steps), max(nodes, 1))), steps)
    return Splits(gains, found[:, 0], found[:, 1], found[:, 2] != 0, found[:, 3:], subsets)


@part
def _weight(g: float, h: float, low: float, high: float, limits: Limits) -> float:
    below = h + limits.l2
    return min(max(-g / below if below > 0 else 0.0, low), high)


@part
def _worth(g: float, h: float, w: float, limits: Limits) -> float:
    return -(2.0 * g * w + (h + limits.l2) * w * w)


@part
def _gain(
    left: Int64Array, total: Int64Array, low: float, high: float, sign: int, parent: float, limits: Limits
) -> float:
    """Return what a split gains; 0 if it is not allowed."""
    rows = total[2] - left[2]
    if left[2] < limits.min_rows or rows < limits.min_rows:
        return 0.0
    g, h = float(left[0]) * limits.gradient_step, float(left[1]) * limits.hessian_step
    e, k = float(total[0] - left[0]) * limits.gradient_step, float(total[1] - left[1]) * limits.hessian_step
    if h < limits.min_weight or k < limits.min_weight:
        return 0.0
    w, v = _weight(g, h, low, high, limits), _weight(e, k, low, high, limits)
    if sign * (v - w) < 0:
        return 0.0
    both = _worth(g, h, w, limits) + _worth(e, k, v, limits)
    gain = both - parent
    return gain if gain > limits.min_gain and gain > 1e-12 * abs(both) else 0.0


@part
def _note(found: Int64Array, feature: int, cut: int, missing_left: bool, left: Int64Array) -> None:
    found[0], found[1], found[2] = feature, cut, 1 if missing_left else 0
    found[3], found[4], found[5] = left[0], left[1], left[2]


@part
def _try(
    found: Int64Array, best: float, feature: int, cut: int, left: Int64Array, missing: Int64Array, total: Int64Array,
    low: float, high: float, sign: int, parent: float, limits: Limits, room: Int64Array,
) -> float:  # fmt: skip
    """Try a cut with missing values on the left, then on the right; return the best gain so far."""
    for k in range(3):
        room[k] = left[k] + missing[k]
    gain = _gain(room, total, low, high, sign, parent, limits)
    if gain > best:
        toward = missing[2] > 0 or 2 * left[2] >= total[2]  # where none is missing: to the larger child
        _note(found, feature, cut, toward, room)
        best = gain
    if missing[2] > 0:
        gain = _gain(left, total, low, high, sign, parent, limits)
        if gain > best:
            _note(found, feature, cut, False, left)
            best = gain
    return best


@part
def _numbers(
    words: Int64Array, start: int, bins: int, drawn: Any, found: Int64Array, best: float, feature: int,
    total: Int64Array, low: float, high: float, sign: int, parent: float, limits: Limits, rooms: Int64Array,
) -> float:  # fmt: skip
    """Try the cuts of a number; only one, if `drawn` is a random number and not -1."""
    left, missing = rooms[0], rooms[1]
    for k in range(3):
        left[k], missing[k] = 0, words[start + bins, k]
    only, end = -1, bins if missing[2] > 0 else bins - 1
    if drawn >= 0:
        first, last = 0, bins - 1
        while first < last and words[start + first, 2] == 0:
            first += 1
        while last > first and words[start + last, 2] == 0:
            last -= 1
        only = first + drawn % max(last - first, 1)
    for b in range(end):
        rows = words[start + b, 2]
        for k in range(3):
            left[k] += words[start + b, k]
        if (only >= 0 and b != only) or (only < 0 and rows == 0):
            continue
        best = _try(found, best, feature, b, left, missing, total, low, high, sign, parent, limits, rooms[2])
    return best


@part
def _levels(
    words: Int64Array, start: int, levels: int, found: Int64Array, best: float, feature: int, total: Int64Array,
    low: float, high: float, parent: float, limits: Limits, rooms: Int64Array, order: Int64Array, key: Float64Array,
    subset: UInt8Array,
) -> float:  # fmt: skip
    """Try the cuts of a category's levels in their order; one without rows goes right."""
    left, missing, used = rooms[0], rooms[1], 0
    for k in range(3):
        left[k], missing[k] = 0, words[start + levels, k]
    for level in range(levels):
        if words[start + level, 2] == 0:
            continue
        below = float(words[start + level, 1]) * limits.hessian_step + limits.smoothing
        key[level] = float(words[start + level, 0]) * limits.gradient_step / below if below > 0 else 0.0
        place = used
        while place > 0 and key[order[place - 1]] > key[level]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = level
        used += 1
    end = used if missing[2] > 0 else used - 1
    for cut in range(end):
        for k in range(3):
            left[k] += words[start + order[cut], k]
        before = best
        best = _try(found, best, feature, -1, left, missing, total, low, high, 0, parent, limits, rooms[2])
        if best > before:
            subset[:] = 0
            for place in range(cut + 1):
                level = order[place]
                subset[level >> 3] |= np.uint8(1 << (level & 7))
    return best


@kernel
def _search(
    words: Int64Array, features: Int64Array, starts: Int64Array, sizes: Int64Array, levels: Int64Array,
    totals: Int64Array, bounds: Float64Array, signs: Int64Array, draws: UInt64Array, limits: Limits,
    found: Int64Array, gains: Float64Array, subsets: UInt8Array,
) -> None:  # fmt: skip
    rooms, order, key = np.empty((3, 3), np.int64), np.empty(256, np.int64), np.empty(256)
    for node in range(len(totals)):
        total, low, high = totals[node], bounds[node, 0], bounds[node, 1]
        g, h = float(total[0]) * limits.gradient_step, float(total[1]) * limits.hessian_step
        parent, best = _worth(g, h, _weight(g, h, low, high, limits), limits), 0.0
        for j in range(features.shape[1]):
            f, start = features[node, j], starts[node, j]
            if levels[f] > 0:
                best = _levels(
                    words, start, sizes[f] - 1, found[node], best, f, total, low, high, parent, limits, rooms, order,
                    key, subsets[node],
                )  # fmt: skip
            else:
                drawn = np.int64(draws[node, j] >> np.uint64(1)) if len(draws) > 0 else np.int64(-1)
                best = _numbers(
                    words, start, sizes[f] - 1, drawn, found[node], best, f, total, low, high, signs[f], parent,
                    limits, rooms,
                )  # fmt: skip
        gains[node] = best
