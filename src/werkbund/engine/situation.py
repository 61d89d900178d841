"""Which clients can be asked in a round, and what is known of each, where a grid can tell."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from werkbund.core.arrays import Arrays, Int64Array
from werkbund.engine.grid import Grid
from werkbund.engine.state import Rules, RunState
from werkbund.selection.contract import State


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


def situation(grid: Grid, rules: Rules, state: RunState) -> tuple[Int64Array, Arrays]:
    """Return who can be asked, and what is known of everybody: what clients declared, and what the grid adds."""
    if isinstance(grid, Situated):
        available, facts = grid.situation(state.round + 1, state.world)
        return available, {**rules.facts, **facts}
    return np.arange(len(grid.clients())), rules.facts


def world_of(grid: Grid) -> State:
    """Return what a grid's world goes on from; empty where it has none."""
    return grid.state() if isinstance(grid, Situated) else {}
