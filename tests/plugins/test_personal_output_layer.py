"""An output layer that never leaves its client (Arivazhagan et al., "FedPer", 2019): a list of layers that do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Federation, kept_by_clients
from tests.deployed import deploy, learnt
from werkbund.aggregation import FedAvg
from werkbund.core.arrays import BoolArray, Float32Array
from werkbund.core.rng import keys
from werkbund.core.store import Store
from werkbund.core.types import Replies, RoundRecord, Tasks
from werkbund.engine import (
    Checkpoint,
    InProcessGrid,
    LocalWork,
    RunState,
    Strategy,
    Worker,
    evaluate,
    load_checkpoint,
    rounds,
    save_checkpoint,
)
from werkbund.engine.kinds import EVALUATE, TRAIN
from werkbund.federation.families.networks import NetworkSimulation
from werkbund.flower.wire.codec import decode_answer
from werkbund.learner import (
    CohortTrainer,
    LocalObjective,
    ModelSpec,
    TrainingPlan,
    build_network,
    count_scores,
    weights_of,
)
from werkbund.plant.offers import OFFERS, Offer
from werkbund.selection import CohortSize, Everyone, Uniform

PERSONAL = LocalObjective(leaves=("0",))
MLP, PLAN, SIZES = ModelSpec("mlp", {"hidden": [5]}), TrainingPlan("sgd", 0.2, epochs=2), (20, 33, 7, 41)


def _personal(federation: Any, objective: LocalObjective = PERSONAL, selector: Any = None) -> Federation:
    built: Federation = federation(SIZES, plan=PLAN, batched=False, selector=selector)
    width = built.splits.train.num_features
    network = build_network(MLP, width, 0)
    trainer = CohortTrainer(network, PLAN, width, False, objective=objective)
    work = replace(built.work, trainer=trainer)
    rules = replace(built.rules, fingerprint=trainer.layout.fingerprint)
    state = RunState.begin(weights_of(network), built.strategy)
    grid = InProcessGrid(built.grid.clients(), Worker(work.handlers()))
    return replace(built, work=work, rules=rules, state=state, grid=grid)


def _done(built: Federation, last: int, state: RunState | None = None) -> list[RunState]:
    return [state for state, _ in rounds(built.grid, built.strategy, built.rules, state or built.state, last)]


def _stays(built: Federation) -> BoolArray:
    return ~PERSONAL.shared(built.work.trainer.layout)


def _own(built: Federation, state: RunState) -> Float32Array:
    """Return the weights that each client uses after a round: the common ones, and its output layer if it has one."""
    return np.where(_stays(built) & _has_its_own(state)[:, None], _kept(state), state.weights)


def _has_its_own(state: RunState) -> BoolArray:
    return kept_by_clients(state).knows("personal", np.arange(len(SIZES)))


def _kept(state: RunState) -> Float32Array:
    rows: Float32Array = kept_by_clients(state).rows("personal", np.arange(len(SIZES)), state.weights)
    return rows


def test_the_update_is_exactly_zero_where_layers_stay_and_the_common_ones_never_move(federation: Any) -> None:
    built, answers = _personal(federation), list[Replies]()

    def seen(tasks: Tasks, store: Store) -> Replies:
        answers.append(built.work.train(tasks, store))
        return answers[-1]

    state = _done(built.with_handlers({TRAIN: seen}), 3)[-1]
    stays = _stays(built)
    assert len(answers) == 3
    assert stays.sum() == 5 + 1
    for replies in answers:
        assert not replies.sums["update"][:, stays].any()
        assert replies.sums["update"][:, ~stays].any(axis=1).all()
    np.testing.assert_array_equal(state.weights[stays], built.state.weights[stays])


def test_each_client_goes_on_from_its_own_layer_which_it_alone_trained(federation: Any) -> None:
    built = _personal(federation)
    states = _done(built, 2)
    stays = _stays(built)
    kept = _kept(states[0])
    assert np.isnan(kept[:, ~stays]).all()
    assert len(np.unique(kept[:, stays], axis=0)) == len(SIZES)
    start, key = _own(built, states[0]), _keys(built, 2)
    trained = built.work.trainer.train(built.splits.train, np.arange(len(SIZES)), start, key).weights
    np.testing.assert_array_equal(_kept(states[1])[:, stays], trained[:, stays])


def _keys(built: Federation, round: int) -> Any:
    return keys(built.rules.seed, "training", round, np.arange(len(SIZES)))


def _counted_by_hand(built: Federation, state: RunState) -> dict[str, Any]:
    table, own = built.splits.test, _own(built, state)
    each = [built.work.trainer.score(own[i], table.features[table.rows(i)]) for i in range(len(SIZES))]
    return count_scores(np.concatenate(each), table.labels, table.modes, table.offsets)


@pytest.mark.parametrize("selector", [None, Uniform(CohortSize(count=2))], ids=["everyone", "partial"])
def test_a_client_is_scored_with_its_own_layer_after_a_resume_too(selector: Any, federation: Any) -> None:
    built = _personal(federation, selector=selector)
    state = _done(built, 2)[-1]
    expected = _counted_by_hand(built, state)
    for grid in (built.grid, _personal(federation).grid):  # the second one has done nothing yet
        record: RoundRecord = evaluate(grid, built.rules, state, np.arange(len(SIZES)))
        for name, array in record.counts["test"].items():
            np.testing.assert_array_equal(array, expected[name])


def test_a_client_that_never_trained_uses_the_common_layer(federation: Any) -> None:
    built = _personal(federation, selector=Uniform(CohortSize(count=1)))
    state = _done(built, 1)[-1]
    (client,) = np.flatnonzero(_has_its_own(state)).tolist()
    differs = (_own(built, state) != state.weights).any(axis=1)
    assert np.flatnonzero(differs).tolist() == [client]


@pytest.mark.parametrize("stopped", [1, 3])
def test_a_resumed_run_has_the_bits_of_one_that_never_stopped(stopped: int, federation: Any, tmp_path: Path) -> None:
    whole = _done(_personal(federation), 5)
    save_checkpoint(tmp_path / "it", Checkpoint.of(whole[stopped - 1]))
    state = RunState.of_checkpoint(load_checkpoint(tmp_path / "it"))
    resumed = _done(_personal(federation), 5, state)
    np.testing.assert_array_equal(resumed[-1].weights, whole[-1].weights)
    assert resumed[-1].world.keys() == whole[-1].world.keys()
    for name in whole[-1].world:
        np.testing.assert_array_equal(resumed[-1].world[name], whole[-1].world[name])


def test_where_all_layers_leave_nothing_is_kept_and_it_is_federated_averaging(federation: Any) -> None:
    built = _personal(federation, LocalObjective())
    state = _done(built, 1)[-1]
    assert state.world == {}
    everyone = np.arange(len(SIZES))
    trained = built.work.trainer.train(built.splits.train, everyone, built.state.weights, _keys(built, 1)).weights
    expected = np.average(trained, axis=0, weights=SIZES)
    np.testing.assert_allclose(state.weights, expected, atol=1e-6)


def _work(simulation: Any) -> LocalWork:
    assert isinstance(simulation, NetworkSimulation)
    plan, width = simulation.trainer.plan, simulation.preparation.num_features
    trainer = CohortTrainer(simulation.network, plan, width, False, objective=PERSONAL)
    return replace(simulation.work(), trainer=trainer)


MINE = (
    *(offer for offer in OFFERS if offer.kind not in (TRAIN, EVALUATE)),
    Offer(TRAIN, lambda plot: _work(plot.parts.simulation).handlers()[TRAIN]),
    Offer(EVALUATE, lambda plot: _work(plot.parts.simulation).handlers()[EVALUATE]),
)


def test_at_plants_the_layer_never_leaves_and_is_there_when_a_plant_starts_anew(tmp_path: Path) -> None:
    plants, strategy = learnt(deploy(tmp_path / "it")), Strategy(Everyone(), FedAvg())
    work, rules = _work(plants.here), plants.here.rules
    here = InProcessGrid(plants.here.grid.clients(), Worker(work.handlers()))
    stays, state = ~PERSONAL.shared(work.trainer.layout), RunState.begin(plants.here.initial_weights(), strategy)
    for expected, _ in rounds(here, strategy, rules, state, 3):
        grid = plants.grid(MINE)
        ((state, _),) = rounds(grid, strategy, rules, state, expected.round)
        np.testing.assert_array_equal(state.weights, expected.weights)
        answers = [decode_answer(parcel, TRAIN).replies for ask, parcel in grid.answered if ask.tasks.kind == TRAIN]
        assert len(answers) == 3
        for replies in answers:
            assert replies is not None
            assert not replies.sums["update"][0, stays].any()
            assert replies.sums["update"][0, ~stays].any()
    local = evaluate(here, rules, expected, np.arange(3)).counts["test"]["histogram"]
    remote = evaluate(plants.grid(MINE), rules, state, np.arange(3)).counts["test"]["histogram"]
    np.testing.assert_array_equal(remote, local)
