import dataclasses

import numpy as np
import pytest

from werkbund.core import Failure, Replies, Tasks
from werkbund.engine.kinds import TRAIN


def test_tasks_and_replies_are_as_long_as_their_clients() -> None:
    assert len(Tasks(TRAIN, 1, np.arange(3))) == 3
    assert len(Replies(TRAIN, 1, np.arange(0))) == 0


def test_what_travels_cannot_be_reassigned() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Failure(1, 2, "late").client = 3  # type: ignore[misc]


def test_some_rows_of_tasks_keep_all_that_is_shared() -> None:
    weights, keys = np.ones(4), np.arange(10, 13)
    tasks = Tasks(TRAIN, 2, np.array([1, 5, 7]), {"weights": weights}, {"key": keys}, attempt=1, keep=2)
    for rows in (np.array([False, True, False]), slice(1, 2)):
        one = tasks.take(rows)
        assert one.clients.tolist() == [5]
        assert one.own["key"].tolist() == [11]
        assert one.shared["weights"] is weights
        assert (one.kind, one.round, one.attempt, one.keep) == (TRAIN, 2, 1, 2)
    assert tasks.take(np.ones(3, np.bool_)).own["key"] is keys


def test_some_rows_of_replies_keep_what_is_pooled() -> None:
    sums, clear, pooled = np.arange(6.0).reshape(3, 2), np.array([0.5, 0.25, 0.125]), np.ones(2)
    replies = Replies(TRAIN, 2, np.array([1, 5, 7]), {"update": sums}, {"loss": clear}, "f", {"test.seen": pooled})
    two = replies.take(np.array([True, False, True]))
    assert two.clients.tolist() == [1, 7]
    assert two.sums["update"].tolist() == [[0.0, 1.0], [4.0, 5.0]]
    assert two.clear["loss"].tolist() == [0.5, 0.125]
    assert two.pooled["test.seen"] is pooled
    assert two.fingerprint == "f"
    assert replies.take(np.ones(3, np.bool_)).sums["update"] is sums
