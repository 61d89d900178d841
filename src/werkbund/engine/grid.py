"""What carries tasks to clients and their answers back. Simulation and deployment differ in this one object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from werkbund.core.types import Failure, Replies, Tasks


class Grid(Protocol):
    """Reach the clients.

    A synchronous round, one that closes at k of n, and asynchronous training are functions over these two verbs.
    """

    def clients(self) -> tuple[str, ...]:
        """Return the clients' names; a client's number is its place."""

    def send(self, tasks: Tasks) -> None:
        """Ask each of the tasks' clients."""

    def receive(self, timeout_s: float) -> Iterator[Replies | Failure]:
        """Yield what comes in, as it arrives, until all have answered or the time is over."""
