from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.trees.arithmetic.growing import edges_of, first_gradients, grow, rows
from werkbund.core import ModelError
from werkbund.trees.arithmetic import Ensemble, GrowthBasis, GrowthRules, Trees, importance
from werkbund.trees.arithmetic.ensemble import LEAF

X, SCORE = rows(300)
PAIRS, FIXED = first_gradients((SCORE > 1).astype(float))


@pytest.fixture(scope="module")
def trees() -> list[Trees]:
    grounds = [GrowthBasis(edges_of(X), FIXED, GrowthRules(max_depth=depth, min_child_rows=5)) for depth in (2, 4, 3)]
    return [grow(basis, X, PAIRS)[0] for basis in grounds]


def test_joined_trees_come_apart_again(trees: list[Trees]) -> None:
    both = trees[0].joined(trees[1]).joined(trees[2])
    assert len(both) == 3
    for number, own in enumerate(trees):
        assert both.take([number]).digest == own.digest
    assert both.first(2).digest == trees[0].joined(trees[1]).digest
    assert both.take([2, 0]).digest == trees[2].joined(trees[0]).digest


def test_every_bit_changes_the_digest(trees: list[Trees]) -> None:
    own = trees[0]
    value = own.value.copy()
    value[-1] = np.nextafter(value[-1], np.inf)
    assert replace(own, value=value).digest != own.digest
    assert replace(own, missing_left=~own.missing_left).digest != own.digest


def test_arrays_keep_every_bit(trees: list[Trees]) -> None:
    ensemble = Ensemble(np.array([0.1]), trees[0].joined(trees[1]), True)
    again = Ensemble.from_arrays(ensemble.to_arrays("e."), "e.")
    assert again.digest == ensemble.digest
    assert again.factor == 0.5


@pytest.mark.parametrize(
    "damage",
    [
        {"left": lambda a: a * 0},
        {"left": lambda a: a + 1000},
        {"feature": lambda a: a - 5},
        {"roots": lambda a: a - 1},
        {"outputs": lambda a: a - 1},
        {"subset": lambda a: a + 99},
        {"value": lambda a: a[:-1]},
        {"subsets": lambda a: a[:, :3]},
    ],
)
def test_damaged_trees_raise(damage: dict[str, Any], trees: list[Trees]) -> None:
    arrays = trees[1].to_arrays()
    arrays |= {name: change(arrays[name]) for name, change in damage.items()}
    with pytest.raises(ModelError):
        Trees.from_arrays(arrays)


def test_missing_arrays_are_named(trees: list[Trees]) -> None:
    arrays = trees[0].to_arrays()
    del arrays["gain"]
    with pytest.raises(ModelError, match="none named gain"):
        Trees.from_arrays(arrays)


def test_an_ensemble_needs_an_output_for_each_tree(trees: list[Trees]) -> None:
    arrays = Ensemble(np.zeros(1), replace(trees[0], outputs=np.array([1], np.int32))).to_arrays()
    with pytest.raises(ModelError, match="base"):
        Ensemble.from_arrays(arrays)


def test_importance_counts_splits_and_adds_gains(trees: list[Trees]) -> None:
    own = trees[1]
    found = importance(own, 4)
    for feature in range(4):
        mine = own.feature == feature
        assert found["splits"][feature] == mine.sum()
        assert found["gain"][feature] == pytest.approx(own.gain[mine].sum())
    assert found["splits"].sum() == (own.feature != LEAF).sum()
