"""What carries tasks to clients and their answers back. Simulation and deployment differ in this one object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

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
    """Be a grid that knows more about its clients than their names, and has a clock of its own."""

    @property
    def clock_s(self) -> float:
        """Seconds that have passed on its clock."""

    def situation(self, round: int) -> tuple[Int64Array, Arrays]:
        """Return the numbers of the clients that can be asked, ascending, and facts, (all clients,) each."""


def state_of(grid: Grid) -> State:
    """Return what a grid goes on from; empty where it keeps nothing."""
    return grid.state() if isinstance(grid, Keeping) else {}


class Without:
    """Reach clients but for some, who are left out for what they said: each fails at once, with why.

    Parameters
    ----------
    grid
        Reaches all.
    reasons
        Why each that is left out is, by number.
    """

    def __init__(self, grid: Grid, reasons: Mapping[int, str]) -> None:
        self._grid, self._reasons = grid, dict(reasons)
        self._failed: list[Failure] = []

    def clients(self) -> tuple[str, ...]:
        """Return the names of all clients, those that are left out too."""
        return self._grid.clients()

    def send(self, tasks: Tasks) -> None:
        """Ask those of the tasks' clients that are not left out."""
        out = np.isin(tasks.clients, list(self._reasons))
        failed = tasks.clients[out].tolist()
        self._failed += [Failure(client, tasks.round, self._reasons[client]) for client in failed]
        if not out.all():
            self._grid.send(tasks.take(~out))

    def receive(self, timeout_s: float) -> Iterator[Replies | Failure]:
        """Yield a failure for each that is left out, and what comes from the others."""
        failed, self._failed = self._failed, []
        yield from failed
        yield from self._grid.receive(timeout_s)
