"""The threshold is the cheapest one on validation rows, and the costs' own where these rows say nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.edges import NUM_BINS
from werkbund.core.errors import ConfigError
from werkbund.evaluation import Costs, Counts, Threshold, choose_threshold, cost_curve
from werkbund.learner.counts import count_scores, edge

BINS = st.integers(0, NUM_BINS - 1)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("missed", [0.5, 10.0, 500.0])
def test_no_threshold_costs_less_and_higher_ones_cost_more(
    scored: Callable[..., Any], seed: int, missed: float
) -> None:
    counts, costs = scored(seed).counts, Costs(missed, 1.0)
    curve, chosen = cost_curve(counts, costs), counts.bin_from(choose_threshold(counts, costs).logit)
    assert curve[chosen] == curve.min()
    assert (curve[chosen + 1 :] > curve[chosen]).all()


def test_dearer_missed_failures_never_raise_the_threshold(scored: Callable[..., Any]) -> None:
    counts = scored(4).counts
    chosen = [choose_threshold(counts, Costs(price, 1.0)).logit for price in np.geomspace(0.01, 1000, 30)]
    assert chosen == sorted(chosen, reverse=True)


@pytest.mark.parametrize("label", [0, 1])
def test_one_label_alone_gives_the_break_even_threshold(label: int) -> None:
    labels = np.full(5, float(label))
    arrays = count_scores(np.zeros(5), labels, np.zeros((5, 0), bool), np.array([0, 5]))
    chosen = choose_threshold(Counts.from_arrays(arrays), Costs(19.0, 1.0))
    assert chosen == Threshold.nearest(0.05)


def test_no_row_gives_the_break_even_threshold() -> None:
    assert choose_threshold(Counts.empty(), Costs(1.0, 1.0)).probability == 0.5


def test_cheapest_threshold_of_a_calibrated_model_is_near_break_even() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(-2, 2, 400_000)
    labels = rng.random(len(logits)) < 1 / (1 + np.exp(-logits))
    arrays = count_scores(logits, labels, np.zeros((len(labels), 0), bool), np.array([0, len(labels)]))
    costs = Costs(9.0, 1.0)
    chosen = choose_threshold(Counts.from_arrays(arrays), costs).probability
    assert chosen == pytest.approx(costs.break_even, abs=0.02)


@given(BINS)
def test_threshold_nearest_its_own_probability_is_itself(place: int) -> None:
    assert Threshold.nearest(Threshold.of_bin(place).probability) == Threshold.of_bin(place)


@given(BINS, BINS, st.floats(0.001, 0.999))
def test_probability_decides_as_the_bin_does(place: int, other: int, part: float) -> None:
    logit = float(edge(other + part))
    arrays = count_scores(np.array([logit]), np.ones(1), np.zeros((1, 0), bool), np.array([0, 1]))
    flagged = Counts.from_arrays(arrays).confusion(place).true_positives == 1
    assert flagged == (1 / (1 + np.exp(-logit)) >= Threshold.of_bin(place).probability)


@pytest.mark.parametrize("place", [-1, NUM_BINS])
def test_bin_outside_the_grid_is_refused(place: int) -> None:
    with pytest.raises(ConfigError, match=rf"bin must be in 0\.\.1023, got {place}"):
        Threshold.of_bin(place)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_threshold_that_is_no_probability_is_refused(probability: float) -> None:
    with pytest.raises(ConfigError, match=r"probability in 0\.\.1"):
        Threshold.nearest(probability)
