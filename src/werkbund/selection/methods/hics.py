"""HiCS-FL: clusters of clients whose output biases moved alike; clusters of balanced labels first, all alike later.

What an output bias learns tells how a client's labels are mixed: where they are mixed as the model expects it does not
move, and where one class prevails that class's bias grows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import AnyArray, Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.choices import choice_of, choice_of_all
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.facts import weights_of
from werkbund.selection.ledger import counted_turns, positions, recall, remember, turns_of

_CLUSTERED = 1000  # so many clients are clustered; Ward's linkage of 10,000 would take half a minute


def as_classes(biases: AnyArray) -> Float64Array:
    """Return bias updates with one column a class: those of one logit z become those of the logits (0, z)."""
    wide = np.asarray(biases, np.float64)
    return np.column_stack([np.zeros(len(wide)), wide]) if wide.shape[1] == 1 else wide


def bias_entropy(biases: Float64Array, temperature: float) -> Float64Array:
    """Return the entropy of softmax(bias update / temperature), (clients,), in nats.

    Parameters
    ----------
    biases
        (clients, classes).

    References
    ----------
    Chen, Vikalo, NeurIPS 2024, the estimate of label entropy by the output bias.
    """
    raised = biases / temperature
    raised = raised - raised.max(axis=1, keepdims=True)
    shares = np.exp(raised)
    total = shares.sum(axis=1, keepdims=True)
    entropies: Float64Array = np.log(total[:, 0]) - (shares * raised).sum(axis=1) / total[:, 0]
    return np.maximum(entropies, 0.0)


def bias_distances(
    biases: Float64Array, entropies: Float64Array, others: Float64Array, other_entropies: Float64Array, factor: float
) -> Float64Array:
    """Return the angle between bias updates plus `factor` times the difference of entropies, (clients, others).

    An update of zero has a right angle to all; the authors' code gives it the angle 0 to all.
    """
    apart: Float64Array = _directions(biases) @ _directions(others).T
    np.arccos(np.clip(apart, -1.0, 1.0, out=apart), out=apart)
    unlike = np.subtract.outer(entropies, other_entropies)
    unlike *= factor
    apart += np.abs(unlike, out=unlike)
    return apart


def _directions(vectors: Float64Array) -> Float64Array:
    """Return vectors of length 1, (vectors, entries); zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions: Float64Array = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return directions


def cluster_probabilities(entropies: Float64Array, sharpness: float) -> Float64Array:
    """Return the probability of each cluster, in proportion to exp(sharpness x mean entropy), (clusters,)."""
    raised = sharpness * entropies
    shares = np.exp(raised - raised.max())
    probabilities: Float64Array = shares / shares.sum()
    return probabilities


