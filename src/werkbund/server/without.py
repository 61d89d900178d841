"""A federation without some of its clients, who are left out for what they said: each fails at once, with why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from werkbund.core.types import Failure, Replies, Tasks
from werkbund.federation.briefing import BriefedGrid, Briefing


class Without:
    """Reach clients but for some, who are not asked.

    Parameters
    ----------
    grid
        Reaches all.
    reasons
        Why each that is left out is, by number.
    """

    def __init__(self, grid: BriefedGrid, reasons: Mapping[int, str]) -> None:
        self._grid, self._reasons = grid, dict(reasons)
        self._failed: list[Failure] = []

    def clients(self) -> tuple[str, ...]:
        """Return the names of all clients, those that are left out too."""
        return self._grid.clients()

    def brief(self, tell: Callable[[int], Briefing]) -> None:
        """Set what each client, by number, must know from now on."""
        self._grid.brief(tell)

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
