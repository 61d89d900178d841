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
class Keeping(Protocol):
    """Be a grid that keeps something from round to round, such as what its clients keep, or a simulated clock."""

    def state(self) -> State:
        """Return what the next round depends on: JSON values and named arrays; empty for nothing."""

    def go_back(self, past: State) -> None:
        """Stand where `state` said at some time; empty for before the first round."""


@runtime_checkable
class Situated(Keeping, Protocol):
    """Be a grid that knows more about its clients than their names."""

    def situation(self, round: int) -> tuple[Int64Array, Arrays]:
        """Return the numbers of the clients that can be asked, ascending, and facts, (all clients,) each."""


def state_of(grid: Grid) -> State:
    """Return what a grid goes on from; empty where it keeps nothing."""
    return grid.state() if isinstance(grid, Keeping) else {}
