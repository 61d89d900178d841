"""LAG: everybody trains, and only who has something new to say uploads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.choices import AnnotatedChoice, notes_on
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.facts import answered, rows_of, shares
from werkbund.selection.questions import HOLD


def threshold(steps: Float64Array, factor: float) -> float:
    """Return the norm that an update must exceed: the square root of ξ times the sum of the last squared steps.

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


def informative(norms: Float64Array, counts: Float64Array, bound: float) -> BoolArray:
    """Return whether each update is worth sending, (n,): its norm, times n and its share p_i, is above the bound.

    An update of unknown norm is worth sending.

    Parameters
    ----------
    norms
        ‖Δ_i‖, (n,).
    counts
        What each counts in the mean, (n,), such as rows; p_i is its share.
    bound
        The threshold.

    Examples
    --------
    >>> informative(np.array([1.0, 3.0, np.nan]), np.ones(3), 2.0).tolist()
    [False, True, True]
    """
    scaled = len(norms) * shares(counts) * norms
    return ~(scaled <= bound)


@dataclass(frozen=True)
class LazyUpload:
    """Let clients train and hold; those whose update is longer than recent steps of the global weights upload.

    Client i of n that trained uploads if (n·p_i·‖Δ_i‖)² > Σ_d ξ·‖w^(t+1-d) - w^(t-d)‖² over the last D steps,
    p_i its share of rows. The sum of what came is divided by the rows of all that trained.

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
    LAG-WK uploads iff ‖∇F_i(w^t) - ∇F_i(ŵ_i)‖² > Σ_d ξ_d ‖w^(t+1-d) - w^(t-d)‖² / (α² N²), with objective ΣF_i and one
    gradient step α a round, and the server goes on using the old gradient of who stays silent. Assumption: ξ = 0.1 and
    D = 10 are said to be the paper's, which was not read in full.

    Deviations, each with its reason. Clients keep nothing between rounds, and several local steps have no gradient at
    one point, so the update Δ_i stands for α times the gradient, and the old one counts as zero: who stays silent adds
    nothing in this round, in the rule as in the mean. With the mean Σ p_i F_i in place of the sum, α N becomes α, and
    client i counts n·p_i. The norm of the whole update is larger than that of a change, so fewer stay silent than in
    the paper; raise ξ to silence more. Here the server compares, with norms told in clear; a client could itself, if it
    were told the threshold. The step is that of the mean of updates: a server optimiser's own step is not known here.
    In the first round nobody stays silent. If nobody is above the threshold the longest update comes alone, because a
    round needs somebody.

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
        title="Lazy upload by threshold (LAG)",
        rule="All train; who has n p_i times the norm of its update above the root of 0.1 times the sum of the last 10 "
        "squared steps uploads; the others add nothing.",
        policy="training efficiency",
        termination="fixed rounds, early stop",
        shared="update norm",
        generation="loss-based",
        interpretation="threshold",
        use_when="Upload is what costs, such as a metered radio link, and training is cheap.",
        avoid_when="Energy or time of training counts: everybody trains. Or rows differ: small plants fall silent.",
        notes=(
            "The paper reuses old gradients of the silent; here they add nothing, so ξ acts differently.",
            "Clients far below the mean in rows seldom pass, because n p_i scales their norm.",
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
            needs=frozenset({"norm", "update"}),
            assumes=frozenset({"available", "addressable", "stateful", "reliable", "trustworthy"}),
            unbiased=False,
            cost="all train for few uploads; one number from each, and one more message",
            reveals="the norm of each update, and the updates of those that upload",
            asks=frozenset({HOLD}),
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Let clients train and hold."""
        number = self.size.of(len(view.available))
        if answers or not number:
            return None
        return Tasks(HOLD, view.round, np.sort(rng.choice(view.available, number, replace=False)))

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Let those above the threshold upload."""
        clients, norms = answered(answers, HOLD, "norm")
        number = self.size.of(len(view.available))
        if not len(clients):
            drawn = np.sort(rng.choice(view.available, number, replace=False))
            chance = np.full(number, number / max(len(view.available), 1))
            return Choice(drawn, chance, np.ones(number), ("nobody trained ahead; drawn at random",) * number)
        counts = rows_of(view)[np.searchsorted(view.available, clients)]
        bound = threshold(np.asarray(view.state.get("steps", ()), dtype=np.float64), self.factor)
        passed = informative(norms, counts, bound)
        if not passed.any():
            passed[np.nanargmax(shares(counts) * norms)] = True
        reasons = tuple(f"update norm {norm:.4g}, threshold {bound:.4g}" for norm in norms[passed].tolist())
        chance = np.full(int(passed.sum()), len(clients) / len(view.available))
        total = float(counts.sum())
        return AnnotatedChoice(
            clients[passed],
            chance,
            np.ones(len(chance)),
            reasons,
            equal="rows" not in view.facts,
            total=total if total > 0 else None,
            held=True,
            notes={"share": shares(counts)[passed]},
        )

    def observe(self, state: State, reports: Reports) -> State:
        """Keep the length of the step that these updates make together."""
        updates, share = reports.signals.get("update"), notes_on(reports, "share", np.nan)
        if updates is None or updates.ndim != 2 or not len(updates):
            return state
        share = np.where(np.isfinite(share), share, 1.0 / len(share))
        usable = np.isfinite(updates).all(axis=1)
        step = float(np.linalg.norm(share[usable] @ np.asarray(updates[usable], dtype=np.float64)))
        return {**state, "steps": [*state.get("steps", []), step][-self.memory :]}
