"""Clustered sampling: k urns that hold clients' probabilities, one draw from each.

Every client's probabilities over the urns sum to k p_i, so that the mean of the draws is unbiased, and never varies
more than with k draws from the whole. Urns of equal size come from the rows (`clustered-size`), urns of similar
clients from their last updates (`clustered-similarity`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.memory import everyone, importance, places, recall, remember
from werkbund.selection.urns import MEASURES, Urns, apart, by_likeness, capped_clusters, draw_each, in_order, packed

_SOURCE = "Fraboni, Vidal, Kameni, Lorenzi, Clustered Sampling, ICML 2021"


@dataclass(frozen=True)
class ClusteredBySize:
    """Fill urns with clients in the order of their rows, and draw one client from each.

    Parameters
    ----------
    size
        Number of urns k.

    Notes
    -----
    A client may be drawn from two urns or more; its factor says from how many, and it trains once. With as many urns
    as clients everybody trains instead, which the urns could only approach.

    References
    ----------
    Fraboni, Vidal, Kameni, Lorenzi, "Clustered Sampling: Low-Variance and Improved Representativity for Clients
    Selection in Federated Learning", ICML 2021, algorithm 1.
    """

    name: ClassVar[str] = "clustered-size"
    card: ClassVar[Card] = Card(
        title="Clustered sampling by size",
        rule="Clients by decreasing rows pour their mass k p_i into k urns of capacity 1; one is drawn from each urn.",
        policy="training efficiency, client inclusion",
        shared="rows",
        generation="clustering",
        interpretation="clusters, probability",
        use_when="You want an unbiased cohort whose composition varies less than with independent draws, for nothing.",
        avoid_when="A cohort must have exactly k different clients: large ones may be drawn more than once.",
    )
    size: CohortSize = CohortSize()

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            f"{_SOURCE}, algorithm 1; one draw from each urn, a client may be drawn more than once",
            assumes=frozenset({"available", "addressable", "reliable", "trustworthy"}),
            reveals="who took part, and its number of rows",
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw one client from each urn."""
        del answers
        wanted = self.size.of(len(view.available))
        if wanted == len(view.available):
            return _everyone(view)
        counts, _ = importance(view)
        return _from_urns(view, in_order(wanted * counts / counts.sum(), np.argsort(-counts, kind="stable")), rng)

    def observe(self, state: State, reports: Reports) -> State:
        """Learn nothing."""
        del reports
        return state


@dataclass(frozen=True)
class ClusteredBySimilarity:
    """Fill urns with clients whose last updates are alike, and draw one client from each.

    Parameters
    ----------
    size
        Number of urns k.
    measure
        How unlike two updates are: `arccos` (the angle between them), `l2` or `l1`.
    memory
        How many clients' updates are kept, those seen last. An assumption: the paper keeps all, with 100 clients.

    Notes
    -----
    State: the updates, 4 bytes x memory x parameters (10 MB for 1,000 clients and 2,500 parameters). A choice needs
    memory² x parameters products and Ward's linkage of `memory` clients.

    A client without a kept update is like every other such client, and is no cluster with the others; so the first
    round draws from random urns.

    References
    ----------
    Fraboni, Vidal, Kameni, Lorenzi, "Clustered Sampling: Low-Variance and Improved Representativity for Clients
    Selection in Federated Learning", ICML 2021, algorithm 2. Deviations: the authors' code gives the square matrix of
    distances to SciPy's linkage, which takes its rows for points; here they are distances. It gives an unseen client
    the distance 0 to all; here that is 0 among the unseen alone. A client with more than 1/k of the rows fills urns of
    its own, and its rest is clustered with the others, so that no cluster is over capacity.
    """

    name: ClassVar[str] = "clustered-similarity"
    card: ClassVar[Card] = Card(
        title="Clustered sampling by similarity",
        rule="Ward's clusters of the last updates, none heavier than 1/k; the k heaviest are urns, the others fill "
        "what is free in them; one client is drawn from each urn.",
        policy="training efficiency, client inclusion",
        shared="updates",
        generation="clustering",
        interpretation="clusters, probability",
        use_when="Plants fall into groups whose data are alike, and each group shall have a say in every round.",
        avoid_when="Updates must stay hidden, or plants are seen so rarely that their last updates tell nothing.",
    )
    size: CohortSize = CohortSize()
    measure: str = "arccos"
    memory: int = 1000

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise ConfigError(f"strategy.selection.measure must be one of {', '.join(MEASURES)}, got {self.measure!r}")
        if self.memory < 1:
            raise ConfigError(f"strategy.selection.memory must be >= 1, got {self.memory}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            f"{_SOURCE}, algorithm 2; one draw from each urn, a client may be drawn more than once",
            needs=frozenset({"update"}),
            assumes=frozenset({"available", "addressable", "stateful", "reliable", "trustworthy"}),
            secure_aggregation=False,
            cost="at the server: a matrix of remembered updates, their products and a linkage",
            reveals="its whole update",
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw one client from each urn."""
        del answers
        wanted = self.size.of(len(view.available))
        if wanted == len(view.available):
            return _everyone(view)
        counts, _ = importance(view)
        masses = wanted * counts / counts.sum()
        return _from_urns(view, by_likeness(masses, self._clusters(view, masses, rng), rng), rng)

    def observe(self, state: State, reports: Reports) -> State:
        """Keep the updates."""
        return remember(state, reports, reports.signals.get("update"), self.memory)

    def _clusters(self, view: View, masses: Float64Array, rng: np.random.Generator) -> Int64Array:
        """Return a cluster for each available client, (available,), none with more than 1 of what urns do not hold."""
        known = recall(view.state)
        at = places(view.available, known.clients)
        seen, unseen = np.flatnonzero(at >= 0), rng.permutation(np.flatnonzero(at < 0))
        rest = masses % 1.0
        clusters = np.empty(len(masses), np.int64)
        clusters[unseen] = packed(rest[unseen])
        if len(seen):
            matrix = apart(known.vectors[at[seen]], self.measure)
            clusters[seen] = len(unseen) + capped_clusters(matrix, rest[seen])
        return clusters


def _everyone(view: View) -> Choice:
    _, by_rows = importance(view)
    return everyone(view, equal=not by_rows)


def _from_urns(view: View, urns: Urns, rng: np.random.Generator) -> Choice:
    """Return the choice of one client from each urn."""
    drawn = draw_each(urns, rng)
    cohort, factors = np.unique(drawn, return_counts=True)
    inclusion = urns.inclusion(len(view.available))
    urn_of = [", ".join(str(urn + 1) for urn in np.flatnonzero(drawn == place)) for place in cohort]
    return Choice(
        view.available[cohort],
        inclusion[cohort],
        factors.astype(np.float64),
        tuple(f"drawn from urn {urn}" for urn in urn_of),
        inclusion,
        equal=True,
        total=float(len(drawn)),
    )
