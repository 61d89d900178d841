"""Selectors that need to know nothing: uniform at random, everyone, and round robin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.choices import choice_of
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View


@dataclass(frozen=True)
class Uniform:
    """Draw the cohort uniformly without replacement.

    Parameters
    ----------
    size
        How many.

    References
    ----------
    McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017,
    algorithm 1.
    """

    name: ClassVar[str] = "uniform"
    card: ClassVar[Card] = Card(
        title="Uniform random choice",
        rule="k of the available clients, drawn without replacement.",
        policy="selection fairness",
        shared="nothing",
        generation="-",
        interpretation="probability",
        use_when="You want a baseline that is hard to beat, cannot be gamed, and asks nothing of anybody.",
        avoid_when="Clients differ much in speed and a round waits for the slowest of them.",
        notes=(
            "Updates count by rows and are divided by the rows of those drawn: biased a little where sizes differ, "
            "see uniform-unbiased.",
        ),
    )
    size: CohortSize = CohortSize()

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        source = "McMahan et al., AISTATS 2017, algorithm 1"
        return Declaration(source, assumes=frozenset({"addressable"}), unbiased=False)

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw the cohort."""
        del answers
        number = self.size.of(len(view.available))
        cohort = np.sort(rng.choice(view.available, number, replace=False))
        return choice_of(cohort, number / max(len(view.available), 1), ("drawn at random",) * number)

    def observe(self, state: State, reports: Reports) -> State:
        """Learn nothing."""
        del reports
        return state


@dataclass(frozen=True)
class Everyone:
    """Let every available client train in every round."""

    name: ClassVar[str] = "all"
    card: ClassVar[Card] = Card(
        title="Everyone",
        rule="All available clients.",
        policy="client inclusion",
        shared="nothing",
        generation="-",
        interpretation="-",
        use_when="There are a few dozen plants and their time costs little: nothing learns faster in rounds.",
        avoid_when="There are many clients, or one of them is very slow.",
    )

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "full participation",
            assumes=frozenset({"available", "addressable"}),
            cost="every client, every round",
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Return all available clients."""
        del answers, rng
        return choice_of(view.available, 1.0, ("everyone trains",) * len(view.available))

    def observe(self, state: State, reports: Reports) -> State:
        """Learn nothing."""
        del reports
        return state


@dataclass(frozen=True)
class RoundRobin:
    """Let those train who have trained least often; ties go round by number.

    Parameters
    ----------
    size
        How many.

    Notes
    -----
    With all clients available this is a plain round robin. A client that was away catches up when it comes back. A
    client that failed has used up its turn: otherwise a dead one would be asked for ever.
    """

    name: ClassVar[str] = "round-robin"
    card: ClassVar[Card] = Card(
        title="Round robin, least used first",
        rule="The k clients that have trained least often; ties go round by number.",
        policy="selection fairness",
        shared="nothing",
        generation="-",
        interpretation="ranking",
        use_when="Every plant shall have the same number of turns, also those that are often away.",
        avoid_when="You need random cohorts, as the accounting of differential privacy does.",
    )
    size: CohortSize = CohortSize()

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "least used first; round robin in schedulers' sense",
            assumes=frozenset({"addressable", "stateful"}),
            unbiased=False,
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Return the least used of the available clients."""
        del answers, rng
        used: dict[str, int] = view.state.get("used", {})
        turns = np.array([used.get(str(client), 0) for client in view.available])
        order = np.lexsort((view.available, turns))
        number = self.size.of(len(view.available))
        share = number / max(len(view.available), 1)
        return choice_of(view.available[order[:number]], share, ("least used",) * number)

    def observe(self, state: State, reports: Reports) -> State:
        """Count the turn of everybody who was asked."""
        used = dict(state.get("used", {}))
        asked = [*reports.clients.tolist(), *(failure.client for failure in reports.failures)]
        for client in asked:
            used[str(client)] = used.get(str(client), 0) + 1
        return {**state, "used": used}
