"""DivFL: a cohort whose updates stand for everybody's, by greedy facility location."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.choices import choice_of, choice_of_all
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.geometry import distances
from werkbund.selection.ledger import counted_turns, positions, recall, remember, turns_of


def facility_location(matrix: Float64Array, weights: Float64Array, wanted: int) -> list[int]:
    """Return the places that cover all points best, greedily: each lowers the sum of distances to the nearest most.

    The first is the one of least total distance; each further one lowers G(S) = sum_i w_i min_{j in S} d_ij most. What
    a place gains can only shrink as others are chosen, so old gains bound new ones and few are computed (lazy greedy).

    Parameters
    ----------
    matrix
        (points, points), distances.
    weights
        (points,), how many stand at each.
    wanted
        How many places; all where there are no more.

    References
    ----------
    Balakrishnan, Li, Zhou, Himayat, Smith, Bilmes, ICLR 2022, the greedy of algorithm 1; Minoux, "Accelerated greedy
    algorithms for maximizing submodular set functions", 1978.
    """
    if not len(matrix):
        return []
    nearest = np.full(len(matrix), float(matrix.max()))
    gains = weights @ (nearest[:, None] - matrix)
    queue = [(-gain, place, 0) for place, gain in enumerate(gains.tolist())]
    heapq.heapify(queue)
    chosen: list[int] = []
    while queue and len(chosen) < wanted:
        _, place, known = heapq.heappop(queue)
        if known == len(chosen):
            chosen.append(place)
            nearest = np.minimum(nearest, matrix[:, place])
        else:
            gain = float(weights @ np.maximum(nearest - matrix[:, place], 0.0))
            heapq.heappush(queue, (-gain, place, len(chosen)))
    return chosen


@dataclass(frozen=True)
class DiverseSelection:
    """Choose the clients whose last known updates represent those of all (the form without overhead).

    Parameters
    ----------
    size
        How many.
    memory
        How many clients' updates are kept, those seen last. An assumption: the authors keep all.

    Notes
    -----
    Who has never been asked comes first, in random order, so that the first ceil(N/k) rounds meet everybody once: the
    authors gather all updates in the first round, which costs N uploads. A client that was asked in vain, or whose
    update is not kept any more, stands at zero together with all others of that kind; if that place is chosen, the one
    of them with the fewest turns goes.

    State: the updates, 4 bytes x memory x parameters (10 MB for 1,000 clients and 2,500 parameters), and 8 bytes a
    client. A choice needs memory² x parameters products.

    References
    ----------
    Balakrishnan, Li, Zhou, Himayat, Smith, Bilmes, "Diverse Client Selection for Federated Learning via Submodular
    Maximization", ICLR 2022, algorithm 1 with updates in place of gradients, as in the authors' code; the weights of
    the chosen are theirs by rows, and not the sizes of their neighbourhoods, as there.
    """

    name: ClassVar[str] = "divfl"
    card: ClassVar[Card] = Card(
        title="Diverse selection by facility location (DivFL)",
        rule="Add, one by one, the client that most lowers the sum over all clients of the distance between its last "
        "update and the nearest one in the cohort.",
        policy="training efficiency (diversity)",
        shared="updates",
        generation="geometry of updates",
        interpretation="ranking of sets",
        use_when="There are groups of like plants, each seen often enough that their last updates are of use.",
        avoid_when="Updates must stay hidden, or clients are many and rounds few: then it is a round robin. "
        "Independent comparisons found it slower than random choice.",
        notes=(
            "As long as anybody has never been asked, it chooses those, at random.",
            "It is deterministic afterwards: a client in a dense crowd may never be chosen again.",
        ),
    )
    size: CohortSize = CohortSize()
    memory: int = 1000

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise ConfigError(f"strategy.selection.memory must be >= 1, got {self.memory}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "Balakrishnan et al., Diverse Client Selection via Submodular Maximization, ICLR 2022, algorithm 1",
            needs=frozenset({"update"}),
            assumes=frozenset({"available", "addressable", "stateful", "reliable", "trustworthy"}),
            unbiased=False,
            cost="at the server: a matrix of remembered updates and their products",
            reveals="its whole update",
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Take the unmet first, then those who represent the others best."""
        del answers
        wanted = self.size.of(len(view.available))
        if wanted == len(view.available):
            return choice_of_all(view)
        turns = turns_of(view.state, view.available)
        unmet = rng.permutation(np.flatnonzero(turns == 0))[:wanted]
        met = np.flatnonzero(turns > 0)
        others = _representative(view, met, turns, wanted - len(unmet), rng)
        reasons = ("never asked before",) * len(unmet) + ("its update stands for others'",) * len(others)
        return choice_of(view.available[np.concatenate([unmet, others])], 1.0, reasons)

    def observe(self, state: State, reports: Reports) -> State:
        """Keep the updates, and count turns."""
        kept = remember(state, reports, reports.signals.get("update"), self.memory)
        return {**kept, "turns": counted_turns(state, reports)}


def _representative(
    view: View, met: Int64Array, turns: Int64Array, wanted: int, rng: np.random.Generator
) -> Int64Array:
    """Return the places of the clients in `met` whose last updates cover those of all of them best, (wanted,)."""
    if not wanted:
        return np.empty(0, np.int64)
    remembered = recall(view.state)
    at = positions(view.available[met], remembered.clients)
    known, unknown = met[at >= 0], rng.permutation(met[at < 0])
    unknown = unknown[np.argsort(turns[unknown], kind="stable")]
    vectors = remembered.vectors[at[at >= 0]]
    weights = np.ones(len(known))
    if len(unknown):
        vectors = np.concatenate([vectors, np.zeros((1, vectors.shape[1]), np.float32)])
        weights = np.append(weights, len(unknown))
    chosen = np.array(facility_location(distances(vectors), weights, wanted), np.int64)
    picked = np.concatenate([known, unknown[:1]])[chosen]
    spare = np.setdiff1d(unknown, picked, assume_unique=True)
    return np.concatenate([picked, spare[: wanted - len(picked)]])
