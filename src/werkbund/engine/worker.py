"""What runs at a client: a table from the kind of a task to the function that does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from werkbund.core.errors import ClientError
from werkbund.core.kinds import Kind
from werkbund.core.types import Replies, Tasks

SENT = "sent."
"""Before the names of the arrays that an aggregator sends along with the weights, among what a task shares."""

Handler = Callable[[Tasks], Replies]
"""Does tasks of one kind: for one client at a plant, for a whole cohort in process, with the same result."""


@dataclass(frozen=True)
class Worker:
    """Do what is asked.

    Parameters
    ----------
    handlers
        One function a kind of task.
    """

    handlers: Mapping[Kind, Handler]

    def __call__(self, tasks: Tasks) -> Replies:
        """Return the answers to these tasks.

        Raises
        ------
        ClientError
            If no handler knows the kind.
        """
        if tasks.kind not in self.handlers:
            known = ", ".join(sorted(kind.name for kind in self.handlers))
            raise ClientError(f"task kind must be one of {known}, got {tasks.kind.name!r}; update the client's version")
        return self.handlers[tasks.kind](tasks)
