"""Metrics of the ranking are those of scikit-learn on scores rounded down to their bins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from werkbund.core.edges import BINS_PER_LOGIT, NUM_BINS
from werkbund.evaluation import (
    Counts,
    average_precision,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)
from werkbund.learner.counts import bins_of, count_scores


def counted(logits: Any, labels: Any) -> Counts:
    modes, offsets = np.zeros((len(labels), 0), bool), np.array([0, len(labels)])
    return Counts.from_arrays(count_scores(np.asarray(logits), np.asarray(labels), modes, offsets))


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(-20, 20)), min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_ranking_metrics_equal_scikit_learn_on_binned_scores(rows: list[tuple[int, float]]) -> None:
    labels, logits = (np.array(column) for column in zip(*rows, strict=True))
    counts = counted(logits, labels)
    if labels.any():
        expected = oracle.average_precision_score(labels, bins_of(logits))
        assert average_precision(counts) == pytest.approx(expected, rel=1e-12)
    if labels.any() and not labels.all():
        assert roc_auc(counts) == pytest.approx(oracle.roc_auc_score(labels, bins_of(logits)), rel=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_ranking_metrics_equal_scikit_learn_on_scores_of_a_model(scored: Callable[..., Any], seed: int) -> None:
    rows = scored(seed, rows=2000, rate=0.03)
    expected = oracle.average_precision_score(rows.labels, rows.bins)
    assert average_precision(rows.counts) == pytest.approx(expected, rel=1e-12)
    assert roc_auc(rows.counts) == pytest.approx(oracle.roc_auc_score(rows.labels, rows.bins), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_scores_on_bin_edges_lose_nothing_by_binning(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.random(500) < 0.1
    logits = rng.integers(-200, 200, 500) / BINS_PER_LOGIT + labels
    expected = oracle.average_precision_score(labels, logits)
    assert average_precision(counted(logits, labels)) == pytest.approx(expected, rel=1e-12)


def test_average_precision_without_positive_is_undefined() -> None:
    assert np.isnan(average_precision(counted([0.1, 0.2], [0, 0])))
    assert np.isnan(average_precision(Counts.empty()))


def test_average_precision_without_negative_is_1() -> None:
    assert average_precision(counted([0.1, 0.2], [1, 1])) == 1.0


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_roc_auc_of_one_label_alone_is_undefined(labels: list[int]) -> None:
    assert np.isnan(roc_auc(counted([0.1, 0.2], labels)))
    assert np.isnan(roc_auc(Counts.empty()))


def test_roc_auc_of_many_rows_does_not_overflow() -> None:
    histogram = np.zeros((2, NUM_BINS), np.int64)
    histogram[:, 500] = 2**40
    assert roc_auc(Counts(histogram, histogram[:0], 0.0, 0.0, np.zeros((10, 3)))) == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_precision_recall_curve_is_that_of_scikit_learn(scored: Callable[..., Any], seed: int) -> None:
    rows = scored(seed)
    curve = precision_recall_curve(rows.counts.histogram)
    precision, recall, bins = oracle.precision_recall_curve(rows.labels, rows.bins)
    np.testing.assert_array_equal(curve.bins, bins[::-1])
    np.testing.assert_allclose(curve.x, recall[-2::-1])  # without the point that scikit-learn adds at recall 0
    np.testing.assert_allclose(curve.y, precision[-2::-1])


@pytest.mark.parametrize("seed", range(5))
def test_roc_curve_is_that_of_scikit_learn(scored: Callable[..., Any], seed: int) -> None:
    rows = scored(seed)
    curve = roc_curve(rows.counts.histogram)
    false_rate, true_rate, bins = oracle.roc_curve(rows.labels, rows.bins, drop_intermediate=False)
    np.testing.assert_array_equal(curve.bins, bins[1:])  # without the point that scikit-learn adds at (0, 0)
    np.testing.assert_allclose(curve.x, false_rate[1:])
    np.testing.assert_allclose(curve.y, true_rate[1:])


@pytest.mark.parametrize("curve", [precision_recall_curve, roc_curve])
def test_curve_without_positives_has_no_point(curve: Callable[[Any], Any]) -> None:
    for counts in (Counts.empty(), counted([0.3, 0.1], [0, 0])):
        points = curve(counts.histogram)
        assert len(points.bins) == len(points.x) == len(points.y) == 0
