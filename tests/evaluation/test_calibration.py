"""Calibration compares what was predicted with what came, tenth by tenth of the probability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from werkbund.evaluation import Counts, expected_calibration_error, reliability
from werkbund.learner.counts import count_scores


@pytest.mark.parametrize("seed", range(5))
def test_reliability_is_that_of_scikit_learn(scored: Callable[..., Any], seed: int) -> None:
    rows = scored(seed, rate=0.4)
    probabilities = 1 / (1 + np.exp(-rows.logits))
    observed, predicted = calibration_curve(rows.labels, probabilities, n_bins=10)
    points = reliability(rows.counts.calibration)
    np.testing.assert_allclose(points.predicted[points.rows > 0], predicted, atol=2.0**-30)  # rounded so, row by row
    np.testing.assert_allclose(points.observed[points.rows > 0], observed, rtol=1e-12)


def test_error_is_the_mean_gap_weighted_by_rows(scored: Callable[..., Any]) -> None:
    counts = scored(2).counts
    points = reliability(counts.calibration)
    gap = np.nansum(points.rows * np.abs(points.predicted - points.observed)) / counts.rows
    assert expected_calibration_error(counts) == pytest.approx(gap, rel=1e-12)


@pytest.mark.parametrize(("label", "error"), [(1.0, 0.0), (0.0, 1.0)])
def test_sure_scores_err_not_at_all_or_wholly(label: float, error: float) -> None:
    arrays = count_scores(np.full(3, 40.0), np.full(3, label), np.zeros((3, 0), bool), np.array([0, 3]))
    assert expected_calibration_error(Counts.from_arrays(arrays)) == pytest.approx(error, abs=1e-12)


def test_no_row_leaves_everything_undefined() -> None:
    assert np.isnan(expected_calibration_error(Counts.empty()))
    points = reliability(Counts.empty().calibration)
    assert np.isnan(points.predicted).all()
    assert np.isnan(points.observed).all()
