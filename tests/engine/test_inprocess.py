from __future__ import annotations

import time

import numpy as np
import pytest

from tests.conftest import Doing
from werkbund.core import ClientError, Failure, Replies, Tasks
from werkbund.core.kinds import Kind
from werkbund.engine import InProcessGrid, Worker
from werkbund.engine.kinds import EVALUATE, TRAIN
from werkbund.engine.worker import forgetful

NAMES = ("Hof", "Ulm", "Jena")


def _ask(kind: str = "count", clients: tuple[int, ...] = (0, 1, 2)) -> Tasks:
    return Tasks(Kind(kind), 1, np.array(clients), {"all": np.ones(2)}, {"own": np.array(clients) * 10.0})


def _echo(tasks: Tasks) -> Replies:
    return Replies(tasks.kind, tasks.round, tasks.clients, {"own": tasks.own["own"]})


def test_a_cohort_is_one_call() -> None:
    sizes: list[int] = []

    def work(tasks: Tasks) -> Replies:
        sizes.append(len(tasks))
        return _echo(tasks)

    grid = InProcessGrid(NAMES, Doing(work))
    grid.send(_ask())
    assert grid.clients() == NAMES
    assert sizes == []
    assert [len(arrival) for arrival in grid.receive(1.0) if isinstance(arrival, Replies)] == [3]
    assert sizes == [3]
    assert list(grid.receive(1.0)) == []


def test_a_clients_error_is_that_clients_failure() -> None:
    def work(tasks: Tasks) -> Replies:
        if 1 in tasks.clients:
            raise ZeroDivisionError("no rows")
        return _echo(tasks)

    grid = InProcessGrid(NAMES, Doing(work))
    grid.send(_ask())
    arrivals = list(grid.receive(1.0))
    assert [a for a in arrivals if isinstance(a, Failure)] == [Failure(1, 1, "ZeroDivisionError: no rows")]
    replies = [a for a in arrivals if isinstance(a, Replies)]
    assert [int(reply.clients[0]) for reply in replies] == [0, 2]
    assert [float(reply.sums["own"][0]) for reply in replies] == [0.0, 20.0]  # each with its own row of the tasks


def test_work_that_has_not_begun_when_the_time_is_over_is_dropped() -> None:
    def work(tasks: Tasks) -> Replies:
        time.sleep(0.03)
        return _echo(tasks)

    grid = InProcessGrid(NAMES, Doing(work))
    grid.send(_ask("slow"))
    grid.send(_ask("late"))
    assert [arrival.kind for arrival in grid.receive(0.01) if isinstance(arrival, Replies)] == [Kind("slow")]
    assert list(grid.receive(1.0)) == []


def test_the_time_is_kept_while_clients_are_asked_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("werkbund.engine.inprocess.time.monotonic", lambda: clock[0])

    def work(tasks: Tasks) -> Replies:
        clock[0] += 2.0
        raise OSError("disk full")

    grid = InProcessGrid(NAMES, Doing(work))
    grid.send(_ask())
    assert len(list(grid.receive(5.0))) == 2


def test_a_keyboard_interrupt_is_nobodys_failure() -> None:
    def work(tasks: Tasks) -> Replies:
        raise KeyboardInterrupt

    grid = InProcessGrid(NAMES, Doing(work))
    grid.send(_ask())
    with pytest.raises(KeyboardInterrupt):
        list(grid.receive(1.0))


def test_a_worker_without_the_kind_says_what_it_knows() -> None:
    worker = Worker({TRAIN: forgetful(_echo), EVALUATE: forgetful(_echo)})
    with pytest.raises(ClientError, match="must be one of evaluate, train, got 'tree'"):
        worker(_ask("tree"))
    assert len(worker(_ask("train"))) == 3
