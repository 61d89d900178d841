"""Trees for tests: grown on small generated rows, and walked in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.trees.arithmetic import BinEdges, GrowthBasis, Objective, Trees, advance, begin
from werkbund.trees.arithmetic.ensemble import LEAF

LEVELS = 5


def rows(n: int, seed: int = 0, missing: float = 0.1) -> tuple[Float64Array, Float64Array]:
    """Draw rows of three numbers and a category, some values missing, and a score that they explain in part."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    x[:, 1] = np.round(x[:, 1], 1)
    x[:, 3] = rng.integers(0, LEVELS, n)
    score = x[:, 0] * 2 + np.sin(3 * x[:, 1]) + np.array([0.0, 2.0, 0.5, -1.0, 1.0])[x[:, 3].astype(int)]
    score += rng.normal(size=n) * 0.5
    x[rng.random(x.shape) < missing] = np.nan
    return x, score


def edges_of(x: Float64Array, num_bins: int = 32) -> BinEdges:
    """Return edges at quantiles; the last feature is a category."""
    ranks = np.linspace(0, 1, num_bins + 1)[1:-1]
    own = [np.unique(np.nanquantile(x[:, f], ranks)) for f in range(x.shape[1] - 1)]
    return BinEdges.build([*own, []], [0] * len(own) + [LEVELS])


def counted(x: Float64Array, pairs: Any, trees: Trees, blocks: Any, edges: BinEdges) -> Int64Array:
    """Return histograms the slow way: each row walks to its node and is added."""
    words, codes = np.zeros((blocks.num_cells, 3), np.int64), edges.encode(x)
    path = [set(steps(trees, tree, row)) for row in x for tree in range(len(trees))]
    for i, node in enumerate(blocks.nodes.tolist()):
        for r in range(len(x)):
            if any(node in path[r * len(trees) + tree] for tree in range(len(trees))):
                for f, start in zip(blocks.features[i].tolist(), blocks.starts[i].tolist(), strict=True):
                    words[start + int(codes[r, f])] += [*pairs[r], 1]
    return words


def steps(trees: Trees, tree: int, row: Float64Array) -> list[int]:
    """Return the nodes that a row passes in a tree."""
    node = int(trees.roots[tree])
    passed = [node]
    while trees.feature[node] != LEAF:
        node = int(trees.left[node]) + (0 if goes_left(trees, node, row) else 1)
        passed.append(node)
    return passed


def goes_left(trees: Trees, node: int, row: Float64Array) -> bool:
    """Say where a row goes."""
    value = row[trees.feature[node]]
    if trees.subset[node] < 0:
        return bool(trees.missing_left[node]) if np.isnan(value) else bool(value <= trees.threshold[node])
    if not 0 <= value < 255 or value != int(value):
        return bool(trees.missing_left[node])
    return bool(np.unpackbits(trees.subsets[trees.subset[node]], bitorder="little")[int(value)])


def grow(basis: GrowthBasis, x: Float64Array, pairs: Any, key: int = 0) -> tuple[Trees, list[Any]]:
    """Grow one tree, histograms counted the slow way; return it and what was asked on the way."""
    growth, asked = begin(basis, [0], np.array([key], np.uint64)), []
    while not growth.finished:
        asked.append(growth.asked)
        growth = advance(basis, growth, counted(x, pairs, growth.trees, growth.asked, basis.edges))
    return growth.trees, asked


def first_gradients(y: Float64Array) -> tuple[Any, Any]:
    """Return the pairs of the log loss at score 0, and their scales."""
    objective = Objective("logistic")
    fixed = objective.fixed_point(len(y))
    return objective.gradients(np.zeros((len(y), 1)), np.zeros(1), 1.0, y, fixed)[0], fixed
