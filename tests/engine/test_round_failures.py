"""What becomes of a round in which clients fail, answer nonsense, or come late."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from werkbund.core import Failure, QuorumError, Replies, RoundRecord, Tasks
from werkbund.core.rng import keys
from werkbund.core.store import Store
from werkbund.engine import RunState, rounds
from werkbund.engine.kinds import EVALUATE, TRAIN
from werkbund.selection import CohortSize, Uniform


def _done(federation: Any, last: int) -> tuple[RunState, list[RoundRecord]]:
    state, records = federation.state, []
    for after, record in rounds(federation.grid, federation.strategy, federation.rules, state, last):
        state = after
        records.append(record)
    return state, records


def _spoilt(federation: Any, client: int, change: Callable[[dict[str, Any]], dict[str, Any]], **other: Any) -> Any:
    """Let one client's training answers be changed on their way."""
    train = federation.handlers()[TRAIN]

    def handler(tasks: Tasks, store: Store) -> Replies:
        if client not in tasks.clients:
            return train(tasks, store)  # type: ignore[no-any-return]
        if len(tasks) > 1:
            raise ValueError("ask each alone")
        reply = train(tasks, store)
        fields: dict[str, Any] = {"sums": change(dict(reply.sums)), **other}
        changed: Replies = replace(reply, **fields)
        return changed

    return federation.with_handlers({TRAIN: handler})


BAD: list[tuple[str, Callable[[dict[str, Any]], dict[str, Any]], dict[str, Any]]] = [
    ("NaN, infinite", lambda sums: {**sums, "update": sums["update"] * np.float32(np.nan)}, {}),
    ("NaN, infinite", lambda sums: {**sums, "update": sums["update"] + np.float32(np.inf)}, {}),
    ("its update has the shape", lambda sums: {**sums, "update": sums["update"][:, 1:]}, {}),
    ("layout 0123456789abcdef", lambda sums: sums, {"fingerprint": "0123456789abcdef"}),
    ("no answer in time", lambda sums: sums, {"round": 7}),
    ("no answer in time", lambda sums: sums, {"clients": np.array([99])}),
    ("its answer lacks update", lambda sums: {"rows": sums["rows"]}, {}),
    ("must have one row a client", lambda sums: {**sums, "rows": np.ones(3)}, {}),
]


@pytest.mark.parametrize(("said", "change", "other"), BAD)
def test_a_bad_answer_is_recorded_and_the_round_goes_on_without_it(
    said: str, change: Any, other: dict[str, Any], federation: Any
) -> None:
    state, (record,) = _done(_spoilt(federation(batched=False), 1, change, **other), 1)
    assert [failure.client for failure in record.failures] == [1]
    assert said in record.failures[0].reason
    table = federation().splits.train
    two = federation([20, 33, 7], batched=False)
    alone = two.work.trainer.train(table, np.array([0, 2]), two.state.weights, keys(0, "training", 1, [0, 2])).weights
    expected = (20 * alone[0].astype(np.float64) + 7 * alone[1]) / 27
    np.testing.assert_allclose(state.weights, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("said", "change", "other"), BAD)
def test_below_the_quorum_the_failed_are_named(said: str, change: Any, other: dict[str, Any], federation: Any) -> None:
    with pytest.raises(QuorumError) as caught:
        _done(_spoilt(federation(quorum=1.0), 1, change, **other), 1)
    assert set(caught.value.reasons) == {"plant 1"}
    assert said in caught.value.reasons["plant 1"]
    assert (caught.value.round, caught.value.needed, caught.value.answered) == (1, 3, 2)


def test_a_client_whose_work_raises_is_recorded(federation: Any) -> None:
    built = federation()
    train = built.handlers()[TRAIN]

    def handler(tasks: Tasks, store: Store) -> Replies:
        if 2 in tasks.clients:
            raise FileNotFoundError("rows.csv")
        return train(tasks, store)  # type: ignore[no-any-return]

    _, records = _done(built.with_handlers({TRAIN: handler}), 2)
    assert [record.failures for record in records] == [
        (Failure(2, round, "FileNotFoundError: rows.csv"),) for round in (1, 2)
    ]


def test_a_slow_client_is_not_waited_for(federation: Any) -> None:
    built = federation(timeout_s=0.05, quorum=0.3, batched=False)
    train = built.handlers()[TRAIN]

    def handler(tasks: Tasks, store: Store) -> Replies:
        if len(tasks) > 1:
            raise ValueError("ask each alone")
        if 1 in tasks.clients:
            time.sleep(0.3)
        return train(tasks, store)  # type: ignore[no-any-return]

    _, (record,) = _done(built.with_handlers({TRAIN: handler}), 1)
    assert Failure(2, 1, "no answer in time (federation.round_timeout_s)") in record.failures
    with pytest.raises(QuorumError, match="plant 2: no answer in time"):
        _done(replace(built.with_handlers({TRAIN: handler}), rules=replace(built.rules, quorum=1.0)), 1)


def test_an_evaluator_that_fails_does_not_count_against_the_quorum(federation: Any) -> None:
    built = federation([9] * 4, selector=Uniform(CohortSize(count=1)), quorum=1.0)

    def handler(tasks: Tasks, store: Store) -> Replies:
        raise MemoryError

    _, (record,) = _done(built.with_handlers({EVALUATE: handler}), 1)
    assert len(record.failures) == 3
    assert record.evaluated["test"].tolist() == list(record.cohort)
