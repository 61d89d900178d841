"""Rounds that close before everybody has answered, beside a simulation by hand of who comes when."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.aggregation.golden import ROWS, START, UPDATES
from tests.conftest import Federation
from werkbund.aggregation import FedAvg
from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.rng import keys
from werkbund.core.store import RowStore
from werkbund.core.types import Replies, RoundRecord, Tasks
from werkbund.engine import (
    Checkpoint,
    InProcessGrid,
    Rules,
    RunState,
    Strategy,
    Worker,
    load_checkpoint,
    one_round,
    rounds,
    save_checkpoint,
)
from werkbund.engine.fleet import Fleet
from werkbund.engine.kinds import TRAIN
from werkbund.engine.pacing import Pace, discounted
from werkbund.engine.world import Circumstances, WorldGrid
from werkbund.privacy import Stack
from werkbund.selection import build_selector

CLIENTS, WANTED, ROUNDS = 5, 3, 5
SPEEDS = np.array([10.0, 40.0, 17.0, 23.0, 5.5])
RULE = FedAvg("equal", momentum=0.0)
BUFFER = Pace("buffer", WANTED)


def _tasks(rules: Rules, state: RunState, clients: Int64Array) -> Tasks:
    round = state.round + 1
    own = {"factor": np.ones(len(clients)), "key": keys(rules.seed, "training", round, clients)}
    return Tasks(TRAIN, round, clients, {"weights": state.weights, "rate": np.ones(())}, own)


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
    made: Federation = federation((40,) * CLIENTS, aggregator=RULE, batched=False)
    return replace(made, strategy=replace(made.strategy, pace=BUFFER))


def _done(built: Federation, rounds: int = ROUNDS) -> tuple[list[RunState], list[RoundRecord]]:
    grid, states, records = _world(built), [built.state], []
    for _ in range(rounds):
        state, record = one_round(grid, built.strategy, built.rules, states[-1])
        states.append(state)
        records.append(record)
    return states, records


def _counted(record: RoundRecord, before: RunState, after: RunState) -> set[tuple[int, int]]:
    """Return whose answers a round counts, each with the round in which it was asked."""
    late = {(record.round - age, client) for client, age in record.stale}
    fresh = {(record.round, client) for client in record.cohort if client not in record.owing}
    return late | fresh


def _by_hand(built: Federation) -> tuple[list[float], list[set[tuple[int, int]]], list[Float64Array]]:
    """Return when each round closes, whose answers of which rounds it counts, and the weights after it."""
    clock, under_way, free = 0.0, list[tuple[float, int, int, Float64Array]](), list(range(CLIENTS))
    weights, clocks, counted, path = built.state.weights.astype(float), list[float](), [], list[Float64Array]()
    for round in range(1, ROUNDS + 1):
        state = RunState(round - 1, weights.astype(np.float32), {})
        for client in free:
            reply = built.work.train(_tasks(built.rules, state, np.array([client])), RowStore())
            update = reply.sums["update"][0].astype(float)
            heapq.heappush(under_way, (clock + 40 / SPEEDS[client], client, round, update))
        first = [heapq.heappop(under_way) for _ in range(WANTED)]
        clock, free = first[-1][0], sorted(client for _, client, _, _ in first)
        weights = weights + sum(update / np.sqrt(1 + round - begun) for _, _, begun, update in first) / WANTED
        clocks.append(clock)
        counted.append({(begun, client) for _, client, begun, _ in first})
        path.append(weights)
    return clocks, counted, path


def test_each_round_closes_at_the_third_arrival_of_the_simulated_clock(built: Federation) -> None:
    clocks, counted, _ = _by_hand(built)
    states, records = _done(built)
    assert [state.world["clock"] for state in states[1:]] == pytest.approx(clocks)
    assert [record.simulated_seconds for record in records] == pytest.approx(np.diff([0.0, *clocks]))
    assert [_counted(*one) for one in zip(records, states, states[1:], strict=False)] == counted


def test_who_was_late_counts_in_a_later_round_by_its_staleness(built: Federation) -> None:
    _, counted, path = _by_hand(built)
    states, records = _done(built)
    assert {client for _, client in counted[0]} == {1, 2, 3}
    assert any(age > 1 for record in records for _, age in record.stale)
    for state, weights in zip(states[1:], path, strict=True):
        np.testing.assert_allclose(state.weights, weights, rtol=1e-5, atol=1e-6)


def test_nothing_that_was_asked_is_lost_or_counted_twice(built: Federation) -> None:
    whole = list(rounds(_world(built), built.strategy, built.rules, built.state, ROUNDS))
    records = [record for _, record in whole]
    asked = [(record.round, client) for record in records for client in record.cohort]
    counted = [one for record in records for one in _counted(record, built.state, built.state)]
    assert sorted(counted) == sorted(asked)
    assert records[-1].owing == ()  # in the last round everybody is waited for
    assert not len(whole[-1][0].due)
    assert all(record.owing for record in records[:-1])


@pytest.mark.parametrize("stopped", [1, 2, 4])
@pytest.mark.parametrize("pace", [BUFFER, Pace("first", WANTED)])
def test_a_state_with_answers_under_way_goes_on_to_the_same_bits(
    stopped: int, pace: Pace, built: Federation, tmp_path: Path
) -> None:
    built = replace(built, strategy=replace(built.strategy, pace=pace))
    whole, records = _done(built)
    save_checkpoint(tmp_path / "it", Checkpoint.of(whole[stopped]))
    state = RunState.of_checkpoint(load_checkpoint(tmp_path / "it"))
    assert len(state.due) or pace.close == "first"
    grid = _world(built)
    for expected, told in zip(whole[stopped + 1 :], records[stopped:], strict=True):
        state, record = one_round(grid, built.strategy, built.rules, state)
        np.testing.assert_array_equal(state.weights, expected.weights)
        assert state.world["clock"] == expected.world["clock"]
        assert (record.stale, record.owing, record.cohort) == (told.stale, told.owing, told.cohort)


@pytest.mark.parametrize("close", ["buffer", "first"])
def test_with_all_answers_awaited_it_is_federated_averaging_bit_for_bit(close: Any, built: Federation) -> None:
    full = replace(built, strategy=replace(built.strategy, pace=Pace()))
    awaited = replace(built, strategy=replace(built.strategy, pace=Pace(close, CLIENTS)))
    for one, other in zip(_done(full)[0], _done(awaited)[0], strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)


def test_a_round_of_the_first_waits_for_so_many_of_its_own(built: Federation) -> None:
    first = replace(built, strategy=replace(built.strategy, pace=Pace("first", 2)))
    _, records = _done(first)
    for record in records:
        fresh = set(record.cohort) - set(record.owing)
        assert len(fresh) == min(2, len(record.cohort))
    assert any(record.stale for record in records)


def test_an_update_that_is_too_old_fails_by_name_and_its_client_is_asked_again(built: Federation) -> None:
    strict = replace(built, strategy=replace(built.strategy, pace=replace(BUFFER, most_stale=0)))
    _, records = _done(strict, 8)
    late = [(record.round, failure) for record in records for failure in record.failures]
    assert late
    assert all("rounds late, and at most 0 count (strategy.pace)" in failure.reason for _, failure in late)
    assert not any(record.stale for record in records)
    round, failure = late[0]
    assert any(failure.client in record.cohort for record in records if record.round > round)


def test_everybodys_held_out_rows_are_scored_whoever_is_under_way(built: Federation) -> None:
    _, records = _done(built)
    assert all(record.evaluated["test"].tolist() == list(range(CLIENTS)) for record in records)
    counted = {record.counts["test"]["histogram"].sum() for record in records}
    assert len(counted) == 1


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [("equal", (1.143096, -1.979289, 0.480474, 3.551184)), ("examples", (1.093096, -1.937623, 0.447140, 3.434518))],
)
def test_the_golden_buffer_of_three_ages(weighting: Any, expected: Sequence[float]) -> None:
    rule = FedAvg(weighting, momentum=0.0)
    weights = np.ones(3) if weighting == "equal" else ROWS
    sums = rule.begin(4)
    for update, weight, age in zip(UPDATES[0], weights, (0, 1, 3), strict=True):
        rows = {"update": (update * weight)[None].astype(np.float32), "weight": np.array([weight])}
        reply = discounted(Replies(TRAIN, 1, np.array([0]), rows), BUFFER.discount(age))
        sums = rule.fold(sums, {"update": reply.sums["update"]}, reply.sums["weight"])
    np.testing.assert_allclose(rule.finish(sums, START, {})[0], expected, atol=2e-6)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"close": "buffer"}, "strategy.pace.updates must be given with first and buffer alone, got None"),
        ({"updates": 2}, "strategy.pace.updates must be given with first and buffer alone, got 2"),
        ({"close": "some"}, "strategy.pace.close must be all, first or buffer, got 'some'"),
        ({"close": "first", "updates": 0}, "strategy.pace.updates must be at least 1, got 0"),
        ({"close": "first", "updates": 2, "exponent": -1.0}, "strategy.pace.exponent must be at least 0"),
        ({"close": "first", "updates": 2, "exponent": float("nan")}, "strategy.pace.exponent must be at least 0"),
        ({"close": "first", "updates": 2, "most_stale": -1}, "strategy.pace.most_stale must be at least 0"),
    ],
)
def test_a_pace_out_of_range_is_refused_by_name(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault.replace(".", r"\.")):
        Pace(**values)


def test_layers_over_a_cohort_and_rules_that_fold_more_are_refused() -> None:
    selector = build_selector("all")
    layers: Any = (object(),)
    with pytest.raises(ConfigError, match="must be all with layers of privacy"):
        Strategy(selector, RULE, Stack(layers), pace=BUFFER)

    class Folding(FedAvg):
        folds = ("control",)

    with pytest.raises(ConfigError, match="must be all with fedavg, which keeps or folds more than updates"):
        Strategy(selector, Folding(), pace=BUFFER)


def test_a_selector_that_asks_before_it_chooses_is_refused(built: Federation) -> None:
    asking = replace(built, strategy=replace(built.strategy, selector=build_selector("pow-d", count=2)))
    with pytest.raises(ConfigError, match="must be all with a selector that asks clients before it chooses"):
        one_round(_world(asking), asking.strategy, asking.rules, asking.state)
