from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from werkbund.aggregation import FedAvg, FedDyn, Krum, Scaffold
from werkbund.aggregation.clusters import CFL, IFCA, Clustering
from werkbund.core import ConfigError, QuorumError, Replies, RoundRecord, Tasks
from werkbund.core.errors import ClientError
from werkbund.core.store import Store
from werkbund.engine import Checkpoint, RunState, load_checkpoint, rounds, save_checkpoint
from werkbund.engine.clusters import CLUSTER, ClusteredStage, ClusteredState, check_clusters, models_apart
from werkbund.engine.kinds import TRAIN
from werkbund.engine.pacing import Pace
from werkbund.selection.questions import LOSS

SIZES = (20, 33, 7, 25)


def _stage(parts: Any, method: Clustering, last: int = 3) -> ClusteredStage:
    """Return a clustered run of a federation, whose first weights differ by a small shift."""
    size = len(parts.state.weights)
    shifts = [np.linspace(0, number, size, dtype=np.float32) for number in range(method.count)]
    states = tuple(RunState.begin(parts.state.weights + shift, parts.strategy) for shift in shifts)
    state = ClusteredState(states, np.zeros(len(parts.grid.clients()), np.int64))
    return ClusteredStage(parts.grid, parts.strategy, parts.rules, method, last, state).begun()


def _done(stage: ClusteredStage) -> tuple[ClusteredStage, list[RoundRecord]]:
    records = []
    for after, record in stage.rounds():
        stage = after
        records.append(record)
    return stage, records


def _two(parts: Any, last: int = 3) -> ClusteredStage:
    """Return a run of two clusters, of clients 0 and 2, and 1 and 3, whom nobody assigns anew."""
    stage = _stage(parts, IFCA(2), last)
    stay = type("Staying", (IFCA,), {"asks_losses": False})(2)
    return replace(stage, clustering=stay, state=replace(stage.state, of=np.array([0, 1, 0, 1])))


def _comparable(record: RoundRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in ("seconds", "clusters", "counts")}


