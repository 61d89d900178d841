"""What runs at a client: a table from the kind of a task to the function that does it, and what clients keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from werkbund.core.errors import ClientError
from werkbund.core.kinds import Kind
from werkbund.core.store import PendingStore, RowStore, Store
from werkbund.core.types import Replies, Tasks
from werkbund.selection.questions import TAKEN

SENT = "sent."
"""Before the names of the arrays that an aggregator sends along with the weights, among what a task shares."""

Handler = Callable[[Tasks, Store], Replies]
"""Does tasks of one kind: for one client at a plant, for a whole cohort in process, with the same result.

What a client must know of earlier tasks is in the store, and what it must know later is put there.
"""


def forgetful(handler: Callable[[Tasks], Replies]) -> Handler:
    """Return a handler that neither reads the store nor writes into it."""
    return lambda tasks, store: handler(tasks)


def settled(handler: Handler, at_once: bool = False) -> Handler:
    """Return a handler of tasks that say which answer of each client was taken last: it keeps what it puts as pending.

    Where it counts `at_once`, because no answer has to be taken for it, it is kept as it is.

    What earlier tasks left pending counts from now on if their answer was taken. If not, it is given up when the client
    trains again; until then the answer may be late.
    """

    def handle(tasks: Tasks, store: Store) -> Replies:
        pending = PendingStore(store, tasks.round)
        if TAKEN.name in tasks.own:
            pending.settle(tasks.clients, tasks.own[TAKEN.name], tasks.kind.trains)
        return handler(tasks, store if at_once else pending)

    return handle


class Answering(Protocol):
    """Answer tasks of the clients that live here, and keep what they keep."""

    @property
    def store(self) -> RowStore:
        """What the clients keep from task to task."""

    def __call__(self, tasks: Tasks) -> Replies:
        """Return the answers to these tasks."""


@dataclass(frozen=True)
class Worker:
    """Do what is asked.

    Parameters
    ----------
    handlers
        One function a kind of task.
    store
        What the clients that live here keep from task to task.
    """

    handlers: Mapping[Kind, Handler]
    store: RowStore = field(default_factory=RowStore)

    def __call__(self, tasks: Tasks) -> Replies:
        """Return the answers to these tasks; clients keep nothing of a task that failed.

        Raises
        ------
        ClientError
            If no handler knows the kind.
        """
        if tasks.kind not in self.handlers:
            known = ", ".join(sorted(kind.name for kind in self.handlers))
            raise ClientError(f"task kind must be one of {known}, got {tasks.kind.name!r}; update the client's version")
        with self.store.all_or_nothing():
            return self.handlers[tasks.kind](tasks, self.store)
