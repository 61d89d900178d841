"""Weights by the server's validation: golden numbers, and who is dropped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.aggregation.golden import TWO_OUTLIERS, moved_by
from werkbund.aggregation import Closing, ValidationWeights
from werkbund.aggregation.judged import weights_by_score
from werkbund.core import ConfigError, FederationError
from werkbund.core.arrays import Float32Array

RULE = ValidationWeights(momentum=0.0)


def test_weights_are_the_golden_ones() -> None:
    np.testing.assert_allclose(weights_by_score(np.array([0.80, 0.78, 0.75, 0.79, 0.30])), (0.4375, *[0.1875] * 3, 0))
    np.testing.assert_allclose(weights_by_score(np.array([0.80, 0.78, 0.75, 0.79, 0.74])), (0.4, *[0.15] * 4))


def test_scores_that_differ_by_less_than_their_gaps_can_hold_have_their_ranks() -> None:
    weights = weights_by_score(np.array([-1e-92, 0, 0, 0, 0, 1.0]))
    np.testing.assert_allclose(weights, (0.125, 1 / 6, *[0.125] * 3, 1 / 3))


def test_ranks_go_by_score_and_then_by_the_order_of_clients() -> None:
    assert weights_by_score(np.array([0.1, 0.3, 0.3, 0.2])).argmax() == 1
    np.testing.assert_allclose(weights_by_score(np.full(5, 0.5)), (0.4, *[0.15] * 4))


@settings(max_examples=50)
@given(st.lists(st.floats(-1e6, 1.0) | st.just(float("nan")) | st.just(float("-inf")), min_size=1, max_size=12))
def test_they_sum_to_one_and_a_better_score_never_weighs_less(scores: list[float]) -> None:
    given_scores = np.array(scores)
    if not np.isfinite(given_scores).any():
        with pytest.raises(FederationError, match="must have a finite score"):
            weights_by_score(given_scores)
        return
    weights = weights_by_score(given_scores)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights[~np.isfinite(given_scores)] == 0).all()
    best_first = np.argsort(-np.where(np.isfinite(given_scores), given_scores, -np.inf), kind="stable")
    assert (np.diff(weights[best_first]) <= 1e-12).all()


def test_updates_are_judged_with_the_weights_that_the_round_began_with() -> None:
    start, seen = np.array([5.0, 0.0, 0.0], np.float32), list[Float32Array]()

    def score(weights: Float32Array) -> float:
        seen.append(weights.copy())
        return -float(np.linalg.norm(weights - start - TWO_OUTLIERS[0]))

    rows = TWO_OUTLIERS.astype(np.float32)
    folded = RULE.fold(RULE.begin(3), {"update": rows}, np.ones(7))
    moved, _ = RULE.finish(folded, start, RULE.init(3), Closing(score=score))
    np.testing.assert_allclose(np.stack(seen), start + rows)
    assert np.linalg.norm(moved - start - TWO_OUTLIERS[0]) < 0.2


def test_without_rows_of_the_server_it_refuses() -> None:
    with pytest.raises(ConfigError, match="'validation-weights' judges updates on rows of the server, which has none"):
        moved_by(RULE, TWO_OUTLIERS)
