"""Shapley values by paths against their definition: all subsets of features, one after the other."""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pytest

from tests.trees.arithmetic.growing import edges_of, first_gradients, goes_left, grow, rows
from werkbund.core import DataError
from werkbund.trees.arithmetic import Ensemble, Ground, GrowthRules, Trees, contributions, scores
from werkbund.trees.arithmetic.ensemble import LEAF

X, SCORE = rows(300)
PAIRS, FIXED = first_gradients((SCORE > 1).astype(float))
GROUND = Ground(edges_of(X), FIXED, GrowthRules(max_depth=5, min_child_rows=4, node_features=0.75))
TREES = grow(GROUND, X, PAIRS, 1)[0].joined(grow(GROUND, X, PAIRS, 2)[0])


def _expected(trees: Trees, node: int, row: Any, known: frozenset[int]) -> float:
    if trees.feature[node] == LEAF:
        return float(trees.value[node])
    left = int(trees.left[node])
    if int(trees.feature[node]) in known:
        return _expected(trees, left + (0 if goes_left(trees, node, row) else 1), row, known)
    parts = [trees.rows[child] * _expected(trees, child, row, known) for child in (left, left + 1)]
    return float(sum(parts) / trees.rows[node])


def _shapley(trees: Trees, tree: int, row: Any, feature: int) -> float:
    others, total = [f for f in range(4) if f != feature], 0.0
    root = int(trees.roots[tree])
    for size in range(4):
        chance = factorial(size) * factorial(3 - size) / factorial(4)
        for subset in combinations(others, size):
            known = frozenset(subset)
            total += chance * _expected(trees, root, row, known | {feature})
            total -= chance * _expected(trees, root, row, known)
    return total


def test_parts_are_the_shapley_values_of_the_definition() -> None:
    parts = contributions(Ensemble(np.array([0.5]), TREES), X[:25])
    for row, own in zip(X[:25], parts[:, 0], strict=True):
        for feature in range(4):
            right = sum(_shapley(TREES, tree, row, feature) for tree in range(2))
            assert own[feature] == pytest.approx(right, abs=1e-12)
        nothing = sum(_expected(TREES, int(root), row, frozenset()) for root in TREES.roots)
        assert own[4] == pytest.approx(0.5 + nothing, abs=1e-12)


@pytest.mark.parametrize("mean", [False, True])
def test_parts_add_up_to_the_score(mean: bool) -> None:
    ensemble = Ensemble(np.array([0.5]), TREES, mean)
    other, _ = rows(200, 5, 0.4)
    np.testing.assert_allclose(contributions(ensemble, other).sum(axis=2), scores(ensemble, other), atol=1e-12)


def test_without_a_tree_all_is_expected() -> None:
    parts = contributions(Ensemble(np.array([0.5, -1.0]), Trees.none()), X[:2])
    assert parts[:, :, -1].tolist() == [[0.5, -1.0]] * 2
    assert not parts[:, :, :-1].any()


def test_rows_that_lack_a_feature_raise() -> None:
    with pytest.raises(DataError, match="as these trees ask"):
        contributions(Ensemble(np.zeros(1), TREES), X[:, :1])
