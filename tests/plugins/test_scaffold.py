"""SCAFFOLD (Karimireddy et al., ICML 2020, algorithm 1, option II): control variates at the server and at each client.

An aggregator that sends its control along, a half at the clients around their training, and a rule for the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.conftest import Federation, kept_by_clients
from tests.deployed import Learnt, deploy, learnt
from werkbund.aggregation import Card, Carry, Closing, FedAvg, Sees, Sums, Weighting
from werkbund.aggregation.contract import LocalResult
from werkbund.core.arrays import Arrays, Float32Array, Float64Array, Int64Array
from werkbund.core.errors import ClientError, FederationError
from werkbund.core.kinds import Field
from werkbund.core.store import Store
from werkbund.core.types import Replies, RoundRecord, Tasks
from werkbund.engine import (
    Checkpoint,
    Grid,
    InProcessGrid,
    LocalWork,
    RunState,
    Strategy,
    Worker,
    load_checkpoint,
    rounds,
    save_checkpoint,
)
from werkbund.engine.kinds import TRAIN
from werkbund.federation.families.networks import NetworkSimulation
from werkbund.learner import CohortTrainer, ControlledGradient, LocalObjective, ModelSpec, TrainingPlan, build_network
from werkbund.plant.offers import OFFERS, Offer, Plot
from werkbund.selection import CohortSize, Everyone, Uniform

CHANGE, OWN, CONTROL = "control_change", "own_control", "control"


@dataclass(frozen=True)
class ScaffoldHalf:
    """Keep each client's control variate: c_i+ = c_i - c + (w - y) / (steps * learning rate)."""

    weighted: ClassVar[tuple[str, ...]] = ()

    def before(self, sent: Arrays, clients: Int64Array, store: Store) -> Arrays:
        return {CONTROL: sent[CONTROL], OWN: store.rows(OWN, clients, np.zeros_like(sent[CONTROL]))}

    def after(self, sent: Arrays, result: LocalResult, clients: Int64Array, store: Store) -> Arrays:
        way = (result.steps * result.learning_rate)[:, None].astype(np.float32)
        slope = np.divide(-result.update, way, out=np.zeros_like(result.update), where=way > 0)
        change = np.where(way > 0, slope - sent[CONTROL], np.float32(0))
        store.put(OWN, clients, sent[OWN] + change)
        return {CHANGE: change}


@dataclass(frozen=True)
class Scaffold:
    """Move the weights by the mean update, and the control by the clients' changes over all clients."""

    step: float = 1.0

    name: ClassVar[str] = "scaffold"
    card: ClassVar[Card] = Card(
        "SCAFFOLD", "w += step mean d; c += sum dc / N", "Karimireddy 2020", "drift", "dropouts"
    )
    weighting: ClassVar[Weighting] = "equal"
    sees: ClassVar[Sees] = "sum"
    folds: ClassVar[tuple[str, ...]] = (CHANGE,)
    half: ClassVar[ScaffoldHalf] = ScaffoldHalf()

    def init(self, num_parameters: int) -> Carry:
        return {CONTROL: np.zeros(num_parameters, np.float32)}

    def outgoing(self, carry: Carry) -> Arrays:
        return {CONTROL: carry[CONTROL]}

    def begin(self, num_parameters: int) -> Sums:
        return Sums.empty(num_parameters)

    def fold(self, accumulator: Sums, updates: Arrays, weights: Float64Array) -> Sums:
        return accumulator.add(updates, weights)

    def finish(
        self, accumulator: Sums, weights: Float32Array, carry: Carry, closing: Closing = Closing()
    ) -> tuple[Float32Array, Carry]:
        control = carry[CONTROL] + accumulator.mean(CHANGE, closing.num_clients)
        moved = weights + np.float32(self.step) * accumulator.mean(total=closing.total)
        return np.asarray(moved, np.float32), {CONTROL: np.asarray(control, np.float32)}


OBJECTIVE = LocalObjective(rule=ControlledGradient(CONTROL, OWN))
PLAN = TrainingPlan("sgd", 0.3, weight_decay=0.0, epochs=3, batch_size=1000)  # full batches: rows' order is no matter
SIZES = (20, 33, 7, 41)
PARTIAL = Uniform(CohortSize(count=2))