@pytest.mark.parametrize("method", [IFCA(1), CFL()], ids=["ifca", "cfl"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_one_cluster_is_the_federation_bit_for_bit(
    federation: Callable[..., Any], method: Clustering, momentum: float
) -> None:
    parts = federation(SIZES, aggregator=FedAvg(momentum=momentum))
    plain = [(after, record) for after, record in rounds(parts.grid, parts.strategy, parts.rules, parts.state, 3)]
    again = federation(SIZES, aggregator=FedAvg(momentum=momentum))
    stage, records = _done(_stage(again, method))
    assert np.array_equal(stage.state.states[0].weights, plain[-1][0].weights)
    for record, (_, other) in zip(records, plain, strict=True):
        told, expected = _comparable(record), _comparable(other)
        for name in ("edges", "evaluated"):
            np.testing.assert_equal(told.pop(name), expected.pop(name))
        assert told == expected
        np.testing.assert_equal(record.counts, other.counts)


def test_each_cluster_is_a_federation_of_its_members(federation: Callable[..., Any]) -> None:
    """Brute force: each group trained by itself, with the same streams of random numbers."""
    stage, records = _done(_two(federation(SIZES)))
    for number, members in enumerate(([0, 2], [1, 3])):
        parts = federation(SIZES)
        alone = replace(parts.rules, among=np.array(members))
        start = replace(parts.state, weights=_stage(parts, IFCA(2)).state.states[number].weights)
        *_, (after, record) = rounds(parts.grid, parts.strategy, alone, start, 3)
        assert np.array_equal(stage.state.states[number].weights, after.weights)
        assert record.cohort == tuple(members)
    assert records[-1].cohort == (0, 1, 2, 3)
    assert records[-1].clusters["of"] == [0, 1, 0, 1]
    assert records[-1].evaluated["test"].tolist() == [0, 1, 2, 3]


def test_each_client_gets_the_model_with_the_lowest_loss(federation: Callable[..., Any]) -> None:
    parts = federation(SIZES)
    stage, records = _done(_stage(parts, IFCA(3)))
    losses = []
    for state in stage.state.states:
        asked = Tasks(LOSS, 4, np.arange(4), {"weights": state.weights}, {"taken": np.zeros(4, np.int64)})
        losses.append(parts.work.loss(asked, parts.grid._worker.store).clear["loss"])
    assert stage.state.of.tolist() == np.argmin(losses, axis=0).tolist()
    moved = {client: to for client, _, to in records[-1].clusters["moved"]}
    assert stage.state.of.tolist() == [moved.get(c, before) for c, before in enumerate(records[-1].clusters["of"])]


def test_the_first_of_equal_models_wins_and_one_without_clients_stays(federation: Callable[..., Any]) -> None:
    stage = _stage(federation(SIZES), IFCA(2), 1)
    same = tuple(stage.state.states[:1] * 2)
    stage = replace(stage, state=replace(stage.state, states=same)).begun()
    assert stage.state.of.tolist() == [0, 0, 0, 0]
    after, _ = stage.next_round()
    assert np.array_equal(after.states[1].weights, same[1].weights)
    assert after.states[1].round == 1


def test_a_client_that_does_not_tell_its_loss_stays_and_is_named(federation: Callable[..., Any]) -> None:
    parts = federation(SIZES)

    def loss(tasks: Tasks, store: Store) -> Replies:
        if 3 in tasks.clients and len(tasks) == 1:
            raise ClientError("does not tell")
        if 3 in tasks.clients:
            raise ClientError("ask each alone")
        told: Replies = parts.work.loss(tasks, store)
        return replace(told, clear={"loss": np.where(tasks.clients == 1, np.nan, told.clear["loss"])})

    stage = _stage(parts.with_handlers({LOSS: loss}), IFCA(2), 2)
    stage = replace(stage, state=replace(stage.state, of=np.array([0, 1, 0, 1])))
    after, record = stage.next_round()
    assert after.of[[1, 3]].tolist() == [1, 1]
    assert record.clusters["untold"] == [1, 3]
    assert [failure.client for failure in record.failures] == [3]
    assert "loss, for its cluster" in record.failures[0].reason


def test_a_cluster_that_does_not_answer_stays_and_the_others_go_on(federation: Callable[..., Any]) -> None:
    parts, broken = federation(SIZES), {1, 3}

    def train(tasks: Tasks, store: Store) -> Replies:
        if broken & set(tasks.clients.tolist()):
            raise ClientError("is broken")
        told: Replies = parts.work.train(tasks, store)
        return told

    stage = _two(parts.with_handlers({TRAIN: train}))
    before = stage.state.weights
    after, record = stage.next_round()
    assert not np.array_equal(after.weights[0], before[0])
    assert np.array_equal(after.weights[1], before[1])
    assert [failure.client for failure in record.failures] == [1, 3]
    assert [state.round for state in after.states] == [1, 1]
    broken |= {0, 2}
    with pytest.raises(QuorumError):
        stage.next_round()


def test_a_resumed_run_has_the_same_bits(federation: Callable[..., Any], tmp_path: Any) -> None:
    whole, _ = _done(_stage(federation(SIZES, aggregator=FedAvg(momentum=0.9)), IFCA(2), 4))
    half, _ = _done(_stage(federation(SIZES, aggregator=FedAvg(momentum=0.9)), IFCA(2), 2))
    save_checkpoint(tmp_path / "checkpoint.npz", half.checkpoint(half.keepsake, {}))
    stored = load_checkpoint(tmp_path / "checkpoint.npz")
    again = _stage(federation(SIZES, aggregator=FedAvg(momentum=0.9)), IFCA(2), 4)
    resumed, _ = _done(replace(again, state=ClusteredState.of_checkpoint(stored)))
    assert np.array_equal(resumed.state.weights, whole.state.weights)
    assert np.array_equal(resumed.state.of, whole.state.of)
    for name, array in whole.checkpoint(None, {}).arrays.items():
        assert np.array_equal(resumed.checkpoint(None, {}).arrays[name], array), name


def test_what_is_one_for_all_is_stored_once(federation: Callable[..., Any]) -> None:
    stage, _ = _done(_two(federation(SIZES)))
    stage = replace(stage, state=replace(stage.state, states=tuple(_with_world(one) for one in stage.state.states)))
    arrays = Checkpoint.of(stage.state).arrays
    assert [name for name in arrays if name.endswith("world.kept")] == ["0.world.kept"]
    restored = ClusteredState.of_checkpoint(Checkpoint.of(stage.state))
    assert [one.world["kept"].tolist() for one in restored.states] == [[1.0], [1.0]]


def _with_world(state: RunState) -> RunState:
    return replace(state, world={"kept": np.ones(1)})


def test_an_earlier_round_comes_back_with_its_members(federation: Callable[..., Any]) -> None:
    stage, _ = _done(_two(federation(SIZES)))
    later = replace(stage, state=replace(stage.state, of=np.zeros(4, np.int64)))
    back = later.at(3, stage.keepsake)
    assert np.array_equal(back.state.weights, stage.state.weights)
    assert back.state.of.tolist() == [0, 1, 0, 1]
    apart = models_apart(back.learnt, 4)
    assert [members.tolist() for members, _ in apart] == [[0, 2], [1, 3]]
    assert np.array_equal(apart[1][1]["weights"], stage.state.states[1].weights)
    assert CLUSTER not in apart[1][1]


def test_everybody_is_scored_with_its_own_model(federation: Callable[..., Any]) -> None:
    parts = federation(SIZES)
    stage, _ = _done(_two(parts))
    together, each = stage.evaluate(), stage.evaluate(np.array([0, 1, 3]))
    assert each.evaluated["test"].tolist() == [0, 1, 3]
    for place, client in enumerate([0, 1, 3]):
        one = ClusteredStage.evaluate(stage, np.array([client]))
        for name, rows in each.counts["test"].items():
            assert np.array_equal(rows[place], one.counts["test"][name][0])
    everyone = stage.evaluate(np.arange(4))
    for name, rows in together.counts["test"].items():
        assert np.allclose(rows.sum(axis=0), everyone.counts["test"][name].sum(axis=0))


def test_a_cluster_splits_only_if_all_members_have_answered(federation: Callable[..., Any]) -> None:
    """Whoever is missing would stay by chance."""
    parts, broken = federation(SIZES), set[int]()

    def train(tasks: Tasks, store: Store) -> Replies:
        if broken & set(tasks.clients.tolist()):
            raise ClientError("is broken")
        told: Replies = parts.work.train(tasks, store)
        return told

    eager = CFL(converged=1e6, moving=1e-6, warm_up=1, noise=0.0)
    stage = _stage(parts.with_handlers({TRAIN: train}), eager)
    stage = replace(stage, state=stage.next_round()[0])
    broken.add(2)
    assert stage.next_round()[0].of.tolist() == [0, 0, 0, 0]
    broken.clear()
    after, record = stage.next_round()
    assert len(after.states) == 2
    assert np.array_equal(after.states[0].weights, after.states[1].weights)
    assert {client for client, _, _ in record.clusters["moved"]} == set(np.flatnonzero(after.of).tolist())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pace": Pace("first", 2)}, "strategy.pace.close must be all"),
        ({"aggregator": Krum(hostile=0)}, "needs no least number of clients"),
        ({"aggregator": Scaffold()}, "of which clients keep nothing"),
        ({"aggregator": FedDyn()}, "of which clients keep nothing"),
    ],
)
def test_parts_that_know_one_federation_alone_are_refused(
    federation: Callable[..., Any], change: dict[str, Any], message: str
) -> None:
    parts = federation(SIZES)
    with pytest.raises(ConfigError, match=message):
        check_clusters(replace(parts.strategy, **change), parts.rules, parts.grid)
