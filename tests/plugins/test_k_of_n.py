"""A round that closes at the third of five answers, and counts the late ones in a later round: buffered asynchronous
training (Nguyen et al., "FedBuff", AISTATS 2022, algorithm 1), as a function over `Asking.send` and `receive`.
"""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Federation
from werkbund.aggregation import Closing, FedAvg
from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.kinds import Kind
from werkbund.core.rng import keys
from werkbund.core.store import RowStore
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine import Checkpoint, InProcessGrid, Rules, RunState, Worker, load_checkpoint, save_checkpoint
from werkbund.engine.asking import Asking
from werkbund.engine.fleet import Fleet
from werkbund.engine.kinds import TRAIN
from werkbund.engine.world import Circumstances, WorldGrid

CLIENTS, WANTED, ROUNDS = 5, 3, 5
SPEEDS = np.array([10.0, 40.0, 17.0, 23.0, 5.5])
RULE = FedAvg("equal", momentum=0.0)


def staleness_weight(late: int) -> float:
    """Return what an update counts that was asked for so many rounds ago: Nguyen et al., section 5."""
    return float(1 / np.sqrt(1 + late))


def train_tasks(rules: Rules, state: RunState, clients: Int64Array) -> Tasks:
    """Ask these clients to train from the present weights."""
    round = state.round + 1
    own = {"factor": np.ones(len(clients)), "key": keys(rules.seed, "training", round, clients)}
    return Tasks(TRAIN, round, clients, {"weights": state.weights, "rate": np.ones(())}, own)


def buffered_round(grid: WorldGrid, rules: Rules, state: RunState) -> tuple[RunState, list[Replies]]:
    """Ask who is free, take the first answers that come, and leave the others under way."""
    grid.go_back(state.world)
    available, _ = grid.situation(state.round + 1)
    owed: dict[int, dict[int, Kind]] = {}
    for asked, client in state.selector_state.get("owed", ()):
        owed.setdefault(int(asked), {})[int(client)] = TRAIN
    asking = Asking(grid, rules.form(len(state.weights)), owed=owed)
    busy = np.array([client for kinds in owed.values() for client in kinds], np.int64)
    asking.send(train_tasks(rules, state, np.setdiff1d(available, busy)))
    taken: list[Replies] = []
    for arrival in asking.receive(rules.timeout_s):
        if not isinstance(arrival, Failure):
            taken.append(arrival)
        if len(taken) == WANTED:
            break
    sums = RULE.begin(len(state.weights))
    for replies in sorted(taken, key=lambda replies: (replies.round, int(replies.clients[0]))):
        factor = np.float32(staleness_weight(state.round + 1 - replies.round))
        sums = RULE.fold(sums, {"update": replies.sums["update"] * factor}, replies.sums["weight"] * float(factor))
    weights, carry = RULE.finish(sums, state.weights, state.carry, Closing(total=float(len(taken))))
    pairs = sorted((asked, client) for asked, kinds in asking.owed.items() for client in kinds)
    left = {"owed": np.array(pairs, np.int64).reshape(-1, 2)}
    return state.next(weights, carry, left, grid.state()), taken


def _fleet() -> Fleet:
    same: dict[str, float] = dict.fromkeys(Fleet.__dataclass_fields__, 0.0)
    same |= {"up_bytes_per_s": 1e12, "down_bytes_per_s": 1e12, "battery_joules": np.inf, "shift_hours": 24.0}
    values: dict[str, Any] = {name: np.full(CLIENTS, value) for name, value in same.items()}
    return Fleet(**{**values, "examples_per_s": SPEEDS})


def _world(built: Federation) -> WorldGrid:
    examples = built.splits.train.sizes.astype(float)
    around = Circumstances(examples, examples, 0.0, np.inf, seed=0)
    inner = InProcessGrid(built.grid.clients(), Worker(built.handlers()))
    return WorldGrid(inner, _fleet(), around, one_by_one=True)


@pytest.fixture
def built(federation: Any) -> Federation:
    return federation((40, 40, 40, 40, 40), aggregator=RULE, batched=False)  # type: ignore[no-any-return]


def _done(built: Federation, rounds: int = ROUNDS) -> tuple[list[RunState], list[list[Replies]]]:
    grid, states, taken = _world(built), [built.state], []
    for _ in range(rounds):
        state, replies = buffered_round(grid, built.rules, states[-1])
        states.append(state)
        taken.append(replies)
    return states, taken


