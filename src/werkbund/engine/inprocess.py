"""The grid of one machine: no server, no processes; a whole cohort is one call of the worker."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from werkbund.core.arrays import under
from werkbund.core.kinds import Kind
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine.grid import Grid
from werkbund.engine.masking import Masking
from werkbund.engine.secured import SecuredGrid, SumTerms
from werkbund.engine.worker import Answering, Handler, Worker
from werkbund.privacy.sums import Hub, Participant, Register
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


def grid_in_process(names: Sequence[str], handlers: Mapping[Kind, Handler], sums: SumTerms | None = None) -> Grid:
    """Return a grid of clients in this process, of whose answers sums alone are learnt where `sums` says how.

    For these each has a key of its own, made here, so that the protocol is that of clients that are elsewhere.

    Parameters
    ----------
    names
        The clients' names.
    handlers
        One function a kind of task, as for a `Worker`.
    sums
        How sums are made; None: the server sees every answer.

    Raises
    ------
    ConfigError
        If there are too few clients for so many that collude.
    """
    if sums is None:
        return InProcessGrid(names, Worker(handlers))
    private = [ec.generate_private_key(ec.SECP384R1()) for _ in names]
    public = [key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in private]
    register = Register(tuple(names), tuple(public), sums.colluding, sums.strict)
    members = {place: Participant(register, place + 1, key, sums.run, {}) for place, key in enumerate(private)}
    masked = InProcessGrid(names, Worker(Masking(members, share=sums.share).around(handlers)))
    return SecuredGrid(masked, Hub(register, sums.run), sums.most_rows, sums.whole)
