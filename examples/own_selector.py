"""A selector of one's own in one file: half of the cohort by rows per joule, half by chance.

Run it with `werkbund run --set strategy.selection.name=examples/own_selector.py:Thrifty --set
strategy.selection.count=4 --set world.preset=mobile-machines`, or set it against uniform with `werkbund bench
--selectors examples/own_selector.py:Thrifty --set world.preset=mobile-machines`.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View


@dataclass(frozen=True)
class Thrifty:
    """Choose half of the cohort by rows per joule, which a simulated world tells, and the other half at random."""

    size: CohortSize = CohortSize()

    name: ClassVar[str] = "thrifty"

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives: nothing is asked of clients, and who is thrifty trains more often."""
        return Declaration("our own", unbiased=False, reveals="rows and expected energy")

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing before choosing."""
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Take the thriftiest, then draw from the others."""
        number = self.size.of(len(view.available))
        value = view.fact("rows", 1.0) / np.maximum(view.fact("joules", 1.0), 1e-9)
        best = np.argsort(-value, kind="stable")[: number // 2]
        others = np.setdiff1d(np.arange(len(value)), best)
        drawn = rng.choice(others, number - len(best), replace=False)
        places = np.sort(np.concatenate([best, drawn]))
        chance = np.where(np.isin(places, best), 1.0, len(drawn) / max(len(others), 1))
        reasons = tuple("thrifty" if place in best else "drawn" for place in places)
        return Choice(view.available[places], chance, np.ones(number), reasons)

    def observe(self, state: State, reports: Reports) -> State:
        """Learn nothing."""
        return state
