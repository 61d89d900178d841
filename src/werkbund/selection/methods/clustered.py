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
from werkbund.selection.choices import choice_of_all
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.facts import weights_of
from werkbund.selection.geometry import MEASURES, unlikeness
from werkbund.selection.ledger import positions, recall, remember

_DUST = 1e-9  # masses that rounding alone has made


@dataclass(frozen=True)
class Urns:
    """Hold urns of capacity 1, as pieces of clients.

    Parameters
    ----------
    urns, clients
        (pieces,), the urn and the place of the client of each piece.
    masses
        (pieces,), how probable the client is in a draw from that urn.
    """

    urns: Int64Array
    clients: Int64Array
    masses: Float64Array

    def matrix(self, num_clients: int) -> Float64Array:
        """Return the probability of each client in each urn, (urns, clients)."""
        filled = np.zeros((int(self.urns.max(initial=-1)) + 1, num_clients))
        np.add.at(filled, (self.urns, self.clients), self.masses)
        return filled

    def inclusion(self, num_clients: int) -> Float64Array:
        """Return how probably each client is drawn from one urn at least, (clients,)."""
        never = np.ones(num_clients)
        np.multiply.at(never, self.clients, 1.0 - np.minimum(self.masses, 1.0))
        return 1.0 - never


def pour(masses: Float64Array, capacities: Float64Array) -> Urns:
    """Fill urns one after the other with the masses of clients in order; a mass that overflows goes on in the next urn.

    Parameters
    ----------
    masses, capacities
        (clients,) and (urns,), with equal sums up to rounding. In the result a client is its place in `masses`.
    """
    poured, room = np.cumsum(masses), np.cumsum(capacities)
    edges = np.unique(np.concatenate([[0.0], poured, room]))
    edges = edges[edges <= min(poured[-1], room[-1]) if len(poured) and len(room) else edges < 0]
    amounts, middles = np.diff(edges), (edges[1:] + edges[:-1]) / 2
    real = amounts > _DUST / 1000
    return Urns(
        np.searchsorted(room, middles, "right")[real], np.searchsorted(poured, middles, "right")[real], amounts[real]
    )


def in_order(masses: Float64Array, order: Int64Array) -> Urns:
    """Fill urns of capacity 1 with clients in an order (algorithm 1 of Fraboni et al., by decreasing rows).

    Parameters
    ----------
    masses
        (clients,), k p_i; sum k.
    order
        (clients,), their places as they are poured.
    """
    urns = pour(masses[order], np.ones(round(float(masses.sum()))))
    return Urns(urns.urns, order[urns.clients], urns.masses)


def by_likeness(masses: Float64Array, clusters: Int64Array, rng: np.random.Generator) -> Urns:
    """Make urns of the heaviest clusters, filled up with the clients of the others (algorithm 2 of Fraboni et al.).

    Parameters
    ----------
    masses
        (clients,), k p_i; sum k. Whole parts fill urns of their own.
    clusters
        (clients,), a number for each; the parts behind the point must sum to 1 in a cluster at most.
    rng
        Orders the clients that fill up.
    """
    whole = np.floor(masses + _DUST).astype(np.int64)
    rest = np.maximum(masses - whole, 0.0)
    alone = np.repeat(np.arange(len(masses)), whole)
    num_left = round(float(masses.sum())) - len(alone)
    _, group = np.unique(clusters, return_inverse=True)
    weights = np.bincount(group, rest)
    heaviest = np.argsort(-weights, kind="stable")[:num_left]
    urn_of = np.full(len(weights), -1)
    urn_of[heaviest] = np.arange(len(heaviest))
    inside, outside = np.flatnonzero(urn_of[group] >= 0), np.flatnonzero(urn_of[group] < 0)
    order = rng.permutation(outside)
    order = order[np.argsort(weights[group[order]], kind="stable")]
    filled = pour(rest[order], np.maximum(1.0 - weights[heaviest], 0.0))
    return Urns(
        np.concatenate([np.arange(len(alone)), len(alone) + urn_of[group[inside]], len(alone) + filled.urns]),
        np.concatenate([alone, inside, order[filled.clients]]),
        np.concatenate([np.ones(len(alone)), rest[inside], filled.masses]),
    )


def draw_each(urns: Urns, rng: np.random.Generator) -> Int64Array:
    """Draw one client from each urn, (urns,)."""
    order = np.lexsort((urns.clients, urns.urns))
    number, masses = urns.urns[order], urns.masses[order]
    held = np.bincount(number, masses)
    ends = np.cumsum(masses)
    starts = np.cumsum(held) - held
    points = starts + rng.random(len(held)) * held
    last = np.searchsorted(number, np.arange(len(held)), "right") - 1
    first = np.searchsorted(number, np.arange(len(held)), "left")
    hit = np.clip(np.searchsorted(ends, points, "right"), first, last)
    return urns.clients[order][hit]


def capped_clusters(matrix: Float64Array, masses: Float64Array) -> Int64Array:
    """Return the largest clusters in Ward's tree whose masses sum to 1 at most, as a number for each, (clients,).

    Parameters
    ----------
    matrix
        (clients, clients), distances.
    masses
        (clients,), each at most 1.
    """
    number = len(matrix)
    if number == 1:
        return np.zeros(1, np.int64)
    from scipy.cluster.hierarchy import linkage  # slow to import
    from scipy.spatial.distance import squareform

    tree = linkage(squareform(matrix, checks=False), "ward")[:, :2].astype(np.int64).tolist()
    weights, parent = masses.tolist(), [-1] * (2 * number - 1)
    for node, (left, right) in enumerate(tree, start=number):
        weights.append(weights[left] + weights[right])
        parent[left] = parent[right] = node
    cluster = list(range(2 * number - 1))
    for node in range(2 * number - 3, -1, -1):
        if weights[parent[node]] <= 1.0 + _DUST:
            cluster[node] = cluster[parent[node]]
    return np.array(cluster[:number])


def packed(masses: Float64Array) -> Int64Array:
    """Return clusters of consecutive clients whose masses sum to 1 at most, as a number for each, (clients,)."""
    clusters, held, number = np.empty(len(masses), np.int64), 0.0, 0
    for place, mass in enumerate(masses.tolist()):
        if held + mass > 1.0 + _DUST:
            held, number = 0.0, number + 1
        held, clusters[place] = held + mass, number
    return clusters


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
        counts, _ = weights_of(view)
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
        counts, _ = weights_of(view)
        masses = wanted * counts / counts.sum()
        return _from_urns(view, by_likeness(masses, self._clusters(view, masses, rng), rng), rng)

    def observe(self, state: State, reports: Reports) -> State:
        """Keep the updates."""
        return remember(state, reports, reports.signals.get("update"), self.memory)

    def _clusters(self, view: View, masses: Float64Array, rng: np.random.Generator) -> Int64Array:
        """Return the cluster of each available client, (available,); the fractional masses in one sum to 1 at most."""
        remembered = recall(view.state)
        places = positions(view.available, remembered.clients)
        seen, unseen = np.flatnonzero(places >= 0), rng.permutation(np.flatnonzero(places < 0))
        rest = masses % 1.0
        clusters = np.empty(len(masses), np.int64)
        clusters[unseen] = packed(rest[unseen])
        if len(seen):
            matrix = unlikeness(remembered.vectors[places[seen]], self.measure)
            clusters[seen] = len(unseen) + capped_clusters(matrix, rest[seen])
        return clusters


def _everyone(view: View) -> Choice:
    """Return the choice of all, whose updates count by rows where any are declared, else alike."""
    _, by_rows = weights_of(view)
    return choice_of_all(view, equal=not by_rows)


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
