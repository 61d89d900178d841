"""The best split of each node, from its histogram alone; ties go to the lowest feature, then the lowest bin.

Let G and H be the sums of gradients and of hessians over the rows of a node, l2 the penalty, and w the value that the
node gives its rows: -G / (H + l2), a Newton step, unless a monotone constraint bounds it. Twice the second-order
objective of the node is then 2 G w + (H + l2) w². A split's gain is by how much it lowers the sum of these: the
`worth`, -(2 G w + (H + l2) w²), of both children, less that of their parent (Chen and Guestrin, "XGBoost", KDD 2016,
equations 5 and 7, with all terms doubled and no penalty for a leaf).

The levels of a category are sorted by G / (H + smoothing) and cut as a number would be: for a convex objective the
best subset is such a cut (Fisher, "On grouping for maximum homogeneity", JASA 1958), at the cost of a sort where all
subsets would cost 2**levels; one level against the rest is among the cuts only if it lies outermost.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, Int64Array, UInt8Array, UInt64Array
from werkbund.core.threads import even_slices, num_threads, spread
from werkbund.trees.arithmetic.kernels import inlined, kernel


class Limits(NamedTuple):
    """Hold what a split must obey, as plain numbers.

    Parameters
    ----------
    gradient_step, hessian_step
        One unit of a summed gradient or hessian.
    l2
        Added to the summed hessian below each value.
    min_weight, min_rows
        Least summed hessian and least rows of a child.
    min_gain
        What a split must gain more than.
    smoothing
        Added to a level's summed hessian before levels are sorted.
    """

    gradient_step: float
    hessian_step: float
    l2: float
    min_weight: float
    min_rows: int
    min_gain: float
    smoothing: float


class FeatureTraits(NamedTuple):
    """Hold what a split must know of each feature: (features,) each.

    Parameters
    ----------
    sizes
        Cells of a feature, the last of them for missing values.
    levels
        Levels of a category; 0 for a number.
    signs
        1 or -1 where the score must rise or fall with the feature, else 0.
    """

    sizes: Int64Array
    levels: Int64Array
    signs: Int64Array


class Histograms(NamedTuple):
    """Hold the sums of gradients, hessians and rows of nodes that may be split.

    Parameters
    ----------
    words
        (cells, 3), histograms of all nodes.
    features, starts
        (nodes, m), which features a node has, and where their cells begin.
    totals
        (nodes, 3), sums over all rows of a node.
    bounds
        (nodes, 2), between which a node's value must stay.
    """

    words: Int64Array
    features: Int64Array
    starts: Int64Array
    totals: Int64Array
    bounds: Float64Array


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

    def take(self, places: Int64Array) -> Splits:
        """Return the splits at these places."""
        return Splits(*(getattr(self, field.name)[places] for field in fields(self)))


def best_splits(histograms: Histograms, traits: FeatureTraits, limits: Limits, draws: UInt64Array) -> Splits:
    """Find the best split of each node.

    Parameters
    ----------
    histograms
        Of the nodes.
    traits
        Of all features.
    limits
        What a split must obey.
    draws
        (nodes, m), random numbers by which each number feature gets one threshold, evenly among its occupied bins;
        (0, 0): all thresholds are tried.
    """
    nodes = len(histograms.totals)
    best = _Best(np.zeros(nodes), np.zeros((nodes, 6), np.int64), np.zeros((nodes, 32), np.uint8))

    def search(part: slice) -> None:
        _search(histograms, traits, limits, draws, best, part.start, part.stop)

    steps = 10.0 * len(histograms.words)
    spread(search, even_slices(nodes, min(num_threads(steps), max(nodes, 1))), steps)
    words = best.words
    return Splits(best.gain, words[:, 0], words[:, 1], words[:, 2] != 0, words[:, 3:], best.subsets)


class _Best(NamedTuple):
    """Room for the best split of each node."""

    gain: Float64Array  # (nodes,)
    words: Int64Array  # (nodes, 6): feature, bin, whether missing values go left, the left child's three sums
    subsets: UInt8Array  # (nodes, 32)


class _Sums(NamedTuple):
    """The three sums of a cell or of some cells; numbers alone, so that a kernel keeps them in registers."""

    gradient: int
    hessian: int
    rows: int


class _Cut(NamedTuple):
    """A way to divide a node; its gain is 0 if it is none."""

    gain: float
    feature: int
    bin: int
    missing_left: bool
    left: _Sums


class _Node(NamedTuple):
    """The node that is divided: its sums, the bounds of its value, and what it is worth undivided."""

    total: _Sums
    low: float
    high: float
    worth: float


@inlined
def _cell(words: Int64Array, cell: int) -> _Sums:
    return _Sums(words[cell, 0], words[cell, 1], words[cell, 2])


@inlined
def _plus(sums: _Sums, more: _Sums) -> _Sums:
    return _Sums(sums.gradient + more.gradient, sums.hessian + more.hessian, sums.rows + more.rows)


@inlined
def _minus(sums: _Sums, less: _Sums) -> _Sums:
    return _Sums(sums.gradient - less.gradient, sums.hessian - less.hessian, sums.rows - less.rows)


@inlined
def _value(gradient: float, hessian: float, low: float, high: float, limits: Limits) -> float:
    below = hessian + limits.l2
    return min(max(-gradient / below if below > 0 else 0.0, low), high)


@inlined
def _worth(gradient: float, hessian: float, value: float, limits: Limits) -> float:
    return -(2.0 * gradient * value + (hessian + limits.l2) * value * value)


@inlined
def _node(total: _Sums, low: float, high: float, limits: Limits) -> _Node:
    gradient, hessian = float(total.gradient) * limits.gradient_step, float(total.hessian) * limits.hessian_step
    return _Node(total, low, high, _worth(gradient, hessian, _value(gradient, hessian, low, high, limits), limits))


@inlined
def _gain(left: _Sums, sign: int, node: _Node, limits: Limits) -> float:
    """Return what a split gains whose left child has these sums; 0 if it is not allowed."""
    right = _minus(node.total, left)
    if left.rows < limits.min_rows or right.rows < limits.min_rows:
        return 0.0
    left_gradient, left_hessian = float(left.gradient) * limits.gradient_step, float(left.hessian) * limits.hessian_step
    right_gradient = float(right.gradient) * limits.gradient_step
    right_hessian = float(right.hessian) * limits.hessian_step
    if left_hessian < limits.min_weight or right_hessian < limits.min_weight:
        return 0.0
    left_value = _value(left_gradient, left_hessian, node.low, node.high, limits)
    right_value = _value(right_gradient, right_hessian, node.low, node.high, limits)
    if sign * (right_value - left_value) < 0:
        return 0.0
    left_worth = _worth(left_gradient, left_hessian, left_value, limits)
    both = left_worth + _worth(right_gradient, right_hessian, right_value, limits)
    gain = both - node.worth
    return gain if gain > limits.min_gain and gain > 1e-12 * abs(both) else 0.0


@inlined
def _better(
    best: _Cut, feature: int, cut: int, sign: int, left: _Sums, missing: _Sums, node: _Node, limits: Limits
) -> _Cut:
    """Try a cut with missing values on the left, then on the right; return the best cut so far."""
    child = _plus(left, missing)
    gain = _gain(child, sign, node, limits)
    if gain > best.gain:
        toward = missing.rows > 0 or 2 * left.rows >= node.total.rows  # where none is missing: to the larger child
        best = _Cut(gain, feature, cut, toward, child)
    if missing.rows > 0:
        gain = _gain(left, sign, node, limits)
        if gain > best.gain:
            best = _Cut(gain, feature, cut, False, left)
    return best


@inlined
def _drawn_bin(cells: Int64Array, draw: int) -> int:
    """Return the bin behind which to cut: a random one between the outermost bins that hold rows."""
    first, last = 0, len(cells) - 2
    while first < last and cells[first, 2] == 0:
        first += 1
    while last > first and cells[last, 2] == 0:
        last -= 1
    return first + draw % max(last - first, 1)


@inlined
def _best_of_number(
    best: _Cut, cells: Int64Array, feature: int, sign: int, draw: Any, node: _Node, limits: Limits
) -> _Cut:
    """Try the cuts of a number, whose last cell holds missing values; only one, if `draw` is random and not -1."""
    bins = len(cells) - 1
    left, missing = _Sums(0, 0, 0), _cell(cells, bins)
    only = _drawn_bin(cells, draw) if draw >= 0 else -1
    for b in range(bins if missing.rows > 0 else bins - 1):
        here = _cell(cells, b)
        left = _plus(left, here)
        if (only >= 0 and b != only) or (only < 0 and here.rows == 0):
            continue
        best = _better(best, feature, b, sign, left, missing, node, limits)
    return best


@inlined
def _sort_levels(cells: Int64Array, limits: Limits, order: Int64Array, ratio: Float64Array) -> int:
    """Put the levels that have rows in the order of gradient / (hessian + smoothing); return how many they are."""
    used = 0
    for level in range(len(cells) - 1):
        if cells[level, 2] == 0:
            continue
        below = float(cells[level, 1]) * limits.hessian_step + limits.smoothing
        ratio[level] = float(cells[level, 0]) * limits.gradient_step / below if below > 0 else 0.0
        place = used
        while place > 0 and ratio[order[place - 1]] > ratio[level]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = level
        used += 1
    return used


@inlined
def _best_of_levels(
    best: _Cut, cells: Int64Array, feature: int, order: Int64Array, used: int, node: _Node, limits: Limits
) -> _Cut:
    """Try the cuts of a category's levels in their order; `bin` is then minus the number of levels on the left."""
    left, missing = _Sums(0, 0, 0), _cell(cells, len(cells) - 1)
    for cut in range(used if missing.rows > 0 else used - 1):
        left = _plus(left, _cell(cells, order[cut]))
        best = _better(best, feature, -1 - cut, 0, left, missing, node, limits)
    return best


