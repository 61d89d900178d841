"""FedNova: golden numbers, sums of coefficients against a loop written out, and the optimum where averaging is off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from tests.aggregation.golden import START, UPDATES, moved_by_halves, opposed
from werkbund.aggregation import FedAvg, FedNova
from werkbund.config import check_config
from werkbund.core import ConfigError
from werkbund.engine import rounds
from werkbund.federation.wiring import strategy_of
from werkbund.learner import TrainingPlan
from werkbund.learner.plan import accumulations

PLAIN = FedNova(momentum=0.0)
STEPS = np.array([2, 5, 10])

GOLDEN: list[tuple[TrainingPlan, str, str]] = [
    (TrainingPlan(learning_rate=0.1), "2 5 10", "1.256667 -1.941667 0.453333 4.026667"),
    (
        TrainingPlan(learning_rate=0.1, momentum=0.9),
        "2.9 13.1441 41.381060",
        "1.584425 -2.068437 0.506104 4.977998",
    ),
    (
        TrainingPlan(learning_rate=0.1, proximal=1.0),
        "1.9 4.0951 6.513216",
        "1.208897 -1.928136 0.428754 3.861629",
    ),
]


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split()]


@pytest.mark.parametrize(("plan", "norms", "weights"), GOLDEN, ids=["sgd", "momentum", "proximal"])
def test_norms_and_weights_are_the_golden_numbers(plan: TrainingPlan, norms: str, weights: str) -> None:
    np.testing.assert_allclose(accumulations(plan, STEPS), _numbers(norms), atol=1e-6)
    moved = moved_by_halves(PLAIN, START, UPDATES[0], plan, steps=STEPS)
    np.testing.assert_allclose(moved, _numbers(weights), atol=2e-6)


def test_a_proximal_term_is_part_of_what_the_momentum_gathers_as_clients_really_step() -> None:
    plan = TrainingPlan(learning_rate=0.1, momentum=0.9, proximal=1.0)
    np.testing.assert_allclose(accumulations(plan, STEPS), [2.8, 10.2916, 15.887894], atol=1e-6)


def test_with_momentum_the_norm_is_the_papers_closed_form() -> None:
    rho, steps = 0.7, np.arange(30)
    closed = (steps - rho * (1 - rho**steps) / (1 - rho)) / (1 - rho)
    np.testing.assert_allclose(accumulations(TrainingPlan(momentum=rho), steps), closed, rtol=1e-12)


@settings(max_examples=30)
@given(st.floats(0.0, 0.95), st.floats(0.0, 5.0), st.floats(0.01, 0.5), st.integers(1, 25))
def test_the_sums_of_coefficients_are_those_of_the_steps_written_out(
    rho: float, mu: float, rate: float, steps: int
) -> None:
    """Each gradient by itself, one step after the other, also where later steps turn what it did around."""
    coefficients = []
    for place in range(steps):
        way = gathered = 0.0
        for number in range(steps):
            gathered = rho * gathered + float(number == place) + mu * way
            way -= rate * gathered
        coefficients.append(-way / rate)
    plan = TrainingPlan(learning_rate=rate, momentum=rho, proximal=mu, weight_decay=0.1)
    np.testing.assert_allclose(accumulations(plan, np.array([steps])), np.sum(coefficients), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_equal_norms_are_federated_averaging(momentum: float) -> None:
    rows = np.array([10.0, 20.0, 30.0])
    nova = moved_by_halves(FedNova(momentum=momentum), START, UPDATES[0], TrainingPlan(momentum=0.5), steps=7)
    averaging = FedAvg(momentum=momentum)
    sent = {"update": (UPDATES[0] * rows[:, None]).astype(np.float32)}
    usual, _ = averaging.finish(averaging.fold(averaging.begin(4), sent, rows), START, averaging.init(4))
    np.testing.assert_allclose(nova, usual, rtol=1e-6)


def test_one_client_is_that_client_whatever_its_steps() -> None:
    for steps in (1, 13):
        moved = moved_by_halves(PLAIN, START, UPDATES[0][:1], TrainingPlan(), steps=steps, rows=np.array([5.0]))
        np.testing.assert_allclose(moved, START + UPDATES[0][0], rtol=1e-6)


def test_updates_of_nothing_leave_the_weights_as_they_are() -> None:
    moved = moved_by_halves(PLAIN, START, np.zeros((3, 4)), TrainingPlan(), steps=STEPS)
    np.testing.assert_array_equal(moved, START)


def test_a_client_without_rows_counts_nothing() -> None:
    rows = np.array([0.0, 20.0, 30.0])
    updates = np.array(UPDATES[0])
    updates[0] = 0
    three = moved_by_halves(PLAIN, START, updates, TrainingPlan(), steps=np.array([0, 5, 10]), rows=rows)
    two = moved_by_halves(PLAIN, START, updates[1:], TrainingPlan(), steps=STEPS[1:], rows=rows[1:])
    np.testing.assert_array_equal(three, two)


A, B, WEIGHT, RATE = np.array([1.0, 4.0]), np.array([0.0, 10.0]), np.array([1.0, 3.0]), 1e-2
"""Two clients, F_i = a_i / 2 (w - b_i)^2, with weights 1/4 and 3/4."""

UNEQUAL = np.array([20, 2])


def _settled(rule: Any, number: int = 150) -> float:
    weights, plan = np.zeros(1, np.float32), TrainingPlan(learning_rate=RATE)
    for _ in range(number):
        shrunk = (1 - RATE * A) ** UNEQUAL
        updates = ((1 - shrunk) * (B - weights.astype(np.float64)))[:, None]
        if isinstance(rule, FedNova):
            weights = moved_by_halves(rule, weights, updates, plan, steps=UNEQUAL, rows=WEIGHT)
        else:
            sent = {"update": (updates * WEIGHT[:, None]).astype(np.float32)}
            weights, _ = rule.finish(rule.fold(rule.begin(1), sent, WEIGHT), weights, {})
    return float(weights[0])


def test_with_unequal_steps_it_settles_at_the_optimum_of_the_weighted_sum_and_averaging_far_from_it() -> None:
    optimum = (WEIGHT * A * B).sum() / (WEIGHT * A).sum()
    share = 1 - (1 - RATE * A) ** UNEQUAL
    off = (WEIGHT * share * B).sum() / (WEIGHT * share).sum()  # in closed form
    assert abs(off - optimum) > 3
    np.testing.assert_allclose(_settled(FedAvg(momentum=0.0)), off, atol=1e-3)
    each = share / UNEQUAL
    np.testing.assert_allclose(_settled(PLAIN), (WEIGHT * each * B).sum() / (WEIGHT * each).sum(), atol=1e-3)
    np.testing.assert_allclose(_settled(PLAIN), optimum, atol=0.06)


SIZES = (20, 20, 200)
FINE = TrainingPlan(learning_rate=0.02, weight_decay=0.0, batch_size=5)


def _optimum(built: Any) -> Any:
    """Return what minimises the mean of the clients' mean losses, by another program."""
    table = built.splits.train
    x = np.c_[table.features, np.ones(len(table.labels))].astype(np.float64)
    each = np.repeat(1 / table.sizes, table.sizes) / table.num_clients

    def objective(w: Any) -> tuple[float, Any]:
        z = x @ w
        risk = 1 / (1 + np.exp(-z))
        return float((each * (np.logaddexp(0, z) - table.labels * z)).sum()), x.T @ (each * (risk - table.labels))

    return minimize(objective, np.zeros(x.shape[1]), jac=True, tol=1e-10), objective


def test_in_real_training_a_client_of_many_steps_does_not_pull_the_others_along(federation: Any) -> None:
    """Ten times as many steps at one client of three that count alike: ten times nearer to their common optimum."""
    excess = {}
    for rule in (FedNova("equal", momentum=0.0), FedAvg("equal", momentum=0.0)):
        built = opposed(federation(SIZES, plan=FINE, aggregator=rule))
        *_, (state, _) = rounds(built.grid, built.strategy, built.rules, built.state, 30)
        best, objective = _optimum(built)
        excess[rule.name] = objective(state.weights.astype(np.float64))[0] - best.fun
    assert 0 < excess["fednova"] < 0.1 * excess["fedavg"], excess


def test_steps_that_are_no_sum_of_gradients_are_refused_by_name() -> None:
    config = check_config({"training": {"optimizer": "adam"}, "strategy": {"aggregation": {"name": "fednova"}}})
    with pytest.raises(ConfigError, match=r"training\.optimizer must be sgd where .* 'fednova', got 'adam'"):
        strategy_of(config)
    with pytest.raises(ConfigError, match=r"training\.optimizer must be sgd"):
        accumulations(TrainingPlan("adamw"), np.array([3]))
