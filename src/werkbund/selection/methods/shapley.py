"""Selection by contribution: each update's Shapley value on the server's rows, remembered for the rounds to come."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import Float32Array, Float64Array, FloatingArray, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.games import TOLERANCE, WINDOW, Worth, gains_in_turn, has_settled
from werkbund.core.rng import generator
from werkbund.core.types import Choice, Replies, Score, Tasks
from werkbund.selection.card import Card
from werkbund.selection.choices import AnnotatedChoice, notes_on
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.draws import largest, successive_inclusion, successively
from werkbund.selection.facts import rows_of
from werkbund.selection.ledger import asked_in, column, entries, grown


@dataclass(frozen=True)
class Patience:
    """Say when the estimate of Shapley values stops, and which coalitions it does not score.

    Parameters
    ----------
    round_truncation
        If all together change the score by no more, nobody contributed.
    truncation
        Within an order, once all together are no more than this ahead, the rest adds nothing.
    fewest
        Orders before the first test of convergence.
    most
        Orders for each player, at most.
    window, tolerance
        It has converged if in so many last estimates the mean relative distance to the newest is at most this.
    """

    round_truncation: float = 0.01
    truncation: float = 0.001
    fewest: int = 30
    most: int = 50
    window: int = WINDOW
    tolerance: float = TOLERANCE


def gtg_shapley(
    score: Score,
    weights: Float32Array,
    updates: FloatingArray,
    shares: Float64Array,
    rng: np.random.Generator,
    patience: Patience = Patience(),
) -> Float64Array:
    """Return the Shapley value of each update, (n,), for the score of the weights that its coalition makes.

    A coalition S makes weights + Σ_S share·update / Σ_S share; the empty one leaves the weights.

    Parameters
    ----------
    score
        Judges weights, higher is better.
    weights
        (parameters,), those that the round began with.
    updates
        (n, parameters), unweighted.
    shares
        How much each counts in the mean, (n,), not negative.
    rng
        Draws orders.
    patience
        When to stop.

    References
    ----------
    Liu, Chen, Zhao, Yu, Liu, Bao, Jiang, Nie, Xu, Yang, "GTG-Shapley: Efficient and Accurate Participant Contribution
    Evaluation in Federated Learning", ACM TIST 2022, algorithm 1.
    """

    @cache
    def value(coalition: frozenset[int]) -> float:
        return score(_weights_by(weights, updates, shares, sorted(coalition)))

    return guided_shapley(value, len(updates), rng, patience)


def guided_shapley(value: Worth, number: int, rng: np.random.Generator, patience: Patience) -> Float64Array:
    """Return estimated Shapley values, (n,): the mean of marginal gains over orders in which each leads in turn.

    Parameters
    ----------
    value
        What a coalition of players 0 to n - 1 is worth; asked again for the same ones, so it had better remember.
    number
        n
    rng
        Draws the players behind the first.
    patience
        When to stop.
    """
    nothing, everything = value(frozenset()), value(frozenset(range(number)))
    if number == 0 or not abs(everything - nothing) > patience.round_truncation:
        return np.zeros(number)
    total = np.zeros(number)
    estimates: list[Float64Array] = []
    orders = gains_in_turn(value, number, patience.truncation, rng)
    while True:
        for gains in islice(orders, number):
            total += gains
            estimates.append(total / (len(estimates) + 1))
        enough = len(estimates) > patience.fewest and has_settled(estimates, patience.window, patience.tolerance)
        if enough or len(estimates) >= max(patience.most * number, patience.fewest):
            return np.asarray(estimates[-1])


def _weights_by(
    weights: Float32Array, updates: FloatingArray, shares: Float64Array, coalition: list[int]
) -> Float32Array:
    """Return the weights that a coalition makes, (parameters,); those of the round where its shares sum to 0."""
    total = shares[coalition].sum()
    if not total > 0:
        return weights
    step = (shares[coalition] / total) @ updates[coalition].astype(np.float64)
    return np.asarray(weights + step, dtype=weights.dtype)


@dataclass(frozen=True)
class ShapleyAveraging:
    """Draw clients by softmax of their relevance, a running mean of Shapley values.

    φ_i is 1/N at first; k are drawn one after the other without replacement with P = softmax(φ); of each that took part
    φ_i ← α·φ_i + β·SV_i.

    Parameters
    ----------
    size
        How many.
    memory
        α
    weight
        β
    round_truncation, truncation
        See `Patience`; in units of the score.
    seed
        For the orders of players, with the round.

    Notes
    -----
    The truncations are a tenth of those of GTG's code: it scores by accuracy, this server by the skill of the losses,
    which moves less in a round. The Shapley values are those of GTG, in place of the plain Monte Carlo of the source.
    Within a coalition updates count by rows, and the server's momentum is left out.
    N is the number of clients available now. A failed client keeps its φ. The
    state holds φ without the part that comes from 1/N (`relevance`), and how often each was valued (`valued`): φ =
    relevance + α^valued / N. The given probabilities are those of the draw to first order (`successive_inclusion`).

    References
    ----------
    Nagalapatti, Narayanam, "Game of Gradients: Mitigating Irrelevant Clients in Federated Learning", AAAI 2021,
    algorithm 2; α, β as in the code of GreedyFed's authors.
    """

    size: CohortSize = CohortSize()
    memory: float = 0.75
    weight: float = 0.25
    round_truncation: float = 0.001
    truncation: float = 0.0001
    seed: int = 0

    name: ClassVar[str] = "s-fedavg"
    card: ClassVar[Card] = Card(
        title="S-FedAvg, selection by Shapley values",
        rule="φ ← 0.75 φ + 0.25 · Shapley value of the update on the server's rows; draw with P = softmax(φ).",
        policy="training efficiency",
        shared="parameters",
        generation="Shapley values, validation set on the server",
        interpretation="probability",
        use_when="Some plants are irrelevant or spoilt, and the server has rows of its own that stand for all.",
        avoid_when="Updates must stay hidden, or the server's rows lack a rare fault: who alone sees it looks useless.",
        notes=(
            "Values are estimates by truncated orders (GTG-Shapley), in place of the source's plain Monte Carlo.",
            "A score that moves by hundredths leaves softmax(φ) nearly uniform: it acts slowly, by design.",
            "Below a change of 0.001 of the score in a round everybody's value counts as 0 (round_truncation).",
        ),
    )

    def __post_init__(self) -> None:
        for name in ("memory", "weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"strategy.selection.{name} must be in [0, 1], got {getattr(self, name)}")
        _check_truncation(self.round_truncation, self.truncation)

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return _declaration("Nagalapatti and Narayanam, AAAI 2021, algorithm 2")

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw by softmax of relevance."""
        del answers
        num_available = len(view.available)
        valued = entries(column(view.state, "valued"), view.available, 0.0)
        start = self.memory**valued / max(num_available, 1)
        relevance = entries(column(view.state, "relevance"), view.available, 0.0) + start
        mass = np.exp(relevance - relevance.max(initial=-np.inf))
        number = self.size.of(num_available)
        drawn = np.sort(successively(mass, number, rng))
        chance = successive_inclusion(mass, number) if number else np.empty(0)
        reasons = tuple(f"relevance {value:.4g}" for value in relevance[drawn].tolist())
        return _by_rows(view, drawn, chance[drawn], reasons)

    def observe(self, state: State, reports: Reports) -> State:
        """Compute the Shapley values of the updates, and average them into the relevance of their clients."""
        clients, values = valuations(reports, Patience(self.round_truncation, self.truncation), self.seed)
        relevance, valued = (grown(column(state, name), clients, 0.0) for name in ("relevance", "valued"))
        relevance[clients] = self.memory * relevance[clients] + self.weight * values
        valued[clients] += 1.0
        return {**state, "relevance": relevance, "valued": valued}


