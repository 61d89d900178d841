"""Median and trimmed mean: golden numbers, NumPy and Flower as oracles, and what hostile clients can do."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from flwr.serverapp.strategy import FedMedian, FedTrimmedAvg
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.aggregation.golden import ONE_OUTLIER, SCATTERED, TWO_OUTLIERS, flowers_move, moved_by
from werkbund.aggregation import CoordinateMedian, TrimmedMean
from werkbund.core.arrays import Float64Array

MEDIAN = CoordinateMedian(momentum=0.0)
SMALL = st.integers(1, 9).flatmap(lambda n: arrays(np.float64, (n, 2), elements=st.integers(-4, 4).map(float)))


def _trimmed(hostile: int | float) -> TrimmedMean:
    return TrimmedMean(hostile=hostile, momentum=0.0)


def test_medians_are_the_golden_ones() -> None:
    np.testing.assert_allclose(moved_by(MEDIAN, TWO_OUTLIERS), (1.15, 1.9, 2.95), atol=2e-7)
    np.testing.assert_allclose(moved_by(MEDIAN, TWO_OUTLIERS[:6]), (1.075, 1.95, 2.975), atol=2e-7)


@pytest.mark.parametrize(
    ("hostile", "golden"),
    [
        (0, (3.421429, -0.128571, 2.3)),
        (1, (2.65, 0.56, 2.57)),
        (2, (1.116667, 1.9, 2.916667)),
        (3, (1.15, 1.9, 2.95)),
    ],
)
def test_trimmed_means_are_the_golden_ones(hostile: int, golden: tuple[float, ...]) -> None:
    np.testing.assert_allclose(moved_by(_trimmed(hostile), TWO_OUTLIERS), golden, atol=6e-7)


@settings(max_examples=50)
@given(SMALL)
def test_the_median_is_numpys(rows: Float64Array) -> None:
    np.testing.assert_array_equal(moved_by(MEDIAN, rows), np.median(rows, axis=0))


@settings(max_examples=50)
@given(SMALL, st.integers(0, 4))
def test_a_trimmed_mean_is_that_of_plain_fractions(rows: Float64Array, hostile: int) -> None:
    cut = min(hostile, (len(rows) - 1) // 2)
    middle = [sorted(map(Fraction, column))[cut : len(rows) - cut] for column in rows.T.tolist()]
    expected = [float(sum(values) / len(values)) for values in middle]
    np.testing.assert_allclose(moved_by(_trimmed(cut), rows), expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("rows", [TWO_OUTLIERS, ONE_OUTLIER, SCATTERED, TWO_OUTLIERS[:6]])
def test_flowers_median_and_trimmed_mean_are_the_same(rows: Float64Array) -> None:
    np.testing.assert_allclose(moved_by(MEDIAN, rows), flowers_move(FedMedian(), rows), atol=5e-7)
    for share in (0.0, 0.2, 0.4):
        own, theirs = moved_by(_trimmed(share), rows), flowers_move(FedTrimmedAvg(beta=share), rows)
        np.testing.assert_allclose(own, theirs, atol=5e-7)


def test_a_share_is_rounded_down_but_for_what_is_lost_in_binary() -> None:
    assert _trimmed(0.29).expected(100) == 29
    assert _trimmed(0.2).expected(9) == 1
    assert _trimmed(0.3).expected(10) == 3


@settings(max_examples=50)
@given(SMALL)
def test_the_order_of_clients_does_not_change_a_bit(rows: Float64Array) -> None:
    order = np.random.default_rng(len(rows)).permutation(len(rows))
    uneven = rows / 3.0
    for rule in (MEDIAN, _trimmed(0.2)):
        np.testing.assert_array_equal(moved_by(rule, uneven), moved_by(rule, uneven[order]))


def test_blocks_of_columns_do_not_show() -> None:
    rows = np.random.default_rng(0).normal(size=(7, 2500))
    np.testing.assert_allclose(moved_by(MEDIAN, rows), np.median(rows.astype(np.float32), axis=0), rtol=1e-6)