def _scaffold(federation: Any, sizes: Any = SIZES, selector: Any = None, batched: bool = False) -> Federation:
    built: Federation = federation(sizes, plan=PLAN, aggregator=Scaffold(), selector=selector, batched=batched)
    width = built.splits.train.num_features
    network = build_network(ModelSpec("logistic"), width, 0)
    trainer = CohortTrainer(network, PLAN, width, batched, objective=OBJECTIVE)
    work = replace(built.work, trainer=trainer)
    return replace(built, work=work, grid=InProcessGrid(built.grid.clients(), Worker(work.handlers())))


def _done(built: Federation, last: int, state: RunState | None = None) -> tuple[list[RunState], list[RoundRecord]]:
    done = list(rounds(built.grid, built.strategy, built.rules, state or built.state, last))
    return [state for state, _ in done], [record for _, record in done]


def _own(state: RunState) -> Any:
    """Return the control variate of each client: zero where there is none."""
    return kept_by_clients(state).rows(OWN, np.arange(len(SIZES)), np.zeros_like(state.weights))


def _gradient(built: Federation, client: int, weights: Float64Array) -> Float64Array:
    table = built.splits.train.only(client)
    x = np.c_[table.features, np.ones(len(table.labels))].astype(np.float64)
    return np.asarray((1 / (1 + np.exp(-x @ weights)) - table.labels) @ x / len(x))