@dataclass(frozen=True)
class HierarchicalClustered:
    """Draw a cluster by its mean label entropy, and in it a client by rows.

    Parameters
    ----------
    size
        How many clients k.
    clusters
        Number of clusters M; 0 for as many as clients are chosen, as the authors do.
    entropy_factor
        lambda, the part of the difference of entropies in the distance.
    sharpness
        gamma_0; the sharpness in round t of T is gamma_0 (1 - t/T). Where T is unknown it stays gamma_0.
    temperature
        Divides the bias update before the softmax, so it is in units of the bias, which moves in proportion to the
        learning rate and to the number of local steps. The default of 0.1 is a choice of ours, derived from no learning
        rate: it is a third of the 0.3 that a run has by default. The authors' configurations have 0.001, one learning
        rate of theirs, which would call every client unbalanced here.
    bias_from, bias_to
        Where the output layer's bias lies among the weights, from `bias_from` up to but without `bias_to`; negative
        numbers count from the end, `bias_to` None is the end itself. By default the last entry: the shipped networks
        end with the bias of their one logit. A network of one's own may need other numbers.

    Notes
    -----
    The paper has one logit a class. A classifier of failures has one logit z; its softmax form is (0, z), so the bias
    update is (0, db) and the entropy that of a coin with probability 1 / (1 + exp(-db / temperature)). It is greatest
    at db = 0, where the client's share of failures is what the model already says, and small where a client has many
    more failures or many fewer. It is a client's label entropy only where the model expects both classes alike, as an
    untrained one does; with rare failures a plant of the usual mix, and not one of balanced labels, comes out highest.
    The angle between two such updates is 0 or pi: whether both shares lie on the same side.

    Everyone is met once first, in random order. A client that was asked in vain stays in a cluster of its own kind,
    with the mean entropy of the others. With more than 1,000 clients, clusters are made of 1,000 of them, drawn at
    random, and each other client joins the cluster of the nearest.

    State: 4 bytes x classes and 24 bytes a client.

    References
    ----------
    Chen, Vikalo, "Accelerating Non-IID Federated Learning via Heterogeneity-Guided Client Sampling", NeurIPS 2024,
    algorithm 1. The authors' code has a second branch, clustered sampling where entropies vary by more than 0.1, and
    freezes the biases after the first rounds in some runs; the paper has neither, and neither is here. It measures the
    bias update by the mean over the output layer's weights and draws uniformly in a cluster; here as in the paper.
    """

    name: ClassVar[str] = "hics"
    card: ClassVar[Card] = Card(
        title="Heterogeneity-guided clustered sampling (HiCS-FL)",
        rule="Cluster clients by angle and estimated label entropy of their output bias updates; draw a cluster with "
        "probability in proportion to exp(gamma_t x mean entropy), in it a client in proportion to rows.",
        policy="training efficiency",
        shared="updates (of the output bias alone)",
        generation="clustering, label entropy",
        interpretation="clusters, probability",
        use_when="Plants differ in how often machines fail, and you want the usual mix first and the odd ones later.",
        avoid_when="Failures are rare and a plant that alone has many is what matters: it is drawn last.",
        notes=(
            "With one logit the entropy measures how well the model's expectation fits the client's failure rate.",
            "The temperature is in units of the bias: scale it as you scale the learning rate of training.",
        ),
    )
    size: CohortSize = CohortSize()
    clusters: int = 0
    entropy_factor: float = 10.0
    sharpness: float = 4.0
    temperature: float = 0.1
    bias_from: int = -1
    bias_to: int | None = None

    def __post_init__(self) -> None:
        rules = [
            ("clusters", self.clusters >= 0, "must be >= 0"),
            ("entropy_factor", self.entropy_factor >= 0, "must be >= 0"),
            ("sharpness", self.sharpness >= 0, "must be >= 0"),
            ("temperature", self.temperature > 0, "must be > 0"),
        ]
        for name, holds, rule in rules:
            if not holds or not math.isfinite(getattr(self, name)):
                raise ConfigError(f"strategy.selection.{name} {rule}, got {getattr(self, name)}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "Chen, Vikalo, Heterogeneity-Guided Client Sampling, NeurIPS 2024, algorithm 1",
            needs=frozenset({"update"}),
            assumes=frozenset({"available", "addressable", "stateful", "reliable", "trustworthy"}),
            unbiased=False,
            cost="at the server: a linkage of at most 1,000 clients",
            reveals="its whole update, of which the output bias tells its mix of labels",
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Take the unmet first; then draw clusters, and clients in them."""
        del answers
        wanted, available = self.size.of(len(view.available)), view.available
        if wanted == len(available):
            return choice_of_all(view, equal=True)
        unmet = rng.permutation(available[turns_of(view.state, available) == 0])[:wanted]
        if len(unmet):
            others = rng.choice(np.setdiff1d(available, unmet), wanted - len(unmet), replace=False)
            reasons = ("never asked before",) * len(unmet) + ("drawn at random",) * len(others)
            return choice_of(np.concatenate([unmet, others]), 1.0, reasons, equal=True)
        labels, entropies = self._clustered(view, wanted, rng)
        left = 1.0 - view.round / view.last if view.last else 1.0
        counts, _ = weights_of(view)
        drawn = draw_clients(labels, entropies, counts, self.sharpness * max(left, 0.0), wanted, rng)
        reasons = tuple(f"label entropy of its cluster {entropies[labels[place]]:.3f}" for place in drawn)
        share = wanted / len(available)  # stands in for inclusion probabilities that are not known
        return choice_of(available[drawn], share, reasons, equal=True)

    def observe(self, state: State, reports: Reports) -> State:
        """Keep the bias updates, and count turns."""
        updates = reports.signals.get("update")
        biases = updates[:, self.bias_from : self.bias_to] if updates is not None and updates.ndim == 2 else None
        kept = remember(state, reports, biases if biases is not None and biases.shape[1] else None)
        return {**kept, "turns": counted_turns(state, reports)}

    def _clustered(self, view: View, wanted: int, rng: np.random.Generator) -> tuple[Int64Array, Float64Array]:
        """Return a cluster for each available client, and each cluster's mean entropy."""
        remembered = recall(view.state)
        at = positions(view.available, remembered.clients)
        labels = np.zeros(len(at), np.int64)
        known = np.flatnonzero(at >= 0)
        if not len(known):
            return labels, np.zeros(1)
        biases = as_classes(remembered.vectors[at[known]])
        entropies = bias_entropy(biases, self.temperature)
        labels[known] = ward_clusters(biases, entropies, self.entropy_factor, self.clusters or wanted, rng)
        means = np.bincount(labels[known], entropies) / np.bincount(labels[known])
        labels[at < 0] = len(means)
        return labels, np.append(means, means.mean()) if len(known) < len(at) else means


def ward_clusters(
    biases: Float64Array, entropies: Float64Array, factor: float, number: int, rng: np.random.Generator
) -> Int64Array:
    """Return the number of each client's cluster by Ward's linkage, (clients,), from 0.

    Parameters
    ----------
    biases, entropies
        (clients, classes) and (clients,).
    factor
        lambda
    number
        How many clusters at most.
    rng
        Draws those who are clustered, where there are more than 1,000.
    """
    total = len(biases)
    core = np.arange(total) if total <= _CLUSTERED else np.sort(rng.choice(total, _CLUSTERED, replace=False))
    labels = np.zeros(total, np.int64)
    if total == 1:
        return labels
    matrix = bias_distances(biases[core], entropies[core], biases[core], entropies[core], factor)
    np.fill_diagonal(matrix, 0.0)
    from scipy.cluster.hierarchy import fcluster, linkage  # slow to import
    from scipy.spatial.distance import squareform

    tree = linkage(squareform(matrix, checks=False), "ward")
    labels[core] = np.unique(fcluster(tree, number, "maxclust"), return_inverse=True)[1]
    rest = np.setdiff1d(np.arange(total), core, assume_unique=True)
    for start in range(0, len(rest), _CLUSTERED):
        part = rest[start : start + _CLUSTERED]
        far = bias_distances(biases[part], entropies[part], biases[core], entropies[core], factor)
        labels[part] = labels[core][far.argmin(axis=1)]
    return labels


def draw_clients(
    labels: Int64Array,
    entropies: Float64Array,
    weights: Float64Array,
    sharpness: float,
    wanted: int,
    rng: np.random.Generator,
) -> Int64Array:
    """Draw a cluster by its entropy and a new client in it by its weight, `wanted` times; return the places drawn."""
    probabilities = cluster_probabilities(entropies, sharpness)
    # Exponential times divided by weights come in the order of draws without replacement.
    times = rng.exponential(size=len(labels)) / np.maximum(weights, 1e-300)
    order = np.lexsort((times, labels))
    ends = np.cumsum(np.bincount(labels, minlength=len(entropies)))
    next_place = np.concatenate([[0], ends[:-1]])
    drawn = np.empty(wanted, np.int64)
    for turn in range(wanted):
        chances = np.where(next_place < ends, probabilities, 0.0)  # a cluster without clients left drops out
        if not chances.sum() > 0:
            chances = (next_place < ends).astype(np.float64)
        point = int(np.searchsorted(np.cumsum(chances), rng.random() * chances.sum(), "right"))
        cluster = min(point, int(np.flatnonzero(chances)[-1]))
        drawn[turn] = order[next_place[cluster]]
        next_place[cluster] += 1
    return drawn
