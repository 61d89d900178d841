from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.audit.bounds import OneRun, Trials, guessed, roc_of
from werkbund.core.errors import ConfigError


@pytest.mark.parametrize(
    ("trials", "delta", "rates", "epsilon", "gaussian"),
    [
        (Trials(500, 1000, 50, 1000), 1e-5, (0.4685, 0.0654), 1.9692, 6.6721),
        (Trials(900, 1000, 100, 1000), 1e-5, (0.8797, 0.1203), 1.9897, 12.1976),
    ],
)
def test_many_runs_bound_epsilon_as_in_the_reference(
    trials: Trials, delta: float, rates: tuple[float, float], epsilon: float, gaussian: float
) -> None:
    assert trials.rates() == pytest.approx(rates, abs=5e-5)
    assert trials.epsilon(delta) == pytest.approx(epsilon, abs=1e-4)
    assert trials.gaussian_epsilon(delta) == pytest.approx(gaussian, abs=1e-3)


def test_a_hundred_runs_show_at_most_so_much() -> None:
    trials = Trials(100, 100, 0, 100)
    assert trials.rates() == pytest.approx((0.9638, 0.0362), abs=5e-5)
    assert trials.epsilon(0.0) == pytest.approx(3.2813, abs=1e-4)


@pytest.mark.parametrize(
    ("run", "delta", "at_95", "at_99"),
    [
        (OneRun(500, 100, 100), 1e-5, 3.4792, 3.0232),
        (OneRun(500, 100, 90), 1e-5, 1.6285, 1.4345),
        (OneRun(1000, 200, 180), 1e-5, 1.7963, 1.6498),
        (OneRun(1000, 1000, 600), 1e-5, 0.2972, 0.2531),
        (OneRun(200, 40, 38), 1e-5, 1.7386, 1.4169),
        (OneRun(1000, 100, 100), 1e-3, 0.8090, 0.0),
    ],
)
def test_one_run_bounds_epsilon_as_in_the_reference(run: OneRun, delta: float, at_95: float, at_99: float) -> None:
    assert run.epsilon(delta) == pytest.approx(at_95, abs=2e-4)
    assert run.epsilon(delta, 0.99) == pytest.approx(at_99, abs=2e-4)


@given(hits=st.integers(0, 40), alarms=st.integers(0, 40))
def test_whatever_was_counted_gives_a_bound(hits: int, alarms: int) -> None:
    trials = Trials(hits, 40, alarms, 40)
    assert 0 <= trials.epsilon(1e-5) < 60
    assert trials.epsilon(1e-5, 0.99) <= trials.epsilon(1e-5)
    assert trials.gaussian_epsilon(1e-5) >= 0


def test_guesses_by_chance_prove_nothing() -> None:
    rng = np.random.default_rng(3)
    bounds = [guessed(rng.random(400), rng.random(400) < 0.5, 100).epsilon(1e-5) for _ in range(200)]
    assert np.mean(np.array(bounds) > 0) <= 0.05


def test_perfect_scores_are_guessed_right() -> None:
    is_in = np.arange(20) % 2 == 0
    assert guessed(is_in.astype(float), is_in, 10) == OneRun(20, 10, 10)
    assert guessed(-is_in.astype(float), is_in, 10) == OneRun(20, 10, 0)


def test_an_attack_that_tells_all_apart_and_one_that_tells_nothing() -> None:
    is_member = np.arange(1000) < 500
    perfect = roc_of(is_member.astype(float), is_member)
    assert (perfect.auc, perfect.at_1_percent, perfect.advantage) == (1.0, 1.0, 1.0)
    nothing = roc_of(np.zeros(1000), is_member)
    assert (nothing.auc, nothing.at_1_percent) == (0.5, 0.0)
    with pytest.raises(ConfigError, match="members and others"):
        roc_of(np.zeros(3), np.ones(3, np.bool_))
