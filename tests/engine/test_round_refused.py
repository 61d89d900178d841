"""What cannot be used never becomes the next state: its sender is left out by name, or the round changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Federation
from werkbund.aggregation import Closing, FedAvg
from werkbund.core.arrays import Arrays, Float32Array
from werkbund.core.errors import ClientError, ConfigError
from werkbund.core.store import Store
from werkbund.core.types import Replies, Tasks
from werkbund.engine import Checkpoint, RunState, load_checkpoint, rounds, save_checkpoint, weights_from_client
from werkbund.engine.kinds import TRAIN
from werkbund.engine.records import remarks_on
from werkbund.engine.round import one_round
from werkbund.engine.state import Strategy
from werkbund.privacy import Departure, Stack

SIZES, LIAR = (20, 33, 7, 41, 12), 3
Change = Callable[[Float32Array], Float32Array]


@dataclass(frozen=True)
class SumAlone:
    """Let the server see updates in their sum alone."""

    on: ClassVar[tuple[str, ...]] = ("update",)
    sums_only: ClassVar[bool] = True

    def leave(self, answers: Arrays, departure: Departure) -> Arrays:
        return {"update": answers["update"]}

    def unwind(self, total: Arrays, departure: Departure) -> Arrays:
        return {"update": total["update"]}


def _lying(built: Federation, change: Change, only: int | None = None) -> Federation:
    """Return a federation of which one client changes its update, in every round or in one."""

    def train(tasks: Tasks, store: Store) -> Replies:
        replies = built.work.train(tasks, store)
        update = replies.sums["update"].copy()
        if only is None or tasks.round == only:
            update[tasks.clients == LIAR] = change(update[tasks.clients == LIAR])
        return replace(replies, sums={**replies.sums, "update": update})

    return built.with_handlers({TRAIN: train})


def _one(value: float) -> Change:
    def change(update: Float32Array) -> Float32Array:
        changed = update.copy()
        changed[:, 0] = value
        return changed

    return change


def _times(factor: float) -> Change:
    return lambda update: update * np.float32(factor)


def _weights(built: Federation, last: int = 4) -> tuple[RunState, list[Any]]:
    state, records = built.state, []
    for after, record in rounds(built.grid, built.strategy, built.rules, state, last):
        state = after
        records.append(record)
    return state, records


def _without_the_liar(federation: Any, **how: Any) -> RunState:
    def train(tasks: Tasks, store: Store) -> Replies:
        if LIAR in tasks.clients:
            raise ClientError("is not there")
        return built.work.train(tasks, store)  # type: ignore[no-any-return]

    built = federation(SIZES, **how)
    return _weights(built.with_handlers({TRAIN: train}))[0]


@pytest.mark.parametrize(
    "change", [_one(3e38), _one(-3e38), _one(1e30), _one(1e9), _times(1e9), _times(-1e30), _times(np.nan)]
)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_who_makes_a_sum_useless_is_left_out_and_named_and_nobody_else(
    change: Change, momentum: float, federation: Any
) -> None:
    rule = FedAvg(momentum=momentum)
    with np.errstate(over="ignore", invalid="ignore"):
        state, records = _weights(_lying(federation(SIZES, aggregator=rule), change))
    assert [[failure.client for failure in record.failures] for record in records] == [[LIAR]] * 4
    assert not any(record.refused for record in records)
    np.testing.assert_array_equal(state.weights, _without_the_liar(federation, aggregator=rule).weights)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(factor=st.floats(-1e6, 1e6), clip=st.floats(0.01, 5))
def test_clipped_a_liar_moves_the_weights_by_no_more_than_its_share_of_twice_the_bound(
    factor: float, clip: float, federation: Any
) -> None:
    """In one round from the same weights: |with - without| <= its share of all weights times twice the bound."""
    honest = federation(SIZES)
    clipped = replace(honest, strategy=replace(honest.strategy, clip_norm=clip))
    lying = _lying(clipped, _times(factor))
    with_it, record = one_round(lying.grid, lying.strategy, lying.rules, lying.state)

    def away(tasks: Tasks, store: Store) -> Replies:
        if LIAR in tasks.clients:
            raise ClientError("is not there")
        return honest.work.train(tasks, store)  # type: ignore[no-any-return]

    absent = clipped.with_handlers({TRAIN: away})
    without, _ = one_round(absent.grid, absent.strategy, absent.rules, absent.state)
    share = SIZES[LIAR] / sum(SIZES)
    assert np.linalg.norm(with_it.weights - without.weights) <= share * 2 * clip * (1 + 1e-4) + 1e-5
    assert record.failures == ()


def test_clipping_that_is_off_or_far_away_changes_no_bit(federation: Any) -> None:
    plain = federation(SIZES)
    far = replace(plain, strategy=replace(plain.strategy, clip_norm=1e6))
    np.testing.assert_array_equal(_weights(plain)[0].weights, _weights(far)[0].weights)


@pytest.mark.parametrize("change", [_one(3e38), _one(-3e38), _times(1e12), _times(-1e30)])
def test_where_the_sum_alone_is_seen_the_round_changes_nothing_and_the_next_goes_on(
    change: Change, federation: Any
) -> None:
    built = federation(SIZES, aggregator=FedAvg(momentum=0.9))
    stack = Stack((SumAlone(),))
    built = replace(built, strategy=replace(built.strategy, stack=stack), work=replace(built.work, stack=stack))
    built = built.with_handlers({})
    with np.errstate(over="ignore", invalid="ignore"):
        state, records = _weights(_lying(built, change, only=2))
    assert [[failure.reason for failure in record.failures] for record in records] == [[]] * 4
    assert [bool(record.refused) for record in records] == [False, True, False, False]
    assert records[1].update_norm == 0
    assert np.isfinite(state.weights).all()
    assert "the weights stay as they were" in remarks_on(records[1], built.grid.clients())["all"]


@dataclass(frozen=True)
class Exploding(FedAvg):
    """Make nonsense of the second round's sums, in the weights or in what it keeps."""

    name: ClassVar[str] = "exploding"
    where: str = "weights"

    def finish(
        self, accumulator: Any, weights: Float32Array, carry: Any, closing: Closing = Closing()
    ) -> tuple[Float32Array, Any]:
        moved, kept = super().finish(accumulator, weights, carry, closing)
        count = float(carry.get("count", np.zeros(1))[0]) + 1
        kept = {**kept, "count": np.full(1, count, np.float32)}
        if count == 2:
            poison = np.full_like(moved, np.nan)
            return (poison, kept) if self.where == "weights" else (moved, {**kept, "momentum": poison})
        return moved, kept


