"""The grid of one machine: no server, no processes; a whole cohort is one call of the worker."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence

from werkbund.core.arrays import under
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine.worker import Answering
from werkbund.selection.contract import State

KEPT = "kept."
"""Before the names of what clients keep, in the state of a grid."""


class InProcessGrid:
    """Carry tasks to a worker in this process.

    A cohort's tasks of one kind are answered as one batch. If that fails, each client is asked alone, so that one
    client's error is that client's failure.

    Parameters
    ----------
    names
        The clients' names.
    worker
        Answers tasks of any number of clients.
    """

    def __init__(self, names: Sequence[str], worker: Answering) -> None:
        self._names = tuple(names)
        self._worker = worker
        self._waiting: deque[Tasks] = deque()

    def clients(self) -> tuple[str, ...]:
        """Return the clients' names."""
        return self._names

    def state(self) -> State:
        """Return the rows that the clients' store keeps, for a checkpoint."""
        return {f"{KEPT}{name}": array for name, array in self._worker.store.arrays().items()}

    def go_back(self, past: State) -> None:
        """Let the clients keep what they kept then."""
        self._worker.store.go_back(under(KEPT, past))

    def send(self, tasks: Tasks) -> None:
        """Ask each of the tasks' clients; the work is done in `receive`."""
        self._waiting.append(tasks)

    def receive(self, timeout_s: float) -> Iterator[Replies | Failure]:
        """Yield the answers; work that has not begun when the time is over is dropped."""
        deadline = time.monotonic() + timeout_s
        while self._waiting:
            tasks = self._waiting.popleft()
            if time.monotonic() < deadline:
                yield from self._answers(tasks, deadline)

    def _answers(self, tasks: Tasks, deadline: float) -> Iterator[Replies | Failure]:
        try:
            yield self._worker(tasks)
        except Exception as error:  # a client's error, whatever it is, must not end the round
            if len(tasks) == 1:
                yield Failure(int(tasks.clients[0]), tasks.round, f"{type(error).__name__}: {error}")
                return
            for i in range(len(tasks)):
                if time.monotonic() < deadline:
                    yield from self._answers(tasks.take(slice(i, i + 1)), deadline)