@dataclass(frozen=True)
class GreedyShapley:
    """Let everybody be valued once, then choose the k clients of the largest mean Shapley value.

    Parameters
    ----------
    size
        How many.
    memory
        0: plain mean of all values; else the weight of the past in an exponential mean.
    round_truncation, truncation
        See `Patience`; in units of the score.
    seed
        For the orders of players, with the round.

    Notes
    -----
    The truncations are a tenth of those of GTG's code: it scores by accuracy, this server by the skill of the losses,
    which moves less in a round. In the round robin at the start, and for newcomers, clients come in the order of their
    numbers; what is left of a cohort goes to the best. Within a coalition updates count by rows, and the
    server's momentum is left out. A client that was
    asked and failed has had its turn, and counts as one of value 0 until it is valued: a dead one would be asked for
    ever else. Ties fall at random. The choice is certain, so the given probabilities are 1.

    References
    ----------
    Singhal, Pandey, Popovski, "Greedy Shapley Client Selection for Communication-Efficient Federated Learning", IEEE
    Networking Letters 2024 (arXiv 2312.09108), algorithm 1.
    """

    size: CohortSize = CohortSize()
    memory: float = 0.0
    round_truncation: float = 0.001
    truncation: float = 0.0001
    seed: int = 0

    name: ClassVar[str] = "greedyfed"
    card: ClassVar[Card] = Card(
        title="GreedyFed, greedy selection by Shapley values",
        rule="Round robin until all are valued once; then the k largest mean Shapley values on the server's rows.",
        policy="training efficiency",
        shared="parameters",
        generation="Shapley values, validation set on the server",
        interpretation="ranking",
        use_when="Rounds are dear, and few plants teach most of what the server's rows ask for.",
        avoid_when="All plants shall be served: who is not among the best is asked no more. Or updates stay hidden.",
        notes=(
            "Values are estimates by truncated orders (GTG-Shapley), as in the source.",
            "With the plain mean a client that fell back early stays there; a memory below 1 forgets.",
            "Below a change of 0.001 of the score in a round everybody's value counts as 0 (round_truncation).",
        ),
    )

    def __post_init__(self) -> None:
        if not 0 <= self.memory < 1:
            raise ConfigError(f"strategy.selection.memory must be in [0, 1), got {self.memory}")
        _check_truncation(self.round_truncation, self.truncation)

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return _declaration("Singhal, Pandey and Popovski, arXiv 2312.09108")

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Take who had no turn yet, then the best."""
        del answers
        turns = entries(column(view.state, "turns"), view.available, 0.0)
        value = entries(column(view.state, "value"), view.available, 0.0)
        number = self.size.of(len(turns))
        new = np.flatnonzero(turns == 0)[:number]
        old = np.flatnonzero(turns > 0)
        best = old[largest(value[old], number - len(new), rng)]
        places = np.sort(np.concatenate([new, best]))
        reasons = tuple(f"mean value {value[i]:.4g}" if turns[i] > 0 else "not valued yet" for i in places.tolist())
        return _by_rows(view, places, np.ones(number), reasons)

    def observe(self, state: State, reports: Reports) -> State:
        """Compute the Shapley values of the updates, and take the means of their clients further."""
        asked = asked_in(reports)
        clients, values = valuations(reports, Patience(self.round_truncation, self.truncation), self.seed)
        turns, value, valued = (grown(column(state, name), asked, 0.0) for name in ("turns", "value", "valued"))
        turns[asked] += 1.0
        valued[clients] += 1.0
        fresh = 1.0 / valued[clients] if self.memory == 0 else np.where(valued[clients] > 1, 1.0 - self.memory, 1.0)
        value[clients] += fresh * (values - value[clients])
        return {**state, "turns": turns, "value": value, "valued": valued}


def valuations(reports: Reports, patience: Patience, seed: int) -> tuple[Int64Array, Float64Array]:
    """Return the clients whose updates have a Shapley value and these, (valued,) each; none without updates or score.

    Parameters
    ----------
    reports
        With `update` and `score`.
    patience
        When to stop.
    seed
        With the round it gives the orders of players.
    """
    updates = reports.signals.get("update")
    if updates is None or updates.ndim != 2 or reports.score is None or reports.weights is None:
        return np.empty(0, np.int64), np.empty(0)
    usable = np.isfinite(updates).all(axis=1)
    shares = np.maximum(notes_on(reports, "rows", 1.0)[usable], 0.0)
    rng = generator(seed, "shapley", reports.round)
    values = gtg_shapley(reports.score, reports.weights, updates[usable], shares, rng, patience)
    return reports.clients[usable], np.nan_to_num(values)


def _declaration(source: str) -> Declaration:
    """Return what both methods declare."""
    return Declaration(
        source,
        needs=frozenset({"update", "score"}),
        assumes=frozenset({"available", "addressable", "stateful", "reliable", "trustworthy"}),
        unbiased=False,
        cost="up to 2^k, or 50 k^2, scores of the server's own rows a round for a cohort of k; no work of clients",
        reveals="each client's whole update, and how it scores on the server's rows",
    )


def _by_rows(view: View, places: Int64Array, chance: Float64Array, reasons: tuple[str, ...]) -> Choice:
    """Return the choice of these places, with their rows as a note for the valuation."""
    notes = {"rows": rows_of(view)[places]}
    return AnnotatedChoice(view.available[places], chance, np.ones(len(places)), reasons, notes=notes)


def _check_truncation(*values: float) -> None:
    """Raise a `ConfigError` for a truncation that is negative or not finite."""
    if not all(0 <= value < np.inf for value in values):
        raise ConfigError(f"strategy.selection.round_truncation and truncation must be >= 0 and finite, got {values}")
