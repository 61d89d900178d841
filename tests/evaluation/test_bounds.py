"""What bins allow of a figure holds the figure of the rows, whatever their order within bins."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from werkbund.core.arrays import AnyArray, Float64Array
from werkbund.core.edges import BINS_PER_LOGIT, NUM_BINS
from werkbund.evaluation import Counts, average_precision, average_precision_bounds, roc_auc, roc_auc_bounds
from werkbund.learner.counts import count_scores
from werkbund.plant.bins import in_wide_bins

ROUNDING = 1e-9


def _arrays(logits: AnyArray, labels: AnyArray, offsets: list[int] | None = None) -> dict[str, AnyArray]:
    modes, places = np.zeros((len(labels), 0), np.bool_), np.array(offsets or [0, len(labels)])
    return count_scores(np.asarray(logits, np.float64), np.asarray(labels), modes, places)


def _figures(logits: AnyArray, labels: AnyArray) -> tuple[float, float]:
    return oracle.average_precision_score(labels, logits), oracle.roc_auc_score(labels, logits)


def _assert_within(counts: Counts, logits: AnyArray, labels: AnyArray) -> None:
    precision, auc = _figures(logits, labels)
    for figure, bounds in ((precision, average_precision_bounds(counts)), (auc, roc_auc_bounds(counts))):
        assert bounds.low - ROUNDING <= figure <= bounds.high + ROUNDING


@given(
    rows=st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=2, max_size=6),
)
@settings(max_examples=60, deadline=None)
def test_bounds_are_the_least_and_the_greatest_of_all_orders_within_bins(rows: list[tuple[int, int]]) -> None:
    """Each row gets each place within its bin, so that every order occurs, with and without ties."""
    labels, bins = (np.array(column) for column in zip(*rows, strict=True))
    if labels.min() == labels.max():
        return
    shifts = range(min(len(rows), 4))
    scores = [bins + np.array(shift) / 8 for shift in itertools.product(shifts, repeat=len(rows))]
    figures = np.array([_exact(each, labels) for each in scores])
    counts = Counts.from_arrays(_arrays(bins / BINS_PER_LOGIT, labels))
    for bounds, found in zip((average_precision_bounds(counts), roc_auc_bounds(counts)), figures.T, strict=True):
        if np.bincount(bins + 3).max() <= 4:
            assert bounds == pytest.approx((found.min(), found.max()))
        assert bounds.low - ROUNDING <= found.min() <= found.max() <= bounds.high + ROUNDING


def _exact(scores: Float64Array, labels: AnyArray) -> tuple[float, float]:
    """Return both figures by their definitions, since scikit-learn is slow for thousands of short lists."""
    above, is_failure = scores >= scores[:, None], labels > 0
    precision = (above & is_failure).sum(axis=1) / above.sum(axis=1)
    pairs = scores[is_failure][:, None] - scores[~is_failure]
    return precision[is_failure].mean(), ((pairs > 0) + 0.5 * (pairs == 0)).mean()


@pytest.mark.parametrize("seed", range(20))
def test_exact_figures_by_definition_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.append(rng.random(30) < 0.3, [True, False])
    scores = rng.integers(0, 9, 32).astype(np.float64)
    assert _exact(scores, labels) == pytest.approx(_figures(scores, labels))


@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(2, 400),
    rate=st.sampled_from([0.01, 0.1, 0.5, 0.95]),
    middle=st.sampled_from([-30.0, -20.7, -3.5, 0.0, 17.0]),
    width=st.sampled_from([0.0, 1e-3, 0.05, 1.0, 10.0]),
)
@settings(max_examples=150, deadline=None)
def test_the_figure_of_the_rows_lies_within_what_bins_allow(
    seed: int, rows: int, rate: float, middle: float, width: float
) -> None:
    rng = np.random.default_rng(seed)
    labels = np.append(rng.random(rows) < rate, [True, False]).astype(np.int64)
    logits = middle + width * (rng.standard_t(2, rows + 2) + labels)
    counts = Counts.from_arrays(_arrays(logits, labels))
    _assert_within(counts, logits, labels)
    for figure, bounds in (
        (average_precision(counts), average_precision_bounds(counts)),
        (roc_auc(counts), roc_auc_bounds(counts)),
    ):
        assert bounds.low - ROUNDING <= figure <= bounds.high + ROUNDING


@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(0, 200), min_size=1, max_size=6),
    least=st.integers(1, 40),
    width=st.sampled_from([0.0, 0.05, 2.0, 30.0]),
)
@settings(max_examples=150, deadline=None)
def test_rows_that_plants_have_put_into_wide_bins_lie_within_what_is_allowed(
    seed: int, sizes: list[int], least: int, width: float
) -> None:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate(([0], np.cumsum(sizes))) + np.append(np.zeros(len(sizes), np.int64), 2)
    labels = np.append(rng.random(sum(sizes)) < 0.1, [True, False]).astype(np.int64)
    logits = rng.normal(-2.0 + labels, width)
    told = in_wide_bins(_arrays(logits, labels, offsets.tolist()), least)
    _assert_within(Counts.from_arrays(told), logits, labels)
    for index in range(len(sizes)):
        own = slice(*offsets[index : index + 2])
        if 0 < labels[own].sum() < len(labels[own]):
            _assert_within(Counts.from_arrays(told, index), logits[own], labels[own])


def test_wide_bins_of_several_plants_allow_what_the_rows_have_where_the_figure_is_far_off() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(2_500) < 0.034).astype(np.int64)
    logits = rng.normal(-5 + 5.5 * labels, 1.6)
    told = in_wide_bins(_arrays(logits, labels, list(range(0, 2_501, 250))), 20)
    counts = Counts.from_arrays(told)
    assert average_precision(counts) < oracle.average_precision_score(labels, logits) - 0.3
    _assert_within(counts, logits, labels)


def test_counts_of_which_some_are_in_wide_bins_add_up_to_those_of_all() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random(300) < 0.2).astype(np.int64)
    arrays = _arrays(rng.normal(labels, 2.0), labels, [0, 100, 200, 300])
    wide, other = (
        in_wide_bins({name: array[rows] for name, array in arrays.items()}, least)
        for rows, least in ((slice(0, 2), 20), (slice(2, 3), 1))
    )
    both = {name: np.concatenate([wide[name], other[name]]) for name in arrays}
    whole, parts = Counts.from_arrays(both), Counts.from_arrays(wide) + Counts.from_arrays(other)
    assert average_precision_bounds(whole) == average_precision_bounds(parts)
    assert average_precision_bounds(Counts.from_arrays(arrays)) != average_precision_bounds(parts)
    for counts in (whole, parts):
        for outer in (counts.lowest, counts.highest):
            np.testing.assert_array_equal(outer.sum(axis=1), counts.histogram.sum(axis=1))


def test_rows_that_all_have_a_bin_of_their_own_leave_no_doubt() -> None:
    logits = np.arange(-20, 20) / BINS_PER_LOGIT
    labels = np.arange(40) % 3 == 0
    counts = Counts.from_arrays(_arrays(logits, labels))
    precision, auc = _figures(logits, labels)
    assert average_precision_bounds(counts) == pytest.approx((precision, precision))
    assert roc_auc_bounds(counts) == pytest.approx((auc, auc))
    assert average_precision_bounds(counts).error(average_precision(counts)) == pytest.approx(0.0, abs=ROUNDING)


def test_rows_that_all_lie_in_one_bin_leave_any_order() -> None:
    labels = np.arange(1000) < 100
    counts = Counts.from_arrays(_arrays(np.full(1000, -20.0), labels))
    low, high = average_precision_bounds(counts)
    assert high == 1.0
    assert low == pytest.approx(oracle.average_precision_score(labels, np.arange(1000, 0, -1) - 1000 * labels))
    assert roc_auc_bounds(counts) == (0.0, 1.0)


@pytest.mark.parametrize("rows", [10**3, 10**6, 10**9, 2**40])
def test_bounds_of_very_many_rows_are_found_without_going_through_them(rows: int) -> None:
    histogram = np.zeros((2, NUM_BINS), np.int64)
    histogram[:, [300, 700]] = [[rows, 0], [0, rows]]
    counts = Counts(histogram, histogram[:0], 0.0, 0.0, np.zeros((10, 3)))
    assert average_precision_bounds(counts) == pytest.approx((1.0, 1.0))
    histogram[0, 700] = rows
    low, high = average_precision_bounds(Counts(histogram, histogram[:0], 0.0, 0.0, np.zeros((10, 3))))
    assert low == pytest.approx(1 - math.log(2), abs=1e-3)  # the sum of i / (rows + i) over rows, an integral
    assert high == 1.0


@pytest.mark.parametrize("label", [0, 1])
def test_what_rows_do_not_define_has_no_bounds(label: int) -> None:
    counts = Counts.from_arrays(_arrays(np.array([0.1, 0.2]), np.array([label, label])))
    assert np.isnan(roc_auc_bounds(counts)).all()
    assert np.isnan(average_precision_bounds(counts)).all() == (label == 0)
    assert np.isnan(average_precision_bounds(Counts.empty())).all()
