"""Who is told how a run goes: a terminal, a notebook, or nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from werkbund.core.types import RoundRecord
from werkbund.evaluation.measures import Metrics


@dataclass(frozen=True)
class RoundNews:
    """Hold what is new after a round.

    Parameters
    ----------
    record
        What happened.
    last
        Number of the last round that is planned.
    scores
        Metrics of the weights that the record scored, by split.
    best_round
        The round with the best validation metric so far.
    failed
        Why each client that was asked gave no usable answer, by name.
    remarks
        What else stood out, by name.
    """

    record: RoundRecord
    last: int
    scores: dict[str, Metrics]
    best_round: int
    failed: Mapping[str, str] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)


class Watcher(Protocol):
    """Be told how a run goes."""

    def stage(self, what: str) -> None:
        """Hear that a new stage of the job begins."""

    def round(self, news: RoundNews) -> None:
        """Hear of a round that is done."""


class Nobody:
    """Hear and do nothing."""

    def stage(self, what: str) -> None:
        """Do nothing."""

    def round(self, news: RoundNews) -> None:
        """Do nothing."""
