"""Fair and agnostic averaging: golden numbers, other programs as oracles, and a worst plant that does better."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.serverapp.strategy import QFedAvg as FlowersQFedAvg
from hypothesis import given
from hypothesis import strategies as st

from tests.aggregation.golden import START, UPDATES, flowers_weights_after, moved_by_halves, opposed
from werkbund.aggregation import Agnostic, Closing, FedAvg, QFedAvg
from werkbund.aggregation.fair import on_simplex
from werkbund.core import FederationError, Tasks
from werkbund.core.arrays import Float64Array
from werkbund.core.rng import keys
from werkbund.core.store import RowStore
from werkbund.engine import rounds
from werkbund.engine.kinds import TRAIN
from werkbund.learner import TrainingPlan
from werkbund.learner.signals import losses_of

LOSSES = np.array([1.0, 0.5, 2.0])
PLAN = TrainingPlan(learning_rate=0.1)

GOLDEN = [
    (0.0, (1.166667, -1.933333, 0.433333, 3.7)),
    (1.0, (1.029880, -1.994024, 0.472112, 3.097610)),
    (5.0, (1.012352, -1.994531, 0.476749, 3.036739)),
]


@pytest.mark.parametrize(("q", "expected"), GOLDEN)
def test_one_round_gives_the_golden_numbers(q: float, expected: Any) -> None:
    moved = moved_by_halves(QFedAvg(q, momentum=0.0), START, UPDATES[0], PLAN, losses=LOSSES)
    np.testing.assert_allclose(moved, expected, atol=2e-6)


@pytest.mark.parametrize("q", [0.0, 0.1, 1.0, 5.0])
def test_flowers_own_strategy_gives_the_same_weights_over_three_rounds(q: float) -> None:
    weights, after = START, []
    for updates in UPDATES:
        weights = moved_by_halves(QFedAvg(q, momentum=0.0), weights, updates, PLAN, losses=LOSSES)
        after.append(weights)
    flowers = flowers_weights_after(FlowersQFedAvg(client_learning_rate=0.1, q=q), LOSSES)
    np.testing.assert_allclose(after, flowers, rtol=2e-6)


def _averaged(updates: Float64Array) -> Any:
    rule, alike = FedAvg("equal", momentum=0.0), np.ones(len(updates))
    return rule.finish(rule.fold(rule.begin(4), {"update": updates.astype(np.float32)}, alike), START, {})[0]


@given(st.floats(1e-3, 10.0), st.lists(st.floats(0.0, 50.0), min_size=3, max_size=3))
def test_q_of_0_is_averaging_alike_to_the_last_bit_whatever_losses_and_rate(rate: float, losses: list[float]) -> None:
    plan = TrainingPlan(learning_rate=rate)
    moved = moved_by_halves(QFedAvg(0.0, momentum=0.0), START, UPDATES[0], plan, losses=losses)
    np.testing.assert_array_equal(moved, _averaged(UPDATES[0]))


@given(st.floats(0.1, 5.0), st.floats(0.1, 10.0))
def test_a_loss_in_another_unit_is_of_no_account_where_steps_are_short(q: float, unit: float) -> None:
    """The bend of the losses is of second order in the update, so that the quotient has no unit left."""
    short = UPDATES[0] * 1e-4
    one, other = (
        moved_by_halves(QFedAvg(q, momentum=0.0), START, short, PLAN, losses=LOSSES * factor) - START
        for factor in (1.0, unit)
    )
    np.testing.assert_allclose(one, other, rtol=2e-2, atol=1e-6)


def test_a_client_without_rows_counts_nothing() -> None:
    rows, updates = np.array([0.0, 20.0, 30.0]), np.array(UPDATES[0])
    updates[0] = 0
    nobody = moved_by_halves(QFedAvg(1.0, 0.0), START, updates, PLAN, losses=[np.nan, 0.5, 2.0], rows=rows)
    two = moved_by_halves(QFedAvg(1.0, 0.0), START, updates[1:], PLAN, losses=LOSSES[1:], rows=rows[1:])
    np.testing.assert_array_equal(nobody, two)


def test_nobody_at_all_is_an_error_and_no_step() -> None:
    rule = QFedAvg()
    with pytest.raises(FederationError, match="must be > 0"):
        rule.finish(rule.begin(4), START, rule.init(4))


def _losses(built: Any, weights: Any) -> Float64Array:
    train = built.splits.train
    each = losses_of(built.work.trainer.score(weights, train.features), train.labels)
    return np.array([each[train.rows(client)].mean() for client in range(train.num_clients)])


def test_the_worst_clients_loss_falls_with_q_and_the_spread_too(federation: Any) -> None:
    worst, spread = [], []
    for q in (0.0, 1.0, 5.0):
        plan = TrainingPlan(learning_rate=0.5, weight_decay=0.0)
        built = opposed(federation((40, 40, 40, 40), plan=plan, aggregator=QFedAvg(q, momentum=0.0)))
        *_, (state, _) = rounds(built.grid, built.strategy, built.rules, built.state, 40)
        losses = _losses(built, state.weights)
        worst.append(losses.max())
        spread.append(losses.std())
    assert worst[0] > worst[1] > worst[2]
    assert spread[0] > spread[1] > spread[2]


def test_the_loss_that_counts_is_that_of_the_received_weights_over_all_training_rows(federation: Any) -> None:
    """A round by hand: losses before training, as another program would take them."""
    plan = TrainingPlan(learning_rate=0.3, weight_decay=0.0, positive_weight=4.0)
    q = 2.0
    built = federation((20, 33, 7), plan=plan, aggregator=QFedAvg(q, momentum=0.0))
    usual = federation((20, 33, 7), plan=plan, aggregator=FedAvg("equal", momentum=0.0))
    d = np.stack([_update(usual, client) for client in range(3)]).astype(np.float64)
    train, start = built.splits.train, built.state.weights
    each = losses_of(built.work.trainer.score(start, train.features), train.labels, 4.0)
    loss = np.array([each[train.rows(client)].mean() for client in range(3)])
    bend = q * loss ** (q - 1) * (d**2).sum(axis=1) / 0.3
    expected = start + (loss[:, None] ** q * d).sum(axis=0) / (loss**q + bend).sum()
    *_, (state, _) = rounds(built.grid, built.strategy, built.rules, built.state, 1)
    np.testing.assert_allclose(state.weights, expected, atol=2e-6)


def _update(built: Any, client: int) -> Any:
    own = {"factor": np.ones(1), "key": keys(0, "training", 1, np.array([client]))}
    shared = {"weights": built.state.weights, "rate": np.ones(())}
    return built.work.train(Tasks(TRAIN, 1, np.array([client]), shared, own), RowStore()).sums["update"][0]


def _shares(rule: Agnostic, losses: Any, carry: Any = None) -> Any:
    told = {"clients": np.arange(len(losses)), "loss": np.array(losses)}
    folded = rule.fold(rule.begin(4), {"update": UPDATES[0].astype(np.float32)}, np.ones(3))
    kept = rule.init(4) if carry is None else carry
    return rule.finish(folded, START, kept, Closing(num_clients=len(losses), told=told))[1]


def test_shares_after_a_round_are_the_golden_numbers() -> None:
    slow, fast = (_shares(Agnostic(rate), LOSSES)["shares"] for rate in (0.1, 1.0))
    np.testing.assert_allclose(slow, (0.316667, 0.266667, 0.416667), atol=1e-6)
    np.testing.assert_allclose(fast, (0, 0, 1), atol=1e-6)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_the_nearest_shares_are_nearer_than_any_others(numbers: list[float]) -> None:
    """Nearest: no direction from them to a corner leads nearer, which is enough in a convex set."""
    given_numbers = np.array(numbers)
    shares = on_simplex(given_numbers)
    assert np.isclose(shares.sum(), 1)
    assert (shares >= 0).all()
    for corner in np.eye(len(numbers)):
        assert (given_numbers - shares) @ (corner - shares) <= 1e-9


def test_a_loss_that_is_not_told_counts_as_the_mean_of_the_others_and_none_at_all_changes_no_share() -> None:
    rule = Agnostic(0.1)
    told = _shares(rule, [1.0, np.nan, 2.0])["shares"]
    np.testing.assert_allclose(told, _shares(rule, [1.0, 1.5, 2.0])["shares"])
    before = {"momentum": np.zeros(4, np.float32), "shares": told}
    np.testing.assert_array_equal(_shares(rule, [np.nan] * 3, before)["shares"], told)


def test_where_only_clients_of_no_share_answer_the_weights_stay_and_shares_go_on() -> None:
    rule = Agnostic(0.1, momentum=0.0)
    carry = {"shares": np.array([0.0, 0.0, 1.0], np.float32)}
    folded = rule.fold(rule.begin(4), {"update": np.zeros((2, 4), np.float32)}, np.zeros(2))
    told = {"clients": np.array([0, 1]), "loss": np.array([9.0, 1.0])}
    weights, after = rule.finish(folded, START, carry, Closing(num_clients=3, told=told))
    np.testing.assert_array_equal(weights, START)
    assert after["shares"][0] > 0
    with pytest.raises(FederationError, match="must be > 0"):
        rule.finish(rule.begin(4), START, carry)


def test_the_worst_loss_falls_below_that_of_equal_shares_and_its_client_counts_most(federation: Any) -> None:
    plan = TrainingPlan(learning_rate=0.5, weight_decay=0.0)
    worst = {}
    for rule in (FedAvg("equal", momentum=0.0), Agnostic(0.1, momentum=0.0)):
        built = opposed(federation((40, 40, 40, 40), plan=plan, aggregator=rule))
        done = [state for state, _ in rounds(built.grid, built.strategy, built.rules, built.state, 60)]
        worst[rule.name] = np.mean([_losses(built, state.weights).max() for state in done[-20:]])
    assert worst["afl"] < 0.8 * worst["fedavg"]
    shares = done[-1].carry["shares"]
    assert shares.argmax() == 3
    assert np.isclose(shares.sum(), 1)
