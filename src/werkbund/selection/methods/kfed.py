"""k-FED: clusters of rows over all clients from one question, and cohorts of clients that hold different ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.choices import choice_of, choice_of_all
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.facts import answer_of, weights_of
from werkbund.selection.ledger import positions, recall, remember
from werkbund.selection.questions import CENTROIDS, LOSS

_CENTRES = "centroids"
"""Name of the array that answers."""
"""Kind of question that a client answers with `centroids`, (asked clusters, features); NaN where it has fewer."""


def first_centres(centroids: Float64Array, num_first: int, number: int) -> Float64Array:
    """Return the centres from which all local centroids are clustered, (at most number, features).

    The centroids of one client differ for sure, so they begin; then, one by one, the centroid that is farthest from
    all centres is added, as long as it differs from them.

    Parameters
    ----------
    centroids
        (centroids, features), of all clients, those of the first client first.
    num_first
        How many are the first client's.
    number
        How many centres k.

    References
    ----------
    Dennis, Li, Smith, ICML 2021, algorithm 2, steps 2 to 6.
    """
    centres = np.unique(centroids[:num_first], axis=0)[:number]
    nearest = ((centroids[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2).min(axis=1)
    while len(centres) < number and nearest.max() > 0:
        farthest = centroids[nearest.argmax()]
        centres = np.concatenate([centres, farthest[None]])
        nearest = np.minimum(nearest, ((centroids - farthest) ** 2).sum(axis=1))
    return centres


def cluster_sets(local: Float32Array, number: int) -> BoolArray:
    """Return which of the clusters over all clients each client holds, (clients, clusters).

    Parameters
    ----------
    local
        (clients, local clusters, features), the local centroids; NaN where there are fewer.
    number
        How many clusters at most.

    References
    ----------
    Dennis, Li, Smith, ICML 2021, algorithm 2: one round of assignment to the first centres. The authors' code goes on
    with Lloyd's iterations.
    """
    held = np.isfinite(local).all(axis=2)
    owner = np.nonzero(held)[0]
    points = local[held].astype(np.float64)
    sets = np.zeros((len(local), number), np.bool_)
    if len(points):
        centres = first_centres(points, int((owner == owner[0]).sum()), number)
        nearest = np.stack([((points - centre) ** 2).sum(axis=1) for centre in centres]).argmin(axis=0)
        sets[owner, nearest] = True
    return sets


def distinct_first(sets: Int64Array) -> Int64Array:
    """Return the places ordered so that no set is repeated before every other set has had its turn, (clients,).

    Parameters
    ----------
    sets
        (clients,), the number of each client's set, in the order of preference.
    """
    by_set = np.argsort(sets, kind="stable")
    counts = np.bincount(sets)
    turn = np.empty(len(sets), np.int64)
    turn[by_set] = np.arange(len(sets)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.argsort(turn, kind="stable")


@dataclass(frozen=True)
class FederatedClusters:
    """Choose clients that hold different clusters of rows, found by one-shot federated k-means.

    Parameters
    ----------
    size
        How many.
    clusters
        How many clusters k over all clients. An assumption, as it depends on the data.
    local
        How many clusters k' in one client. An assumption; the theory wants k' <= sqrt(k).
    candidates
        With power of choice: so many candidates, drawn in proportion to rows, tell their losses, and those of large
        loss come first. 0 for none: then clients come in a random order, in proportion to rows.

    Notes
    -----
    A client whose centroids are not known holds a set of its own. Centroids are asked in the first round, and of those
    who lack in each round whose number is a power of two, so that silent ones are not asked for ever. The answers must
    reach `observe` as `reports.answers`.

    State: 4 bytes x local x features and 16 bytes a client.

    References
    ----------
    Dennis, Li, Smith, "Heterogeneity for the Win: One-Shot Federated Clustering", ICML 2021, algorithm 2, and its use
    for client selection: clients whose sets of clusters coincide are not chosen together, alone or with power of
    choice (Cho, Wang, Joshi, AISTATS 2022). Where there are fewer sets than places, sets come a second time.
    """

    name: ClassVar[str] = "k-fed"
    card: ClassVar[Card] = Card(
        title="One-shot federated clusters (k-FED)",
        rule="Clients tell local centroids of their rows once; the server clusters them, and in each round no two "
        "clients with the same set of clusters are chosen as long as there are others.",
        policy="training efficiency",
        shared="centroids of rows",
        generation="clustering",
        interpretation="clusters",
        use_when="Plants run machines of a few kinds or in a few regimes, and a cohort shall cover them.",
        avoid_when="Centroids of sensor readings may not leave a plant, or regimes drift: it asks once.",
        notes=("The numbers of clusters are assumptions; k' <= sqrt(k) is what the paper's theory wants.",),
    )
    size: CohortSize = CohortSize()
    clusters: int = 9
    local: int = 3
    candidates: int = 0

    def __post_init__(self) -> None:
        for name, least in (("clusters", 1), ("local", 1), ("candidates", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"strategy.selection.{name} must be >= {least}, got {getattr(self, name)}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        losses = f"; the loss of {self.candidates} candidates each round" if self.candidates else ""
        return Declaration(
            "Dennis, Li, Smith, One-Shot Federated Clustering, ICML 2021, algorithm 2",
            assumes=frozenset({"available", "addressable", "stateful", "reliable", "trustworthy"}),
            unbiased=False,
            cost=f"k-means over its own rows and {self.local} centroids of each client, once{losses}",
            reveals=f"{self.local} mean rows of its prepared features" + (", and its loss" if self.candidates else ""),
            asks=frozenset({CENTROIDS, LOSS} if self.candidates else {CENTROIDS}),
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask for centroids that are not known, then for candidates' losses."""
        kinds = {reply.kind for reply in answers}
        lacking = view.available[positions(view.available, recall(view.state).clients) < 0]
        if not kinds and len(lacking) and view.round & (view.round - 1) == 0:
            keys = rng.integers(0, 2**63, len(lacking), dtype=np.uint64)
            return Tasks(CENTROIDS, view.round, lacking, {"k": np.array(self.local)}, {"key": keys})
        if self.candidates and LOSS not in kinds and len(view.available):
            number = min(max(self.candidates, self.size.of(len(view.available))), len(view.available))
            order = _by_rows(view, rng)[:number]
            return Tasks(LOSS, view.round, np.sort(view.available[order]))
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Take clients of different sets first, in a random order or by loss."""
        wanted, available = self.size.of(len(view.available)), view.available
        if wanted == len(available):
            return choice_of_all(view)
        order = _by_rows(view, rng)
        losses = np.nan_to_num(answer_of(available[order], answers, LOSS, "loss"), nan=-np.inf)
        order = order[np.argsort(-losses, kind="stable")]
        held = self._held(view, answers)[order]
        cohort = distinct_first(np.unique(held, axis=0, return_inverse=True)[1].reshape(-1))[:wanted]
        share = wanted / len(available)  # stands in for inclusion probabilities that are not known
        return choice_of(available[order[cohort]], share, tuple(_in_words(row, self.clusters) for row in held[cohort]))

    def observe(self, state: State, reports: Reports) -> State:
        """Keep the centroids that clients answered with."""
        return _with_centroids(state, reports.answers, reports.round, self.local)

    def _held(self, view: View, answers: tuple[Replies, ...]) -> Int64Array:
        """Return which clusters each available client holds, (available, clusters + 1), as 0 and 1.

        The last column is 0, or a number of its own for each client whose centroids are not known.
        """
        remembered = recall(_with_centroids(view.state, answers, view.round, self.local))
        num_known = len(remembered.clients)
        local = remembered.vectors.reshape(num_known, self.local, -1) if num_known else None
        at = positions(view.available, remembered.clients)
        held = np.zeros((len(at), self.clusters + 1), np.int64)
        if local is not None and (at >= 0).any():
            held[at >= 0, :-1] = cluster_sets(local, self.clusters)[at[at >= 0]]
        held[at < 0, -1] = 1 + np.arange((at < 0).sum())
        return held


def _with_centroids(state: State, answers: tuple[Replies, ...], round: int, local: int) -> State:
    """Return the state with the centroids in the answers; where a client has fewer than `local`, its first fills up.

    Answers with another number of features than the centroids already known are left out; where none are known, than
    most of the answers have.
    """
    fitting = [reply for reply in answers if reply.kind == CENTROIDS and _fits(reply, local)]
    widths = np.concatenate([np.empty(0, np.int64), *(np.full(len(r), r.clear[_CENTRES].shape[2]) for r in fitting)])
    if not len(widths):
        return state
    width = recall(state).vectors.shape[1] // local or int(np.bincount(widths).argmax())
    same = [reply for reply in fitting if reply.clear[_CENTRES].shape[2] == width]
    clients = np.concatenate([np.empty(0, np.int64), *(reply.clients for reply in same)])
    centroids = np.concatenate([np.empty((0, local, width)), *(reply.clear[_CENTRES] for reply in same)])
    finite = np.isfinite(centroids).all(axis=2)
    usable = finite.any(axis=1)
    first = centroids[np.arange(len(centroids)), finite.argmax(axis=1)]
    filled = np.where(finite[:, :, None], centroids, first[:, None, :])[usable]
    return remember(state, Reports(round, clients[usable], {}, ()), filled.reshape(len(filled), local * width))


def _fits(reply: Replies, local: int) -> bool:
    """Return whether a reply has so many centroids of each client, (replies, local, features)."""
    centroids = reply.clear.get(_CENTRES)
    if centroids is None or centroids.ndim != 3 or centroids.dtype.kind != "f":
        return False
    return centroids.shape[1] == local and bool(centroids.size)


def _by_rows(view: View, rng: np.random.Generator) -> Int64Array:
    """Return the places of the available clients in a random order, drawn one by one in proportion to rows."""
    counts, _ = weights_of(view)
    with np.errstate(divide="ignore"):
        return np.argsort(rng.exponential(size=len(counts)) / counts, kind="stable")


def _in_words(row: Int64Array, clusters: int) -> str:
    if row[clusters]:
        return "its clusters are not known"
    return f"holds clusters {', '.join(str(number + 1) for number in np.flatnonzero(row[:clusters]))}"
