"""What a comparison is made of: rows that do the same work, and what one run of a row gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """Hold one run from the first weights.

    Parameters
    ----------
    seconds
        Wall-clock time of each round: training and one scoring of all clients.
    loss
        Mean log loss over all rows of all clients, under the weights after the last round.
    """

    seconds: tuple[float, ...]
    loss: float


@dataclass(frozen=True)
class Row:
    """Name one way of doing the work.

    Parameters
    ----------
    key
        For programs.
    title
        For people.
    run
        Does this many rounds from the first weights.
    same_work
        Whether it takes the same steps and must end at the same loss; else it is a reference for scale alone.
    note
        What a reader must know about it.
    """

    key: str
    title: str
    run: Callable[[int], Outcome]
    same_work: bool = True
    note: str = ""
