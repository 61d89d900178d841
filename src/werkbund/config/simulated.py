"""The sections of what is simulated around clients that are all in one process: their world, and attackers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from werkbund.config.rows import Count, Section, Share


class WorldSection(Section):
    """Simulate how fast, how well connected and how often there clients are, in process alone."""

    preset: Literal["none", "uniform", "factory-fleet", "mobile-machines"] = "none"
    """Simulated clients: none, uniform, factory-fleet or mobile-machines."""
    path: str | None = None
    """A table with a row a client, in place of a preset."""
    deadline_s: Annotated[float, Field(gt=0)] | None = None
    """Simulated seconds after which nobody is waited for."""
    start_h: Annotated[float, Field(ge=0)] = 8.0
    """Hour of the simulated clock at which the first round begins; 0 is midnight of the first day."""
    pause_s: Annotated[float, Field(ge=0)] = 0.0
    """Simulated seconds between two rounds: clocks go on and batteries charge, and no round takes longer for it."""


class AttackSection(Section):
    """Let some clients attack, or be broken, to test the rules of aggregation, in process alone."""

    kind: str = "none"
    """What attackers do: none, or a kind of attack or fault; an unknown one is refused with the list of all."""
    share: Share = 0.2
    """Share of the clients that attack, drawn by the seed: rounded down, one at least."""
    clients: list[str] = Field(default_factory=list)
    """Or the names of those that do."""
    from_round: Count = 1
    """First round in which they attack."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the kind."""
