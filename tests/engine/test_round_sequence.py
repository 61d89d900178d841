from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest

from werkbund.core import ClientError, Failure, Replies, Tasks
from werkbund.core.rng import keys
from werkbund.core.store import Store
from werkbund.engine import rounds, weights_from_client
from werkbund.engine.kinds import TRAIN


def test_rounds_are_done_up_to_the_last_and_no_further(federation: Any) -> None:
    built = federation()
    done = list(rounds(built.grid, built.strategy, built.rules, built.state, 3))
    assert [state.round for state, _ in done] == [record.round for _, record in done] == [1, 2, 3]
    assert list(rounds(built.grid, built.strategy, built.rules, done[-1][0], 3)) == []


def test_a_caller_that_stops_reading_stops_the_run(federation: Any) -> None:
    built = federation()
    trained: list[int] = []
    train = built.handlers()[TRAIN]

    def handler(tasks: Tasks, store: Store) -> Replies:
        trained.append(tasks.round)
        return train(tasks, store)  # type: ignore[no-any-return]

    built = built.with_handlers({TRAIN: handler})
    assert len(list(islice(rounds(built.grid, built.strategy, built.rules, built.state, 100), 2))) == 2
    assert trained == [1, 2]


def _first(built: Any, client: int, num_rounds: int = 2, grid: Any = None) -> Any:
    return weights_from_client(grid or built.grid, client, built.state.weights, built.rules, num_rounds)


def test_the_first_weights_are_one_clients_local_training(federation: Any) -> None:
    built = federation(kind="mlp")
    weights = built.state.weights
    for number in range(2):
        key = keys(0, f"first client {number}", 0, [1])
        weights = built.work.trainer.train(built.splits.train, np.array([1]), weights, key).weights[0]
    np.testing.assert_allclose(_first(built, 1), weights, rtol=1e-4, atol=1e-6)


def test_the_first_weights_need_no_other_client(federation: Any) -> None:
    built = federation()
    train = built.handlers()[TRAIN]

    def handler(tasks: Tasks, store: Store) -> Replies:
        assert tasks.clients.tolist() == [2]
        return train(tasks, store)  # type: ignore[no-any-return]

    np.testing.assert_array_equal(_first(built.with_handlers({TRAIN: handler}), 2), _first(built, 2))


@pytest.mark.parametrize(
    ("arrivals", "said"),
    [
        ([Failure(1, 0, "table is gone")], "plant 1 was to train .* failed: table is gone"),
        ([], "plant 1 was to train .* failed: no answer in time"),
        ([Replies(TRAIN, 0, np.array([0]))], "plant 1 was to train .* failed: no answer in time"),
        ([Replies(TRAIN, 0, np.array([1]))], "plant 1 was to train .* failed: its weights have the layout unknown"),
    ],
)
def test_a_first_client_that_fails_is_named(arrivals: list[Any], said: str, federation: Any, make_grid: Any) -> None:
    built = federation()
    with pytest.raises(ClientError, match=said):
        _first(built, 1, grid=make_grid(built.grid.clients(), lambda sent: arrivals))


def test_a_first_client_that_diverges_is_named(federation: Any) -> None:
    built = federation()
    train = built.handlers()[TRAIN]

    def handler(tasks: Tasks, store: Store) -> Replies:
        reply = train(tasks, store)
        reply.sums["update"][:] = np.nan
        return reply  # type: ignore[no-any-return]

    with pytest.raises(ClientError, match=r"plant 0 was to train .* NaN"):
        _first(built.with_handlers({TRAIN: handler}), 0)


def test_a_first_client_without_rows_is_named(federation: Any) -> None:
    with pytest.raises(ClientError, match=r"plant 1 was to train .* has no training rows"):
        _first(federation([10, 0]), 1)
