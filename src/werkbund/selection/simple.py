"""Selectors that need to know nothing: uniform at random, everyone, and round robin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.contract import CohortSize, Declaration, IntArray, Reports, State, View


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

    size: CohortSize = CohortSize()

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration("McMahan et al., AISTATS 2017, algorithm 1", assumes=frozenset({"addressable"}))

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw the cohort."""
        del answers
        number = self.size.of(len(view.available))
        cohort = np.sort(rng.choice(view.available, number, replace=False))
        return _alike(cohort, number / max(len(view.available), 1), "drawn at random")

    def observe(self, state: State, reports: Reports) -> State:
        """Learn nothing."""
        del reports
        return state


@dataclass(frozen=True)
class Everyone:
    """Let every available client train in every round."""

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
        return _alike(view.available, 1.0, "everyone trains")

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
        return _alike(np.sort(view.available[order[:number]]), number / max(len(view.available), 1), "least used")

    def observe(self, state: State, reports: Reports) -> State:
        """Count the turn of everybody who was asked."""
        used = dict(state.get("used", {}))
        asked = [*reports.clients.tolist(), *(failure.client for failure in reports.failures)]
        for client in asked:
            used[str(client)] = used.get(str(client), 0) + 1
        return {**state, "used": used}


def _alike(cohort: IntArray, probability: float, reason: str) -> Choice:
    ones = np.ones(len(cohort))
    return Choice(cohort, probability * ones, ones, (reason,) * len(cohort))
