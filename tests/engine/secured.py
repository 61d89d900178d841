"""Clients that take part in secure sums in one process, and drop out at the stages that a test names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from werkbund.core import Failure, Replies, Tasks
from werkbund.core.kinds import Kind
from werkbund.engine import Grid, Handler, SumTerms, grid_in_process
from werkbund.engine.secured import SecuredGrid


@dataclass
class Dropping:
    """Carry tasks to a grid, but for those of clients that do not answer some kinds; keep what passed.

    Parameters
    ----------
    grid
        Reaches all.
    silent
        Clients that do not answer, by kind of task.
    """

    grid: Grid
    silent: Mapping[Kind, set[int]] = field(default_factory=dict)
    passed: list[Replies] = field(default_factory=list)
    asked: list[Tasks] = field(default_factory=list)

    def clients(self) -> tuple[str, ...]:
        return self.grid.clients()

    def send(self, tasks: Tasks) -> None:
        self.asked.append(tasks)
        there = ~np.isin(tasks.clients, list(self.silent.get(tasks.kind, ())))
        if there.any():
            self.grid.send(tasks.take(there))

    def receive(self, timeout_s: float) -> Iterator[Replies | Failure]:
        for arrival in self.grid.receive(timeout_s):
            if isinstance(arrival, Replies):
                self.passed.append(arrival)
            yield arrival


def secured(names: tuple[str, ...], handlers: Mapping[Kind, Handler], **how: Any) -> tuple[SecuredGrid, Dropping]:
    """Return a grid of secure sums, and the one within, which drops answers."""
    grid = grid_in_process(names, handlers, SumTerms("a run", **how))
    assert isinstance(grid, SecuredGrid)
    within = Dropping(grid.grid)
    grid.grid = within
    return grid, within
