"""Which clients can be asked in a round, and what is known of each, where a grid can tell."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from werkbund.core.types import Arrays
from werkbund.engine.grid import Grid
from werkbund.engine.state import Rules

IntArray = npt.NDArray[np.int64]


@runtime_checkable
class Situated(Protocol):
    """Be a grid that knows more about its clients than their names."""

    def situation(self, round: int) -> tuple[IntArray, Arrays]:
        """Return the numbers of the clients that can be asked, ascending, and facts, (all clients,) each."""


def situation(grid: Grid, rules: Rules, round: int) -> tuple[IntArray, Arrays]:
    """Return who can be asked, and what is known of everybody: what clients declared, and what the grid adds."""
    if isinstance(grid, Situated):
        available, facts = grid.situation(round)
        return available, {**rules.facts, **facts}
    return np.arange(len(grid.clients())), rules.facts
