"""What a person wants to know about a method before using it: its card."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Card:
    """Describe a selection method in words, and place it in the survey's dimensions.

    Parameters
    ----------
    title
        Its full name.
    rule
        What it does, in a few sentences, with the formula.
    policy
        Why it selects: such as `training efficiency`, `limit round time`, `selection fairness`.
    termination
        When the survey or the paper stops it: such as `fixed rounds`, `target accuracy`, `limited energy`.
    shared
        What clients share beside parameters: such as `loss`, `update norm`, `time`.
    generation
        How a client's value comes about: such as `loss-based`, `utility-based`, `bandit-based`.
    interpretation
        How values become a cohort: `ranking`, `probability`, `weights`, `clusters`, `threshold`, `+ exploration`.
    use_when, avoid_when
        In a plant.
    notes
        Assumptions where the source is silent, and what to expect at small numbers of clients.

    References
    ----------
    Németh, Lozano, Quadrianto, Oliver, "A Snapshot of the Frontiers of Client Selection in Federated Learning", TMLR
    2022: the six dimensions; the fifth, what is assumed of clients, stands in the declaration.
    """

    title: str
    rule: str
    policy: str
    shared: str
    generation: str
    interpretation: str
    use_when: str
    avoid_when: str
    termination: str = "fixed rounds"
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return the card as a dict of strings and lists, for JSON."""
        return {**vars(self), "notes": list(self.notes)}
