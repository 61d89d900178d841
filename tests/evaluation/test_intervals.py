"""Intervals are Student's, say nothing where nothing can be said, and hold the truth as often as they claim."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from werkbund.core.errors import ConfigError, DataError
from werkbund.evaluation import mean_interval, paired_difference


@pytest.mark.parametrize("n", [2, 3, 5, 30])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_interval_is_that_of_scipy(n: int, level: float) -> None:
    values = np.random.default_rng(n).normal(3, 2, n)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(level)
    interval = mean_interval(values, level)
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert interval.mean == pytest.approx(values.mean())
    assert interval.n == n


def test_interval_holds_the_true_mean_as_often_as_it_claims() -> None:
    draws = np.random.default_rng(0).normal(1.0, 2.0, (2000, 5))
    intervals = [mean_interval(values, 0.9) for values in draws]
    held = np.mean([interval.low <= 1.0 <= interval.high for interval in intervals])
    assert abs(held - 0.9) < 4 * math.sqrt(0.9 * 0.1 / 2000)


def test_one_value_has_a_mean_and_no_interval() -> None:
    interval = mean_interval([0.7])
    assert (interval.mean, interval.n) == (0.7, 1)
    assert interval.to_json() == {"mean": 0.7, "low": None, "high": None, "n": 1}


def test_no_value_has_neither() -> None:
    assert mean_interval([]).to_json() == {"mean": None, "low": None, "high": None, "n": 0}


def test_undefined_values_are_left_out_of_mean_and_count() -> None:
    assert mean_interval([0.2, math.nan, 0.4]) == mean_interval([0.2, 0.4])


def test_equal_values_have_an_interval_of_no_width() -> None:
    interval = mean_interval([2.0, 2.0, 2.0])
    assert interval.low == interval.mean == interval.high == 2.0


def test_paired_difference_is_the_paired_test_of_scipy() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(0, 10, 6)
    first, second = base + rng.normal(0.5, 1, 6), base + rng.normal(0, 1, 6)
    low, high = stats.ttest_rel(first, second).confidence_interval(0.95)
    interval = paired_difference(first, second)
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_pair_with_an_undefined_side_is_left_out() -> None:
    assert paired_difference([3.0, math.nan, 5.0], [1.0, 2.0, 1.0]).n == 2


def test_pairs_of_unlike_length_are_refused() -> None:
    with pytest.raises(DataError, match="as many on both sides"):
        paired_difference([1.0, 2.0], [1.0])


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_level_outside_0_and_1_is_refused(level: float) -> None:
    with pytest.raises(ConfigError, match="level must be between 0 and 1"):
        mean_interval([1.0, 2.0], level)
