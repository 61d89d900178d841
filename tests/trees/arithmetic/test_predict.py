"""Scores against a walk in plain Python; Shapley values by paths against their definition: all subsets of features."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pytest

from tests.trees.arithmetic.growing import edges_of, first_gradients, goes_left, grow, rows, steps
from werkbund.core import DataError, ModelError
from werkbund.trees.arithmetic import Ensemble, GrowthBasis, GrowthRules, Trees, contributions, logits, scores
from werkbund.trees.arithmetic.ensemble import LEAF
from werkbund.trees.arithmetic.predict import logits_of_shares

X, SCORE = rows(300)
PAIRS, FIXED = first_gradients((SCORE > 1).astype(float))
BASIS = GrowthBasis(edges_of(X), FIXED, GrowthRules(max_depth=4, min_child_rows=5, node_features=0.5))
TREES = grow(BASIS, X, PAIRS, 1)[0].joined(grow(BASIS, X, PAIRS, 2)[0]).joined(grow(BASIS, X, PAIRS, 3)[0])
ENSEMBLE = Ensemble(np.array([0.25]), TREES)
OTHER, _ = rows(700, 9, 0.3)


def test_a_score_is_the_base_and_the_leaves_of_all_trees() -> None:
    found = scores(ENSEMBLE, OTHER)[:, 0]
    for row, score in zip(OTHER, found, strict=True):
        assert score == 0.25 + sum(TREES.value[steps(TREES, tree, row)[-1]] for tree in range(3))


def test_a_score_does_not_depend_on_the_rows_beside_it() -> None:
    alone = np.concatenate([scores(ENSEMBLE, row[None]) for row in OTHER])
    assert (scores(ENSEMBLE, OTHER) == alone).all()


@pytest.mark.parametrize("value", [-1.0, 0.5, 5.0, 254.0, 255.0, 1e12, np.inf, np.nan])
def test_a_level_that_was_not_agreed_goes_where_missing_values_go(value: float) -> None:
    odd, missing = OTHER.copy(), OTHER.copy()
    odd[:, 3], missing[:, 3] = value, np.nan
    assert (TREES.subset >= 0).any()
    assert (scores(ENSEMBLE, odd) == scores(ENSEMBLE, missing)).all()


def test_a_forest_is_the_mean_of_its_trees() -> None:
    two = Ensemble(np.zeros(2), replace(TREES.joined(TREES), outputs=np.array([0, 0, 0, 1, 1, 1], np.int32)), True)
    each = [scores(Ensemble(np.zeros(1), TREES.take([tree])), OTHER)[:, 0] for tree in range(3)]
    np.testing.assert_allclose(scores(two, OTHER), np.mean(each, axis=0)[:, None].repeat(2, 1), rtol=1e-12)


def test_logits_are_the_score_or_those_of_a_share() -> None:
    assert (logits(ENSEMBLE, OTHER) == scores(ENSEMBLE, OTHER)[:, 0]).all()
    assert logits_of_shares(np.array([0.0, 0.5, 1.0, 1.0 + 1e-15])).tolist() == [-np.inf, 0.0, np.inf, np.inf]


def test_rows_that_lack_a_feature_raise() -> None:
    with pytest.raises(DataError, match="as these trees ask"):
        scores(ENSEMBLE, OTHER[:, :1])


def test_a_tree_for_a_score_that_there_is_not_raises() -> None:
    with pytest.raises(ModelError, match="adds to score 4"):
        scores(Ensemble(np.zeros(1), replace(TREES, outputs=np.full(3, 4, np.int32))), OTHER)


DEEPER = GrowthBasis(edges_of(X), FIXED, GrowthRules(max_depth=5, min_child_rows=4, node_features=0.75))
EXPLAINED = grow(DEEPER, X, PAIRS, 1)[0].joined(grow(DEEPER, X, PAIRS, 2)[0])


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
    parts = contributions(Ensemble(np.array([0.5]), EXPLAINED), X[:25])
    for row, own in zip(X[:25], parts[:, 0], strict=True):
        for feature in range(4):
            right = sum(_shapley(EXPLAINED, tree, row, feature) for tree in range(2))
            assert own[feature] == pytest.approx(right, abs=1e-12)
        nothing = sum(_expected(EXPLAINED, int(root), row, frozenset()) for root in EXPLAINED.roots)
        assert own[4] == pytest.approx(0.5 + nothing, abs=1e-12)


@pytest.mark.parametrize("mean", [False, True])
def test_parts_add_up_to_the_score(mean: bool) -> None:
    ensemble = Ensemble(np.array([0.5]), EXPLAINED, mean)
    fresh, _ = rows(200, 5, 0.4)
    np.testing.assert_allclose(contributions(ensemble, fresh).sum(axis=2), scores(ensemble, fresh), atol=1e-12)


def test_without_a_tree_all_is_expected() -> None:
    parts = contributions(Ensemble(np.array([0.5, -1.0]), Trees.none()), X[:2])
    assert parts[:, :, -1].tolist() == [[0.5, -1.0]] * 2
    assert not parts[:, :, :-1].any()


def test_rows_that_lack_a_feature_have_no_parts() -> None:
    with pytest.raises(DataError, match="as these trees ask"):
        contributions(Ensemble(np.zeros(1), EXPLAINED), X[:, :1])


def test_a_path_may_ask_any_number_of_features() -> None:
    splits = 70  # one behind the other, each of a feature of its own
    nodes = np.arange(2 * splits + 1)
    inner = (nodes % 2 == 0) & (nodes < 2 * splits)
    chain = replace(
        Trees.stumps([0], len(nodes)),
        roots=np.zeros(1, np.int32),
        outputs=np.zeros(1, np.int32),
        feature=np.where(inner, nodes // 2, LEAF).astype(np.int32),
        left=np.where(inner, nodes + 1, -1).astype(np.int32),
        value=np.where(nodes == 2 * splits, 1.0, 0.0),
        rows=np.where(nodes % 2 == 0, splits + 1 - nodes // 2, 1),
    )
    parts = contributions(Ensemble(np.zeros(1), chain), np.ones((1, splits)))
    assert np.isfinite(parts).all()
    assert parts[0, 0, -1] == pytest.approx(1 / (splits + 1))
