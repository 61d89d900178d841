"""From rows to scores, and from scores to what each feature adds: every row walks down every tree.

A feature's part is its exact Shapley value. A feature that is not known sends a row to both children, in proportion to
the training rows that went there. For one leaf whose path asks m features the game is a product: feature j gives
`passes[j]` (1 if the row passes all its splits, else 0) when it is known, and `share[j]` (of the rows that reach these
splits, those that pass them) when not. Its Shapley values need only the coefficients, in x, of
prod_j (share[j] + passes[j] x), and dividing out one factor leaves those of the others: quadratic in the depth of a
leaf, as Lundberg, Erion, Lee, "Consistent individualized feature attribution for tree ensembles", arXiv 1802.03888,
algorithm 2, of which this is the form without recursion.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, Int32Array, Int64Array, UInt8Array
from werkbund.core.errors import DataError, ModelError
from werkbund.trees.arithmetic.ensemble import Ensemble, Trees
from werkbund.trees.arithmetic.kernels import inlined, kernel

_BLOCK = 256  # rows that walk down one tree after the other, so that the tree stays in the cache


def scores(ensemble: Ensemble, features: Float64Array) -> Float64Array:
    """Return the score of each row: (rows, outputs).

    The values of leaves are added in the order of the trees, one row at a time: a row's score has the same bits
    whatever rows lie beside it, and the same as where the trees were grown.

    Parameters
    ----------
    ensemble
        The trees.
    features
        (rows, features), raw prepared values, NaN where missing.
    """
    return ensemble.base + ensemble.factor * leaf_sums(ensemble.trees, ensemble.num_outputs, features)


def leaf_sums(
    trees: Trees, num_outputs: int, features: Float64Array, start: Float64Array | None = None
) -> Float64Array:
    """Return the sums of the leaves that each row reaches: (rows, outputs); if `start` is given, added to that.

    Raises
    ------
    DataError, ModelError
        If the trees ask for a feature that the rows do not have, or add to a score that there is not.
    """
    x = _readable(trees, features)
    if trees.outputs.max(initial=0) >= num_outputs:
        raise ModelError(f"trees must add to {num_outputs} scores, got one that adds to score {trees.outputs.max()}")
    sums = np.zeros((len(x), num_outputs)) if start is None else start.copy()
    _walk(x, trees.roots, trees.outputs, _Nodes.of(trees), sums)
    return sums


def logits(ensemble: Ensemble, features: Float64Array, shares: bool = True) -> Float64Array:
    """Return log(p / (1 - p)) of each row, where the one score is a logit or, of a forest, a share: (rows,).

    Without `shares` the mean of a forest is a number, and stays as it is.
    """
    score = scores(ensemble, features)[:, 0]
    return logits_of_shares(score) if ensemble.mean and shares else score


def logits_of_shares(shares: Float64Array) -> Float64Array:
    """Return log(p / (1 - p)), infinite where a share is 0 or 1, or beyond by rounding."""
    p = np.clip(shares, 0.0, 1.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(p) - np.log1p(-p))


def contributions(ensemble: Ensemble, features: Float64Array) -> Float64Array:
    """Return each feature's part in the score of each row.

    Parameters
    ----------
    ensemble
        The trees.
    features
        (rows, features), raw prepared values, NaN where missing.

    Returns
    -------
    parts
        (rows, outputs, features + 1); the last is the score that is expected where nothing is known. They add up to
        the score, up to rounding.

    Raises
    ------
    DataError
        If the trees ask for a feature that the rows do not have.
    """
    x = _readable(ensemble.trees, features)
    parts = np.zeros((len(x), ensemble.num_outputs, x.shape[1] + 1))
    _attribute(x, _Paths.of(ensemble.trees), _Nodes.of(ensemble.trees), parts)
    parts *= ensemble.factor
    parts[:, :, -1] += ensemble.base
    return parts


def _readable(trees: Trees, features: Float64Array) -> Float64Array:
    """Return the rows' features as one block in memory; refuse rows that lack one that the trees ask for."""
    x = np.ascontiguousarray(features, np.float64)
    needed = int(trees.feature.max(initial=-1)) + 1
    if x.ndim != 2 or x.shape[1] < needed:
        raise DataError(f"rows must have at least {needed} features, as these trees ask, got the shape {x.shape}")
    return x


class _Nodes(NamedTuple):
    """The arrays of `Trees` that kernels read."""

    feature: Int32Array
    threshold: Float64Array
    missing_left: BoolArray
    subset: Int32Array
    left: Int32Array
    value: Float64Array
    rows: Int64Array
    subsets: UInt8Array

    @classmethod
    def of(cls, trees: Trees) -> _Nodes:
        return cls(*(getattr(trees, name) for name in cls._fields))


