"""LAG: everybody trains, and who has something new to say uploads; of the silent the last update counts again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Reused, Tasks
from werkbund.selection.card import Card
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.facts import answered, rows_of, shares
from werkbund.selection.ledger import positions, recall, remember
from werkbund.selection.questions import HOLD


def threshold(steps: Float64Array, factor: float) -> float:
    """Return the norm that a change must exceed: the square root of ξ times the sum of the last squared steps.

    Parameters
    ----------
    steps
        (D or fewer,), norms of the last steps of the global weights.
    factor
        ξ

    Examples
    --------
    >>> threshold(np.full(10, 3.0), 0.1)
    3.0
    """
    return float(np.sqrt(factor * np.sum(steps**2)))


def informative(changes: Float64Array, counts: Float64Array, bound: float) -> BoolArray:
    """Return whether each update is worth sending, (n,): its change, times n and its share p_i, is above the bound.

    An update of unknown change is worth sending.

    Parameters
    ----------
    changes
        ‖Δ_i - Δ̂_i‖, (n,).
    counts
        What each counts in the mean, (n,), such as rows; p_i is its share.
    bound
        The threshold.

    Examples
    --------
    >>> informative(np.array([1.0, 3.0, np.nan]), np.ones(3), 2.0).tolist()
    [False, True, True]
    """
    scaled = len(changes) * shares(counts) * changes
    return ~(scaled <= bound)


@dataclass(frozen=True)
class LazyUpload:
    """Let clients train and hold; those upload whose update has changed by more than recent steps of the weights.

    Client i of the n that trained uploads if (n·p_i·‖Δ_i - Δ̂_i‖)² > Σ_d ξ·‖w^(t+1-d) - w^(t-d)‖² over the last D
    steps; Δ̂_i is the update that it sent last, 0 before the first, p_i its share of rows. Who trained and stays silent
    counts in the mean with Δ̂_i, which the server keeps.

    Parameters
    ----------
    size
        How many train ahead.
    factor
        ξ
    memory
        D, how many steps count.

    Notes
    -----
    LAG-WK uploads iff ‖∇F_i(w^t) - ∇F_i(ŵ_i)‖² > Σ_d ξ_d ‖w^(t+1-d) - w^(t-d)‖² / (α² N²), with objective ΣF_i and
    one gradient step α a round, and the server goes on using the old gradient of who stays silent. With the mean
    Σ p_i F_i in place of the sum, α N becomes α, and client i counts n·p_i. Assumption: ξ = 0.1 and D = 10 are said to
    be the paper's, which was not read in full.

    Deviations, each with its reason. Several local steps have no gradient at one point, so the update Δ_i stands for α
    times the gradient. The steps are those that the weights took, a server optimiser's included: with server momentum
    they are longer, and more clients stay silent; lower ξ then. Here the server compares, with changes told in clear; a
    client could itself, if it were told the threshold. Of clients that did not train in a round, because they were
    away, failed or were not drawn, nothing counts: an update of a plant that has left would else push for ever. A
    client whose upload is lost takes it for sent, and the server reuses the one before. A client of which the server
    has no update is not silent, so in the first round nobody is. If nobody is above the threshold the largest change
    comes alone, because a round needs somebody.

    References
    ----------
    Chen, Giannakis, Sun, Yin, "LAG: Lazily Aggregated Gradient for Communication-Efficient Distributed Learning",
    NeurIPS 2018, equation 7a and algorithm 1.
    """

    size: CohortSize = CohortSize()
    factor: float = 0.1
    memory: int = 10

    name: ClassVar[str] = "lag"
    card: ClassVar[Card] = Card(
        title="Lazily aggregated gradients (LAG-WK)",
        rule="All train; who has n p_i times the norm of its update's change since its last upload above the root of "
        "0.1 times the sum of the last 10 squared steps uploads; of the others the last upload counts again.",
        policy="training efficiency",
        termination="fixed rounds, early stop",
        shared="update norm",
        generation="loss-based",
        interpretation="threshold",
        use_when="Upload is what costs, such as a metered radio link, and training is cheap.",
        avoid_when="Energy or time of training counts: everybody trains. Or rows differ: small plants fall silent.",
        notes=(
            "The server keeps an update of each client, and each client its last one.",
            "Updates of several local steps stand for gradients; of who did not train in a round nothing counts.",
            "With server momentum the steps of the weights are longer, and more fall silent: lower ξ.",
            "Clients far below the mean in rows seldom pass, because n p_i scales their change.",
        ),
    )

    def __post_init__(self) -> None:
        if not 0 <= self.factor < np.inf:
            raise ConfigError(f"strategy.selection.factor must be >= 0 and finite, got {self.factor}")
        if self.memory < 1:
            raise ConfigError(f"strategy.selection.memory must be >= 1, got {self.memory}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "Chen, Giannakis, Sun and Yin, NeurIPS 2018, equation 7a",
            needs=frozenset({"change", "update"}),
            assumes=frozenset({"available", "addressable", "stateful", "reliable", "trustworthy"}),
            unbiased=False,
            cost="all train for few uploads; one number from each, and one more message; memory for an update of each",
            reveals="how far each update is from the last one, and the updates of those that upload, which are kept",
            asks=frozenset({HOLD}),
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Let clients train and hold."""
        number = self.size.of(len(view.available))
        if answers or not number:
            return None
        return Tasks(HOLD, view.round, np.sort(rng.choice(view.available, number, replace=False)))

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Let those above the threshold upload, and reuse the last updates of the others."""
        clients, changes = answered(answers, HOLD, "change")
        number = self.size.of(len(view.available))
        if not len(clients):
            drawn = np.sort(rng.choice(view.available, number, replace=False))
            chance = np.full(number, number / max(len(view.available), 1))
            return Choice(drawn, chance, np.ones(number), ("nobody trained ahead; drawn at random",) * number)
        counts = rows_of(view)[np.searchsorted(view.available, clients)]
        bound = threshold(np.asarray(view.state.get("steps", ()), dtype=np.float64), self.factor)
        kept = recall(view.state)
        known = positions(clients, kept.clients)
        passed = informative(changes, counts, bound) | (known < 0)
        if not passed.any():
            passed[np.nanargmax(shares(counts) * changes)] = True
        reasons = tuple(f"update changed by {change:.4g}, threshold {bound:.4g}" for change in changes[passed].tolist())
        chance = np.full(int(passed.sum()), len(clients) / len(view.available))
        reused = Reused(clients[~passed], kept.vectors[known[~passed]], counts[~passed])
        return Choice(
            clients[passed],
            chance,
            np.ones(len(chance)),
            reasons,
            equal="rows" not in view.facts,
            held=True,
            reused=reused if len(reused.clients) else None,
        )

    def observe(self, state: State, reports: Reports) -> State:
        """Keep the updates that came, and the length of the step that the weights took."""
        kept = remember(state, reports, reports.signals.get("update"))
        if not np.isfinite(reports.step):
            return kept
        return {**kept, "steps": [*state.get("steps", []), float(reports.step)][-self.memory :]}
