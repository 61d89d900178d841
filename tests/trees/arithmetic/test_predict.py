from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.trees.arithmetic.growing import edges_of, first_gradients, grow, rows, steps
from werkbund.core import DataError, ModelError
from werkbund.trees.arithmetic import Ensemble, Ground, GrowthRules, logits, scores
from werkbund.trees.arithmetic.predict import logits_of_shares

X, SCORE = rows(300)
PAIRS, FIXED = first_gradients((SCORE > 1).astype(float))
GROUND = Ground(edges_of(X), FIXED, GrowthRules(max_depth=4, min_child_rows=5, node_features=0.5))
TREES = grow(GROUND, X, PAIRS, 1)[0].joined(grow(GROUND, X, PAIRS, 2)[0]).joined(grow(GROUND, X, PAIRS, 3)[0])
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
    each = [scores(Ensemble(np.zeros(1), TREES.some([tree])), OTHER)[:, 0] for tree in range(3)]
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