class _Paths(NamedTuple):
    """The way to each leaf: `leaf` and its tree's `output`, (leaves,).

    Above leaf i lie the nodes `above[ends[i]:ends[i + 1]]`, root first; `went_left` says whether the way leads to the
    left child of each.
    """

    leaf: Int64Array
    output: Int64Array
    ends: Int64Array
    above: Int64Array
    went_left: BoolArray

    @classmethod
    def of(cls, trees: Trees) -> _Paths:
        leaves: list[int] = []
        outputs, ends, above, went_left = list[int](), [0], list[int](), list[bool]()
        for root, output in zip(trees.roots.tolist(), trees.outputs.tolist(), strict=True):
            waiting: list[tuple[int, list[tuple[int, bool]]]] = [(root, [])]
            while waiting:
                node, path = waiting.pop()
                left = int(trees.left[node])
                if left >= 0:
                    waiting += [(left + 1, [*path, (node, False)]), (left, [*path, (node, True)])]
                    continue
                leaves.append(node)
                outputs.append(output)
                above += [parent for parent, _ in path]
                went_left += [side for _, side in path]
                ends.append(len(above))
        numbers = [np.array(values, np.int64) for values in (leaves, outputs, ends, above)]
        return cls(numbers[0], numbers[1], numbers[2], numbers[3], np.array(went_left, np.bool_))


class _Factors(NamedTuple):
    """Room for the factors of one leaf's game: its features, their two values, and the coefficients of the product."""

    feature: Int64Array
    share: Float64Array
    passes: BoolArray
    coefficients: Float64Array


@inlined
def _goes_left(nodes: _Nodes, node: int | np.int64, x: float) -> bool:
    subset, missing_left = nodes.subset[node], bool(nodes.missing_left[node])
    if subset < 0:
        return missing_left if x != x else bool(x <= nodes.threshold[node])
    if not (x >= 0 and x < 255) or x != np.floor(x):
        return missing_left
    level = int(x)
    return bool((nodes.subsets[subset, level >> 3] >> np.uint8(level & 7)) & 1)


@kernel
def _walk(x: Float64Array, roots: Int32Array, outputs: Int32Array, nodes: _Nodes, sums: Float64Array) -> None:
    for begin in range(0, len(x), _BLOCK):
        end = min(begin + _BLOCK, len(x))
        for tree in range(len(roots)):
            for i in range(begin, end):
                node = np.int64(roots[tree])
                while nodes.feature[node] >= 0:
                    goes = _goes_left(nodes, node, x[i, nodes.feature[node]])
                    node = np.int64(nodes.left[node]) + (0 if goes else 1)
                sums[i, outputs[tree]] += nodes.value[node]


@inlined
def _add_shapley(value: float, m: int, factors: _Factors, parts: Float64Array) -> None:
    """Add to the parts of a leaf's m features their Shapley values in a leaf of this value."""
    share, passes, product = factors.share, factors.passes, factors.coefficients
    product[0] = 1.0
    for j in range(m):  # times (share + passes x)
        product[j + 1] = 0.0
        for k in range(j + 1, 0, -1):
            product[k] = product[k] * share[j] + (product[k - 1] if passes[j] else 0.0)
        product[0] *= share[j]
    for j in range(m):
        total, chance, others = 0.0, 1.0 / m, 0.0
        for k in range(m - 1, -1, -1):  # chance that just k others are known before: k! (m - 1 - k)! / m!
            others = product[k + 1] - share[j] * others if passes[j] else product[k] / share[j]
            total += chance * others  # others: the coefficient of x**k in the product without feature j
            chance *= (m - k) / k if k > 0 else 0.0
        parts[factors.feature[j]] += value * ((1.0 if passes[j] else 0.0) - share[j]) * total


@kernel
def _attribute(x: Float64Array, paths: _Paths, nodes: _Nodes, parts: Float64Array) -> None:
    longest = 0
    for leaf in range(len(paths.leaf)):
        longest = max(longest, paths.ends[leaf + 1] - paths.ends[leaf])
    factors = _Factors(
        np.empty(longest, np.int64), np.empty(longest), np.empty(longest, np.bool_), np.empty(longest + 1)
    )
    for i in range(len(x)):
        for leaf in range(len(paths.leaf)):
            m, reached = 0, 1.0  # features so far, share of the training rows that come this far
            for place in range(paths.ends[leaf], paths.ends[leaf + 1]):
                node, side = paths.above[place], paths.went_left[place]
                feature = np.int64(nodes.feature[node])
                ratio = nodes.rows[np.int64(nodes.left[node]) + (0 if side else 1)] / nodes.rows[node]
                goes = _goes_left(nodes, node, x[i, feature])
                j = 0
                while j < m and factors.feature[j] != feature:
                    j += 1
                if j == m:
                    factors.feature[m], factors.share[m], factors.passes[m] = feature, 1.0, True
                    m += 1
                factors.share[j] *= ratio
                factors.passes[j] = factors.passes[j] and goes == side
                reached *= ratio
            own, value = parts[i, paths.output[leaf]], nodes.value[paths.leaf[leaf]]
            own[len(own) - 1] += value * reached
            if m > 0:
                _add_shapley(value, m, factors, own)
