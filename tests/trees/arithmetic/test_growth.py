from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.trees.arithmetic.growing import edges_of, first_gradients, grow, rows, steps
from werkbund.core import ConfigError
from werkbund.trees.arithmetic import BinEdges, GrowthBasis, GrowthRules, Trees, advance, begin
from werkbund.trees.arithmetic.ensemble import LEAF

X, SCORE = rows(400)
Y = (SCORE > 1).astype(float)
PAIRS, FIXED = first_gradients(Y)
EDGES = edges_of(X)


def _ground(**rules: Any) -> GrowthBasis:
    usual: dict[str, Any] = {"max_depth": 4, "min_child_rows": 5, "learning_rate": 1.0}
    return GrowthBasis(EDGES, FIXED, GrowthRules(**{**usual, **rules}))


def _leaves(trees: Trees) -> Any:
    return np.array([steps(trees, 0, row)[-1] for row in X])


def _depth(trees: Trees) -> int:
    return max(len(steps(trees, 0, row)) for row in X) - 1


def test_a_leafs_value_is_the_newton_step_of_its_rows() -> None:
    trees, _ = grow(_ground(l2=2.0, learning_rate=0.3), X, PAIRS)
    leaves = _leaves(trees)
    for leaf in np.unique(leaves):
        own = PAIRS[leaves == leaf].sum(axis=0, dtype=np.int64)
        step = -0.3 * (own[0] / FIXED.gradient_scale) / (own[1] / FIXED.hessian_scale + 2.0)
        assert trees.value[leaf] == pytest.approx(step, rel=1e-12)
        assert trees.rows[leaf] == (leaves == leaf).sum()


def test_histograms_by_subtraction_lead_to_the_same_tree_as_all_of_them() -> None:
    trees, asked = grow(_ground(), X, PAIRS)
    full, asked_all = grow(_ground(node_features=0.9999), X, PAIRS)
    assert full.digest == trees.digest
    assert sum(len(blocks.nodes) for blocks in asked) < sum(len(blocks.nodes) for blocks in asked_all)


def test_the_smaller_sibling_is_asked_and_a_level_is_one_question() -> None:
    trees, asked = grow(_ground(), X, PAIRS)
    assert len(asked) <= 4
    for blocks in asked[1:]:
        for node in blocks.nodes.tolist():
            left = node if node in trees.left else node - 1
            assert trees.rows[node] == trees.rows[[left, left + 1]].min()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_tree_is_no_deeper_than_allowed(depth: int) -> None:
    trees, asked = grow(_ground(max_depth=depth), X, PAIRS)
    assert _depth(trees) == depth == len(asked)


@pytest.mark.parametrize("most", [2, 3, 6])
def test_of_a_level_the_best_splits_are_made_until_the_leaves_are_full(most: int) -> None:
    trees, _ = grow(_ground(max_leaves=most), X, PAIRS)
    assert trees.num_leaves == most
    free, _ = grow(_ground(), X, PAIRS)
    gains = np.sort(free.gain[1:3])[::-1] if most == 3 else None
    if gains is not None:
        assert trees.gain[1:3].max() == gains[0]


def test_no_leaf_has_fewer_rows_or_less_weight_than_allowed() -> None:
    trees, _ = grow(_ground(min_child_rows=30, min_child_weight=9.0), X, PAIRS)
    leaves = _leaves(trees)
    for leaf in np.unique(leaves):
        assert (leaves == leaf).sum() >= 30
        assert PAIRS[leaves == leaf, 1].sum(dtype=np.int64) / FIXED.hessian_scale >= 9.0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_monotone_tree_rises_or_falls(sign: int) -> None:
    trees, _ = grow(_ground(monotone=(sign, 0, 0, 0), min_child_rows=2, max_depth=5), X, PAIRS)
    assert 0 in trees.feature or sign < 0
    for row in X[:40]:
        line = np.tile(row, (50, 1))
        line[:, 0] = np.linspace(-3, 3, 50)
        values = np.array([trees.value[steps(trees, 0, one)[-1]] for one in line])
        assert (sign * np.diff(values) >= 0).all()


def test_a_tree_asks_no_other_features_than_its_own() -> None:
    used = set()
    for key in range(12):
        trees, asked = grow(_ground(tree_features=0.5, max_depth=3), X, PAIRS, key)
        own = set(asked[0].features[0].tolist())
        assert len(own) == 2
        assert set(trees.feature.tolist()) - {LEAF} <= own
        used |= own
    assert used == {0, 1, 2, 3}


def test_nodes_draw_their_own_features() -> None:
    _, asked = grow(_ground(node_features=0.5), X, PAIRS)
    every = np.concatenate([blocks.features for blocks in asked])
    assert every.shape[1] == 2
    assert len(np.unique(every, axis=0)) > 1


def test_a_tree_grows_alike_whoever_grows_beside_it() -> None:
    from tests.trees.arithmetic.growing import counted

    basis = _ground(node_features=0.5, random_cuts=True, max_depth=3)
    growth = begin(basis, [0, 0, 0], np.array([1, 2, 3], np.uint64))
    while not growth.finished:
        growth = advance(basis, growth, counted(X, PAIRS, growth.trees, growth.asked, EDGES))
    for tree in range(3):
        alone, _ = grow(basis, X, PAIRS, tree + 1)
        assert growth.trees.take([tree]).digest == alone.digest


def test_nothing_to_divide_leaves_a_root() -> None:
    trees, asked = grow(_ground(min_child_rows=201), X, PAIRS)
    assert (trees.num_nodes, len(asked)) == (1, 1)
    assert trees.rows[0] == 400


@pytest.mark.parametrize(
    ("monotone", "message"), [((1, 0), "4 entries"), ((0, 0, 0, 1), "categorical"), ((2, 0, 0, 0), "-1, 0 or 1")]
)
def test_a_constraint_that_cannot_be_raises(monotone: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _ground(monotone=monotone)


@pytest.mark.parametrize(
    "rules",
    [
        {"learning_rate": 0.0}, {"l2": -1.0}, {"min_child_rows": 0}, {"max_depth": 0}, {"max_leaves": 1},
        {"row_share": 0.0}, {"tree_features": 1.5}, {"min_gain": float("nan")},
    ],
)  # fmt: skip
def test_rules_out_of_range_raise(rules: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        GrowthRules(**rules)


def test_rows_without_any_number_are_divided_by_their_missing_values() -> None:
    x = np.where(np.arange(40)[:, None] % 2, np.nan, 1.0)
    pairs, fixed = first_gradients((np.arange(40) % 2).astype(float))
    basis = GrowthBasis(BinEdges.build([[]]), fixed, GrowthRules(min_child_rows=5, max_depth=2))
    trees, _ = grow(basis, x, pairs)
    assert trees.threshold[0] == np.inf
    assert not trees.missing_left[0]
    assert trees.num_leaves == 2