def _by_hand(built: Federation) -> tuple[list[float], list[list[tuple[int, int]]], list[Float64Array]]:
    """Return when each round closes, whose answers of which rounds it counts, and the weights after it."""
    clock, under_way, free = 0.0, list[tuple[float, int, int, Float64Array]](), list(range(CLIENTS))
    weights, clocks, counted, path = built.state.weights.astype(float), list[float](), [], list[Float64Array]()
    for round in range(1, ROUNDS + 1):
        state = RunState(round - 1, weights.astype(np.float32), {})
        for client in free:
            reply = built.work.train(train_tasks(built.rules, state, np.array([client])), RowStore())
            update = reply.sums["update"][0].astype(float)
            heapq.heappush(under_way, (clock + 40 / SPEEDS[client], client, round, update))
        first = [heapq.heappop(under_way) for _ in range(WANTED)]
        clock, free = first[-1][0], sorted(client for _, client, _, _ in first)
        weights = weights + sum(update / np.sqrt(1 + round - begun) for _, _, begun, update in first) / WANTED
        clocks.append(clock)
        counted.append([(begun, client) for _, client, begun, _ in first])
        path.append(weights)
    return clocks, counted, path


def test_each_round_closes_at_the_third_arrival_of_the_simulated_clock(built: Federation) -> None:
    clocks, counted, _ = _by_hand(built)
    states, taken = _done(built)
    assert [state.world["clock"] for state in states[1:]] == pytest.approx(clocks)
    assert [[(one.round, int(one.clients[0])) for one in replies] for replies in taken] == counted


def test_the_two_that_were_late_are_counted_in_a_later_round_by_their_staleness(built: Federation) -> None:
    _, counted, path = _by_hand(built)
    states, _ = _done(built)
    assert {client for begun, client in counted[0]} == {1, 2, 3}
    assert (1, 0) in counted[1]
    assert any((1, 4) in counts for counts in counted[1:])
    for state, weights in zip(states[1:], path, strict=True):
        np.testing.assert_allclose(state.weights, weights, rtol=1e-5, atol=1e-6)


def test_nothing_that_was_asked_is_lost_or_counted_twice(built: Federation) -> None:
    states, taken = _done(built)
    counted = [(one.round, int(one.clients[0])) for replies in taken for one in replies]
    owed = [tuple(pair) for pair in states[-1].selector_state["owed"].tolist()]
    free: set[int] = set(range(CLIENTS))
    asked = []
    for round, replies in enumerate(taken, 1):
        asked += [(round, client) for client in free]
        free = {int(one.clients[0]) for one in replies}
    assert len(counted) == len(set(counted)) == ROUNDS * WANTED
    assert sorted([*counted, *owed]) == sorted(asked)


@pytest.mark.parametrize("stopped", [1, 2, 4])
def test_a_state_with_answers_under_way_goes_on_to_the_same_bits(
    stopped: int, built: Federation, tmp_path: Path
) -> None:
    whole, _ = _done(built)
    save_checkpoint(tmp_path / "it", Checkpoint.of(whole[stopped]))
    state = RunState.of_checkpoint(load_checkpoint(tmp_path / "it"))
    assert len(state.world["pending"]) == CLIENTS - WANTED
    grid = _world(built)
    for expected in whole[stopped + 1 :]:
        state, _ = buffered_round(grid, built.rules, state)
        np.testing.assert_array_equal(state.weights, expected.weights)
        assert state.world["clock"] == expected.world["clock"]
        np.testing.assert_array_equal(state.selector_state["owed"], expected.selector_state["owed"])


def test_with_all_answers_awaited_it_is_federated_averaging(built: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.WANTED", CLIENTS)
    states, _ = _done(built, 2)
    state = built.state
    for _ in range(2):
        replies = built.work.train(train_tasks(built.rules, state, np.arange(CLIENTS)), RowStore())
        mean = replies.sums["update"].mean(axis=0, dtype=np.float64)
        state = state.next(np.asarray(state.weights + mean, np.float32), {}, {})
    np.testing.assert_allclose(states[-1].weights, state.weights, rtol=1e-5, atol=1e-6)
