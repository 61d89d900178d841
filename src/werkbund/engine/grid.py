"""What carries tasks to clients and their answers back. Simulation and deployment differ in this one object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from werkbund.core.arrays import Arrays, Int64Array
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.selection.contract import State


class Grid(Protocol):
    """Reach the clients.

    A synchronous round, one that closes at k of n, and asynchronous training are functions over the two verbs.
    """

    def clients(self) -> tuple[str, ...]:
        """Return the clients' names; a client's number is its place."""

    def send(self, tasks: Tasks) -> None:
        """Ask each of the tasks' clients."""

    def receive(self, timeout_s: float) -> Iterator[Replies | Failure]:
        """Yield what comes in, as it arrives, until all have answered or the time is over."""


@runtime_checkable
class Situated(Protocol):
    """Be a grid that knows more about its clients than their names."""

    def situation(self, round: int, past: State) -> tuple[Int64Array, Arrays]:
        """Return the numbers of the clients that can be asked, ascending, and facts, (all clients,) each.

        Parameters
        ----------
        round
            Its number.
        past
            What `state` returned after the round before; empty before the first.
        """

    def state(self) -> State:
        """Return what the next round depends on: JSON values and named arrays."""


def world_of(grid: Grid) -> State:
    """Return what a grid's world goes on from; empty where it has none."""
    return grid.state() if isinstance(grid, Situated) else {}
