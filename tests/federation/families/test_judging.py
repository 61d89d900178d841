"""The server's score of weights, against scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import d2_log_loss_score, r2_score

from werkbund.federation.families.judging import score_on
from werkbund.learner import TrainingPlan


@pytest.mark.parametrize("weight", [0.5, 1.0, 12.0])
def test_the_score_is_the_skill_by_the_loss_that_is_trained(weight: float, federation: Any) -> None:
    built = federation([60, 40], plan=TrainingPlan(positive_weight=weight))
    trainer, table = built.work.trainer, built.splits.validation
    score = score_on(trainer, (table.features, table.labels))
    assert score is not None
    weights = np.random.default_rng(0).normal(0.0, 0.5, len(built.state.weights)).astype(np.float32)
    probability = expit(trainer.score(weights, table.features).astype(np.float64))
    expected = d2_log_loss_score(table.labels, probability, sample_weight=np.where(table.labels > 0, weight, 1.0))
    assert score(weights) == pytest.approx(expected, abs=1e-6)


def test_rows_of_one_class_alone_judge_nothing(federation: Any) -> None:
    built = federation()
    table = built.splits.validation
    assert score_on(built.work.trainer, (table.features, np.zeros_like(table.labels))) is None


def test_the_score_of_a_number_is_the_variance_that_is_explained(federation: Any) -> None:
    built = federation([60, 40], plan=TrainingPlan(loss="squared"))
    trainer, table = built.work.trainer, built.splits.validation
    drawn = np.random.default_rng(1)
    risks = drawn.normal(size=len(table.labels)).astype(np.float32)
    score = score_on(trainer, (table.features, risks))
    assert score is not None
    weights = drawn.normal(0.0, 0.5, len(built.state.weights)).astype(np.float32)
    assert score(weights) == pytest.approx(r2_score(risks, trainer.score(weights, table.features)), abs=1e-5)
    assert score_on(trainer, (table.features, np.full_like(risks, 0.5))) is None
