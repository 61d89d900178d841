"""Counts add: those of any division of rows, summed, are those of the rows put together."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from werkbund.core.edges import NUM_BINS
from werkbund.core.errors import DataError
from werkbund.evaluation import Counts, lower_probabilities
from werkbund.evaluation import counts as evaluation_counts
from werkbund.learner import counts as learner_counts
from werkbund.learner.counts import count_scores

FIELDS = ("histogram", "modes", "brier", "log_loss", "calibration")


def assert_same(left: Counts, right: Counts) -> None:
    np.testing.assert_array_equal(left.histogram, right.histogram)
    np.testing.assert_array_equal(left.modes, right.modes)
    for name in ("brier", "log_loss", "calibration"):
        np.testing.assert_allclose(getattr(left, name), getattr(right, name), rtol=1e-12, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 40), max_size=6))
@settings(max_examples=40, deadline=None)
def test_counts_of_clients_sum_to_counts_of_pooled_rows(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    rows = sum(sizes)
    logits, labels = rng.normal(0, 5, rows), rng.integers(0, 2, rows)
    modes = rng.random((rows, 2)) < 0.5
    arrays = count_scores(logits, labels, modes, np.cumsum([0, *sizes]))
    pooled = Counts.from_arrays(count_scores(logits, labels, modes, np.array([0, rows])), 0)
    alone = [Counts.from_arrays(arrays, i) for i in range(len(sizes))]
    assert_same(Counts.from_arrays(arrays), pooled)
    assert_same(reduce(add, alone, Counts.empty(num_modes=2)), pooled)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("place", [0, 300, 420, 512, 1023])
def test_confusion_is_that_of_scikit_learn(scored: Callable[..., Any], seed: int, place: int) -> None:
    rows = scored(seed)
    (tn, fp), (fn, tp) = confusion_matrix(rows.labels, rows.bins >= place, labels=[0, 1])
    confusion = rows.counts.confusion(place)
    assert (confusion.true_negatives, confusion.false_positives) == (tn, fp)
    assert (confusion.false_negatives, confusion.true_positives) == (fn, tp)


def test_rows_are_positives_and_negatives(scored: Callable[..., Any]) -> None:
    rows = scored(0)
    assert (rows.counts.rows, rows.counts.positives) == (len(rows.labels), rows.labels.sum())
    assert rows.counts.negatives == (rows.labels == 0).sum()


def test_counts_of_no_row_hold_nothing() -> None:
    assert Counts.empty().rows == 0
    assert Counts.empty().confusion(0).true_negatives == 0


@pytest.mark.parametrize("name", FIELDS)
def test_missing_array_is_named(scored: Callable[..., Any], name: str) -> None:
    arrays = {key: array for key, array in scored(0).arrays.items() if key != name}
    with pytest.raises(DataError, match=f"none for \\['{name}'\\]"):
        Counts.from_arrays(arrays)


def test_negative_counts_are_refused() -> None:
    histogram = np.zeros((2, NUM_BINS), np.int64)
    histogram[0, 3] = -1
    with pytest.raises(DataError, match="must not be negative"):
        Counts(histogram, Counts.empty().modes, 0.0, 0.0, np.zeros((10, 3)))


def test_histogram_of_other_bins_is_refused() -> None:
    with pytest.raises(DataError, match=r"got \(\(2, 7\)"):
        Counts(np.zeros((2, 7), np.int64), Counts.empty().modes, 0.0, 0.0, np.zeros((10, 3)))


def test_counts_of_unlike_failure_modes_do_not_add() -> None:
    with pytest.raises(DataError, match="got 1 and 2"):
        Counts.empty(1) + Counts.empty(2)


def test_tenths_are_those_of_the_clients_who_count() -> None:
    """Their number is stated twice, for those who count and for those who read."""
    assert evaluation_counts.NUM_DECILES == learner_counts.NUM_DECILES


def test_lower_probabilities_are_those_of_the_lower_edges() -> None:
    probabilities = lower_probabilities()
    edges = learner_counts.edge(np.arange(1, NUM_BINS))
    np.testing.assert_allclose(learner_counts.logits_of(probabilities[1:]), edges, atol=1e-8)


def test_lowest_bin_is_open_and_begins_at_probability_0() -> None:
    assert lower_probabilities()[0] == 0.0
    assert (np.diff(lower_probabilities()) > 0).all()
