"""A grid whose clients must be told what a run is about before they can do a task of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from werkbund.engine import Grid
from werkbund.federation.briefing import Briefing


class BriefedGrid(Grid, Protocol):
    """Reach clients that live elsewhere."""

    def brief(self, tell: Callable[[int], Briefing]) -> None:
        """Set what each client, by number, must know from now on; it is sent along until the client has it."""
