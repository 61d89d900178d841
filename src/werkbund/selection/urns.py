"""Urns that hold shares of clients, and the clusters that fill them: the mathematics of clustered sampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import AnyArray, Float32Array, Float64Array, Int64Array
from werkbund.selection.memory import angles, distances

MEASURES = ("arccos", "l2", "l1")

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
    """Pour masses in their order into urns in theirs, cut where an urn is full; clients are places in `masses`.

    Parameters
    ----------
    masses, capacities
        (clients,) and (urns,); with the same sum but for rounding.
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
    kept, others = np.flatnonzero(urn_of[group] >= 0), np.flatnonzero(urn_of[group] < 0)
    order = rng.permutation(others)
    order = order[np.argsort(weights[group[order]], kind="stable")]
    filled = pour(rest[order], np.maximum(1.0 - weights[heaviest], 0.0))
    return Urns(
        np.concatenate([np.arange(len(alone)), len(alone) + urn_of[group[kept]], len(alone) + filled.urns]),
        np.concatenate([alone, kept, order[filled.clients]]),
        np.concatenate([np.ones(len(alone)), rest[kept], filled.masses]),
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
    found = np.clip(np.searchsorted(ends, points, "right"), first, last)
    return urns.clients[order][found]


def apart(vectors: Float32Array, measure: str) -> Float64Array:
    """Return how unlike each pair of rows is, (rows, rows), by one of `MEASURES`."""
    if measure == "arccos":
        return angles(vectors)
    if measure == "l2":
        return distances(vectors)
    from scipy.spatial.distance import cdist  # slow to import

    found: AnyArray = cdist(vectors.astype(np.float64), vectors.astype(np.float64), "cityblock")
    return found


def capped_clusters(matrix: Float64Array, masses: Float64Array) -> Int64Array:
    """Return the largest clusters of Ward's tree whose masses are at most 1, as a number for each client, (clients,).

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
    """Return clusters of neighbours in this order whose masses are at most 1, (clients,)."""
    clusters, held, number = np.empty(len(masses), np.int64), 0.0, 0
    for place, mass in enumerate(masses.tolist()):
        if held + mass > 1.0 + _DUST:
            held, number = 0.0, number + 1
        held, clusters[place] = held + mass, number
    return clusters