def _by_hand(built: Federation, cohorts: list[tuple[int, ...]]) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Write out algorithm 1: return x, c and the c_i after these cohorts, in double precision."""
    x: Float64Array = built.state.weights.astype(np.float64)
    c, own = np.zeros_like(x), np.zeros((built.splits.train.num_clients, len(x)))
    for cohort in cohorts:
        moves, changes = [], []
        for i in cohort:
            y = x
            for _ in range(PLAN.epochs):
                y = y - PLAN.learning_rate * (_gradient(built, i, y) - own[i] + c)
            plus = own[i] - c + (x - y) / (PLAN.epochs * PLAN.learning_rate)
            moves.append(y - x)
            changes.append(plus - own[i])
            own[i] = plus
        x = x + np.mean(moves, axis=0)
        c = c + np.sum(changes, axis=0) / len(own)
    return x, c, own


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("selector", [None, PARTIAL], ids=["everyone", "partial"])
def test_it_is_algorithm_1_written_by_hand(selector: Any, batched: bool, federation: Any) -> None:
    built = _scaffold(federation, selector=selector, batched=batched)
    states, records = _done(built, 6)
    cohorts = [record.cohort for record in records]
    assert selector is None or len({*cohorts}) > 1
    x, c, own = _by_hand(built, cohorts)
    np.testing.assert_allclose(states[-1].weights, x, atol=1e-5)
    np.testing.assert_allclose(states[-1].carry[CONTROL], c, atol=1e-5)
    np.testing.assert_allclose(_own(states[-1]), own, atol=1e-5)


def test_the_servers_control_is_the_mean_of_all_clients_controls(federation: Any) -> None:
    for state in _done(_scaffold(federation, selector=PARTIAL), 6)[0]:
        np.testing.assert_allclose(state.carry[CONTROL], _own(state).mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(("sizes", "last"), [((30,), 5), (SIZES, 1)], ids=["one client", "round 1"])
def test_where_controls_cancel_it_is_federated_averaging(sizes: Any, last: int, federation: Any) -> None:
    usual = federation(sizes, plan=PLAN, aggregator=FedAvg("equal", momentum=0.0), batched=False)
    expected, _ = _done(usual, last)
    states, _ = _done(_scaffold(federation, sizes), last)
    np.testing.assert_allclose(states[-1].weights, expected[-1].weights, atol=1e-6)


def test_an_answer_without_what_is_folded_is_a_failure(federation: Any) -> None:
    built = _scaffold(federation)
    trainless = built.with_handlers({TRAIN: federation(SIZES, plan=PLAN).handlers()[TRAIN]})
    with pytest.raises(FederationError, match="its answer lacks control_change"):
        _done(trainless, 1)


def test_a_client_that_fails_after_its_training_keeps_its_old_control_and_the_others_train_once(
    federation: Any,
) -> None:
    built = _scaffold(federation)

    def failing(tasks: Tasks, store: Store, first: bool) -> Replies:
        if first and 2 in tasks.clients:
            raise ClientError("its line is down")
        replies = built.work.train(tasks, store)
        if 2 in tasks.clients:
            raise ClientError("its line is down")
        return replies

    early, late = (built.with_handlers({TRAIN: partial(failing, first=first)}) for first in (True, False))
    expected, states = _done(early, 3)[0][-1], _done(late, 3)[0][-1]
    _same(states, expected)
    assert _own(states).any(axis=1).tolist() == [True, True, False, True]
    np.testing.assert_array_equal(_own(states), _own(expected))


@pytest.mark.parametrize("stopped", [1, 3])
def test_a_resumed_run_has_the_bits_of_one_that_never_stopped(stopped: int, federation: Any, tmp_path: Path) -> None:
    whole, _ = _done(_scaffold(federation, selector=PARTIAL), 5)
    save_checkpoint(tmp_path / "it", Checkpoint.of(whole[stopped - 1]))
    stored = load_checkpoint(tmp_path / "it")
    assert "world.kept.pending.own_control.rows" in stored.arrays
    resumed, _ = _done(_scaffold(federation, selector=PARTIAL), 5, RunState.of_checkpoint(stored))
    _same(resumed[-1], whole[-1])


def _same(one: RunState, other: RunState) -> None:
    np.testing.assert_array_equal(one.weights, other.weights)
    np.testing.assert_array_equal(one.carry[CONTROL], other.carry[CONTROL])


FOLDED = Field("sums", CHANGE, "change of the client's control variate", ("parameters",), "f")


def _controlled(simulation: Any) -> LocalWork:
    assert isinstance(simulation, NetworkSimulation)
    plan, width = simulation.trainer.plan, simulation.preparation.num_features
    trainer = CohortTrainer(simulation.network, plan, width, False, objective=OBJECTIVE)
    return replace(simulation.work(), trainer=trainer, weighting="equal", half=ScaffoldHalf(), folds=Scaffold.folds)


def _handler(plot: Plot) -> Callable[..., Any]:
    return _controlled(plot.parts.simulation).handlers()[TRAIN]


MINE = (
    *(offer for offer in OFFERS if offer.kind != TRAIN),
    Offer(replace(TRAIN, answer=(*TRAIN.answer, FOLDED)), _handler),
)


@pytest.fixture
def plants(tmp_path: Path) -> Learnt:
    return learnt(deploy(tmp_path / "it", training={"batch_size": 64, "batched": False, "learning_rate": 0.2}))


STRATEGY = Strategy(Everyone(), Scaffold())


def _after(grid: Grid, plants: Learnt, state: RunState, last: int) -> list[RunState]:
    return [after for after, _ in rounds(grid, STRATEGY, plants.here.rules, state, last)]


def test_plants_that_start_anew_before_each_round_give_the_bits_of_one_process(plants: Learnt) -> None:
    here = InProcessGrid(plants.here.grid.clients(), Worker(_controlled(plants.here).handlers()))
    state = RunState.begin(plants.here.initial_weights(), STRATEGY)
    for expected in _after(here, plants, state, 3):
        (state,) = _after(plants.grid(MINE), plants, state, expected.round)
        _same(state, expected)
    assert np.abs(state.carry[CONTROL]).max() > 0


@pytest.mark.parametrize("back", [0, 1, 2])
def test_a_server_that_goes_back_finds_the_plants_where_they_were(back: int, plants: Learnt) -> None:
    begin = RunState.begin(plants.here.initial_weights(), STRATEGY)
    whole = [begin, *_after(plants.grid(MINE), plants, begin, 4)]
    _same(_after(plants.grid(MINE), plants, whole[back], 4)[-1], whole[-1])
