"""What each feature adds to a row's score: exact Shapley values of a tree, by its paths.

A feature that is not known sends a row to both children, in proportion to the training rows that went there. For one
leaf whose path asks m features the game is a product: feature j gives o_j (1 if the row passes all its splits, else 0)
when it is known, and z_j (the share of rows that pass them) when not. Its Shapley values need the coefficients of
prod_j (z_j + o_j x) alone, and dividing out one factor leaves those of the others: quadratic in the depth of a leaf,
as Lundberg, Erion, Lee, "Consistent individualized feature attribution for tree ensembles", arXiv 1802.03888,
algorithm 2, of which this is the form without recursion.
"""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, Int32Array, Int64Array, UInt8Array
from werkbund.core.errors import DataError
from werkbund.trees.arithmetic.ensemble import Ensemble, Trees
from werkbund.trees.arithmetic.jit import kernel, part


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
    x, trees = np.ascontiguousarray(features, np.float64), ensemble.trees
    needed = int(trees.feature.max(initial=-1)) + 1
    if x.ndim != 2 or x.shape[1] < needed:
        raise DataError(f"rows must have at least {needed} features, as these trees ask, got the shape {x.shape}")
    parts = np.zeros((len(x), ensemble.num_outputs, x.shape[1] + 1))
    leaves, ends, nodes, lefts, outputs = _paths(trees)
    _attribute(
        x, leaves, ends, nodes, lefts, outputs, trees.feature, trees.threshold, trees.missing_left, trees.subset,
        trees.left, trees.value, trees.rows, trees.subsets, parts,
    )  # fmt: skip
    parts *= ensemble.factor
    parts[:, :, -1] += ensemble.base
    return parts


def _paths(trees: Trees) -> tuple[Int64Array, Int64Array, Int64Array, BoolArray, Int64Array]:
    """Return all leaves, and for each the nodes above it, whether it lies left of them, and its tree's output."""
    leaves: list[int] = []
    ends, nodes, lefts, outputs = [0], list[int](), list[bool](), list[int]()
    for root, output in zip(trees.roots.tolist(), trees.outputs.tolist(), strict=True):
        waiting: list[tuple[int, list[tuple[int, bool]]]] = [(root, [])]
        while waiting:
            node, above = waiting.pop()
            left = int(trees.left[node])
            if left >= 0:
                waiting += [(left + 1, [*above, (node, False)]), (left, [*above, (node, True)])]
                continue
            leaves.append(node)
            nodes += [parent for parent, _ in above]
            lefts += [side for _, side in above]
            ends.append(len(nodes))
            outputs.append(output)
    arrays = [np.array(values, np.int64) for values in (leaves, ends, nodes)]
    return arrays[0], arrays[1], arrays[2], np.array(lefts, np.bool_), np.array(outputs, np.int64)


@part
def _goes_left(x: float, threshold: float, missing_left: bool, subset: int, subsets: UInt8Array) -> bool:
    if subset < 0:
        return missing_left if x != x else x <= threshold
    if not (x >= 0 and x < 255) or x != np.floor(x):
        return missing_left
    level = int(x)
    return bool((subsets[subset, level >> 3] >> np.uint8(level & 7)) & 1)


@part
def _share(
    value: float, m: int, own: Int64Array, zero: Float64Array, one: BoolArray, poly: Float64Array, line: Float64Array
) -> None:
    """Give each of a leaf's m features its Shapley value."""
    poly[0] = 1.0
    for j in range(m):  # times (z + o x)
        poly[j + 1] = 0.0
        for k in range(j + 1, 0, -1):
            poly[k] = poly[k] * zero[j] + (poly[k - 1] if one[j] else 0.0)
        poly[0] *= zero[j]
    for j in range(m):
        total, chance, q = 0.0, 1.0 / m, 0.0
        for k in range(m - 1, -1, -1):  # chance of k others coming first: k! (m - 1 - k)! / m!
            q = poly[k + 1] - zero[j] * q if one[j] else poly[k] / zero[j]
            total += chance * q
            chance *= (m - k) / k if k > 0 else 0.0
        line[own[j]] += value * ((1.0 if one[j] else 0.0) - zero[j]) * total


@kernel
def _attribute(
    x: Float64Array, leaves: Int64Array, ends: Int64Array, nodes: Int64Array, lefts: BoolArray, outputs: Int64Array,
    feature: Int32Array, threshold: Float64Array, missing_left: BoolArray, subset: Int32Array, left: Int32Array,
    value: Float64Array, rows: Int64Array, subsets: UInt8Array, parts: Float64Array,
) -> None:  # fmt: skip
    own, zero, one = np.empty(64, np.int64), np.empty(64), np.empty(64, np.bool_)
    poly = np.empty(65)
    for i in range(len(x)):
        for leaf in range(len(leaves)):
            m, passed = 0, 1.0
            for place in range(ends[leaf], ends[leaf + 1]):
                node = nodes[place]
                f, side = np.int64(feature[node]), lefts[place]
                child = np.int64(left[node]) + (0 if side else 1)
                ratio = rows[child] / rows[node]
                goes = _goes_left(x[i, f], threshold[node], missing_left[node], subset[node], subsets)
                j = 0
                while j < m and own[j] != f:
                    j += 1
                if j == m:
                    own[m], zero[m], one[m] = f, 1.0, True
                    m += 1
                zero[j] *= ratio
                one[j] = one[j] and goes == side
                passed *= ratio
            line, worth = parts[i, outputs[leaf]], value[leaves[leaf]]
            line[len(line) - 1] += worth * passed
            if m > 0:
                _share(worth, m, own, zero, one, poly, line)