@inlined
def _keep(best: _Best, node: int, cut: _Cut) -> None:
    words = best.words[node]
    best.gain[node] = cut.gain
    words[0], words[1], words[2] = cut.feature, max(cut.bin, -1), 1 if cut.missing_left else 0
    words[3], words[4], words[5] = cut.left.gradient, cut.left.hessian, cut.left.rows


@kernel
def _search(
    histograms: Histograms, traits: FeatureTraits, limits: Limits, draws: UInt64Array, best: _Best, begin: int, end: int
) -> None:
    """Search the nodes `begin` to `end`."""
    order, ratio = np.empty(256, np.int64), np.empty(256)
    for i in range(begin, end):
        node = _node(_cell(histograms.totals, i), histograms.bounds[i, 0], histograms.bounds[i, 1], limits)
        cut = _Cut(0.0, 0, 0, False, _Sums(0, 0, 0))
        for j in range(histograms.features.shape[1]):
            feature, start = histograms.features[i, j], histograms.starts[i, j]
            cells = histograms.words[start : start + traits.sizes[feature]]
            if traits.levels[feature] > 0:
                before, used = cut.gain, _sort_levels(cells, limits, order, ratio)
                cut = _best_of_levels(cut, cells, feature, order, used, node, limits)
                if cut.gain > before:
                    best.subsets[i, :] = 0
                    for level in order[: -cut.bin]:
                        best.subsets[i, level >> 3] |= np.uint8(1 << (level & 7))
            else:
                draw = np.int64(draws[i, j] >> np.uint64(1)) if len(draws) > 0 else np.int64(-1)
                cut = _best_of_number(cut, cells, feature, traits.signs[feature], draw, node, limits)
        _keep(best, i, cut)
