"""Counts of scores leave in bins of enough rows, and say nothing finer beside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from werkbund.core.arrays import AnyArray
from werkbund.core.edges import BINS_PER_LOGIT
from werkbund.evaluation import Costs, Counts, Threshold, metrics
from werkbund.learner.counts import bins_of, count_scores, edge
from werkbund.plant.bins import in_wide_bins


def _counts(logits: AnyArray, labels: AnyArray, modes: AnyArray | None = None) -> dict[str, AnyArray]:
    modes = np.zeros((len(labels), 0), np.bool_) if modes is None else modes
    return count_scores(np.asarray(logits, np.float64), labels, modes, np.array([0, len(labels)]))


def _drawn(rows: int, seed: int = 0) -> tuple[AnyArray, AnyArray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.1).astype(np.int64)
    return rng.normal(-2.0 + 3.0 * labels, 2.0), labels


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 300),
    least=st.integers(2, 60),
    spread=st.sampled_from([0.0, 0.01, 1.0, 30.0, 1e4]),
    seed=st.integers(0, 99),
)
def test_no_bin_holds_fewer_rows_and_none_is_lost(rows: int, least: int, spread: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.2).astype(np.int64)
    modes = (rng.random((rows, 2)) < 0.5) & (labels[:, None] > 0)
    told = in_wide_bins(_counts(rng.normal(0.0, spread, rows), labels, modes), least)
    held = told["histogram"][0].sum(axis=0)
    assert held[held > 0].min() >= min(least, rows)
    np.testing.assert_array_equal(told["histogram"][0].sum(axis=1), [rows - labels.sum(), labels.sum()])
    np.testing.assert_array_equal(told["modes"][0].sum(axis=1), modes.sum(axis=0))
    deciles = told["calibration"][0, :, 0]
    assert deciles[deciles > 0].min() >= min(least, rows)


def test_sums_are_those_of_rows_at_their_bins_alone() -> None:
    logits, labels = _drawn(200)
    told = in_wide_bins(_counts(logits, labels), 20)
    places = [(label, place) for label in (0, 1) for place in np.flatnonzero(told["histogram"][0, label])]
    rows = np.concatenate([np.full(told["histogram"][0, label, place], edge(place)) for label, place in places])
    classes = np.concatenate([np.full(told["histogram"][0, label, place], label) for label, place in places])
    again = _counts(rows + 0.5 / BINS_PER_LOGIT, classes)
    for name in ("histogram", "brier", "log_loss", "calibration"):
        np.testing.assert_allclose(told[name], again[name], rtol=1e-12, err_msg=name)


def test_one_rows_score_shows_in_nothing() -> None:
    """All rows but one have a score without error: their sums are that one row's, and must not tell it."""
    labels = np.zeros(200, np.int64)
    told = []
    for score in np.linspace(0.5, 12.0, 40):
        logits = np.full(200, -15.0)
        logits[7] = score
        told.append(in_wide_bins(_counts(logits, labels), 20))
    for name in told[0]:
        for other in told[1:]:
            np.testing.assert_array_equal(other[name], told[0][name], err_msg=name)


@pytest.mark.parametrize(("rows", "off"), [(1_000, 0.05), (5_000, 0.01)])
def test_of_many_rows_the_figures_stay_near_the_exact_ones(rows: int, off: float) -> None:
    logits, labels = _drawn(rows, 3)
    told = in_wide_bins(_counts(logits, labels), 20)
    counts = Counts.from_arrays(told)
    figures = metrics(counts, Threshold.nearest(0.5), Costs(5.0, 1.0), ())
    assert figures.average_precision == pytest.approx(average_precision_score(labels, logits), abs=off)


def test_bins_that_hold_enough_stay_where_they_are() -> None:
    logits = np.repeat([-3.0, 0.0, 2.0], 30)
    told = in_wide_bins(_counts(logits, np.tile([0, 1], 45)), 20)
    np.testing.assert_array_equal(np.flatnonzero(told["histogram"][0].sum(axis=0)), np.unique(bins_of(logits)))


def test_no_rows_are_in_no_bin() -> None:
    nothing = _counts(np.empty(0), np.empty(0, np.int64))
    for name, array in in_wide_bins(nothing, 20).items():
        np.testing.assert_array_equal(array, nothing[name], err_msg=name)
