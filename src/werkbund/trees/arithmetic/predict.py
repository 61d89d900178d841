"""From rows to scores: every row walks down every tree."""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, Int32Array, UInt8Array
from werkbund.core.errors import DataError, ModelError
from werkbund.trees.arithmetic.ensemble import Ensemble, Trees
from werkbund.trees.arithmetic.jit import kernel, part

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
    x = np.ascontiguousarray(features, np.float64)
    needed = int(trees.feature.max(initial=-1)) + 1
    if x.ndim != 2 or x.shape[1] < needed:
        raise DataError(f"rows must have at least {needed} features, as these trees ask, got the shape {x.shape}")
    if trees.outputs.max(initial=0) >= num_outputs:
        raise ModelError(f"trees must add to {num_outputs} scores, got one that adds to score {trees.outputs.max()}")
    sums = np.zeros((len(x), num_outputs)) if start is None else start.copy()
    _walk(
        x, trees.roots, trees.outputs, trees.feature, trees.threshold, trees.missing_left, trees.subset, trees.left,
        trees.value, trees.subsets, sums,
    )  # fmt: skip
    return sums


def logits(ensemble: Ensemble, features: Float64Array) -> Float64Array:
    """Return log(p / (1 - p)) of each row, where the one score is a logit or, of a forest, a share: (rows,)."""
    score = scores(ensemble, features)[:, 0]
    return logits_of_shares(score) if ensemble.mean else score


def logits_of_shares(shares: Float64Array) -> Float64Array:
    """Return log(p / (1 - p)), infinite where a share is 0 or 1, or beyond by rounding."""
    p = np.clip(shares, 0.0, 1.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(p) - np.log1p(-p))


@part
def _goes_left(x: float, threshold: float, missing_left: bool, subset: int, subsets: UInt8Array) -> bool:
    if subset < 0:
        return missing_left if x != x else x <= threshold
    if not (x >= 0 and x < 255) or x != np.floor(x):
        return missing_left
    level = int(x)
    return bool((subsets[subset, level >> 3] >> np.uint8(level & 7)) & 1)


@kernel
def _walk(
    x: Float64Array, roots: Int32Array, outputs: Int32Array, feature: Int32Array, threshold: Float64Array,
    missing_left: BoolArray, subset: Int32Array, left: Int32Array, value: Float64Array, subsets: UInt8Array,
    sums: Float64Array,
) -> None:  # fmt: skip
    for begin in range(0, len(x), _BLOCK):
        end = min(begin + _BLOCK, len(x))
        for tree in range(len(roots)):
            for i in range(begin, end):
                node = np.int64(roots[tree])
                while feature[node] >= 0:
                    f = feature[node]
                    goes = _goes_left(x[i, f], threshold[node], missing_left[node], subset[node], subsets)
                    node = np.int64(left[node]) + (0 if goes else 1)
                sums[i, outputs[tree]] += value[node]