@pytest.mark.parametrize("where", ["weights", "momentum"])
def test_a_rule_of_ones_own_that_fails_keeps_the_last_state_and_so_does_the_checkpoint(
    where: str, federation: Any, tmp_path: Path
) -> None:
    built = federation(SIZES, aggregator=Exploding(where=where), training_rows=np.array(SIZES, np.float64))
    states = [state for state, _ in rounds(built.grid, built.strategy, built.rules, built.state, 2)]
    np.testing.assert_array_equal(states[0].weights, states[1].weights)
    assert {name: array.tolist() for name, array in states[0].carry.items()} == {
        name: array.tolist() for name, array in states[1].carry.items()
    }
    save_checkpoint(tmp_path / "state", Checkpoint.of(states[1]))
    again = RunState.of_checkpoint(load_checkpoint(tmp_path / "state"))
    np.testing.assert_array_equal(again.weights, states[0].weights)
    assert (again.round, again.usual) == (2, states[1].usual)
    assert again.usual["update"] > 0


def test_a_first_client_that_sends_nonsense_is_named(federation: Any) -> None:
    built = _lying(federation(SIZES), _one(1e9))
    with pytest.raises(ClientError, match=r"plant 3 was to train the first weights .* a weight would be beyond 1e\+06"):
        weights_from_client(built.grid, LIAR, built.state.weights, built.rules, 2)


def test_what_stood_out_is_told_by_name(federation: Any) -> None:
    _, records = _weights(_lying(federation(SIZES), _times(100)))
    assert [[client for client, _ in record.outlying] for record in records] == [[LIAR]] * 4
    assert "times as long as the middle one" in remarks_on(records[0], tuple("abcde"))["d"]
    assert all(record.usual_norm > 0 for record in records)


def test_clipping_where_the_sum_alone_is_seen_is_refused(federation: Any) -> None:
    strategy = federation(SIZES).strategy
    with pytest.raises(ConfigError, match=r"clip_norm must see each update"):
        Strategy(strategy.selector, strategy.aggregator, Stack((SumAlone(),)), clip_norm=1.0)
    with pytest.raises(ConfigError, match=r"clip_norm must be above 0"):
        Strategy(strategy.selector, strategy.aggregator, clip_norm=0.0)
