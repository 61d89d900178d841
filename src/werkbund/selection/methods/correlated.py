"""FedCor: choose the clients whose training lowers the loss of all, by how losses were seen to change together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import AnyArray, Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.rng import generator
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.choices import choice_of, choice_of_all
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.facts import answered, weights_of
from werkbund.selection.ledger import asked_in, column, entries, grown
from werkbund.selection.questions import LOSS

_LEAST = 1e-12  # lower bound of a conditioned variance, against rounding


@dataclass(frozen=True)
class Evidence:
    """Hold observed loss changes, prepared for the likelihood.

    Parameters
    ----------
    residuals
        (events, clients), changes less their weighted mean; 0 where none was seen.
    masks
        (distinct, clients), who was seen, one row for each set of clients.
    mask_of
        (events,), the row of `masks` of each event.
    weights
        (events,), what each event counts.
    """

    residuals: Float64Array
    masks: Float64Array
    mask_of: Int64Array
    weights: Float64Array


def evidence(changes: AnyArray, ages: Int64Array, discount: float) -> Evidence:
    """Return changes less the discounted mean of each client, ready for the likelihood.

    Parameters
    ----------
    changes
        (events, clients), NaN where a client's change was not observed.
    ages
        (events,), in rounds; an event counts discount ** age.
    discount
        gamma
    """
    weights = discount ** ages.astype(np.float64)
    seen = np.isfinite(changes)
    filled = np.where(seen, changes, 0.0).astype(np.float64)
    counted = weights @ seen
    mean = np.divide(weights @ filled, counted, out=np.zeros(len(counted)), where=counted > 0)
    masks, mask_of = np.unique(seen, axis=0, return_inverse=True)
    return Evidence(np.where(seen, filled - mean, 0.0), masks.astype(np.float64), mask_of.reshape(-1), weights)


def likelihood(embeddings: Float64Array, seen: Evidence, noise: float) -> tuple[float, Float64Array]:
    """Return the weighted negative log marginal likelihood, and its gradient by the embeddings, (clients, dimension).

    One event adds (r' K⁻¹ r + log |K| + n log 2 pi) / 2, where r are the residuals of the n clients observed in it, X
    their rows of the embeddings and K = X X' + noise² I their covariance. K⁻¹ and |K| are computed from the small
    matrix noise² I + X' X (Woodbury).

    Parameters
    ----------
    embeddings
        (clients, dimension).
    seen
        The observed changes.
    noise
        Standard deviation that the embeddings do not explain.

    References
    ----------
    Rasmussen, Williams, "Gaussian Processes for Machine Learning", 2006, equations 5.8 and 5.9.
    """
    dimension, variance = embeddings.shape[1], noise**2
    outer = (embeddings[:, :, None] * embeddings[:, None, :]).reshape(len(embeddings), -1)
    inner = variance * np.eye(dimension) + (seen.masks @ outer).reshape(-1, dimension, dimension)
    inverse = np.linalg.inv(inner)[seen.mask_of]
    projected = seen.residuals @ embeddings
    solved = np.einsum("eij,ej->ei", inverse, projected)
    dual = seen.masks[seen.mask_of] * (seen.residuals - solved @ embeddings.T) / variance  # K⁻¹ r: (events, clients)
    numbers = seen.masks.sum(axis=1)
    volumes = (np.linalg.slogdet(inner)[1] + (numbers - dimension) * np.log(variance))[seen.mask_of]
    fits = np.einsum("en,en->e", dual, seen.residuals)
    constant = numbers[seen.mask_of] * np.log(2 * np.pi)
    value = 0.5 * float(seen.weights @ (fits + volumes + constant))
    per_mask = np.zeros((len(seen.masks), dimension, dimension))
    np.add.at(per_mask, seen.mask_of, seen.weights[:, None, None] * inverse)
    spread = (seen.masks.T @ per_mask.reshape(len(per_mask), -1)).reshape(-1, dimension, dimension)
    gradient = np.einsum("nd,ndf->nf", embeddings, spread) - (dual * seen.weights[:, None]).T @ (dual @ embeddings)
    return value, gradient


def fit(embeddings: Float64Array, seen: Evidence, noise: float, steps: int, learning_rate: float) -> Float64Array:
    """Return the embeddings after so many steps of Adam on the negative log marginal likelihood.

    References
    ----------
    Kingma, Ba, "Adam", ICLR 2015, algorithm 1, with its constants.
    """
    fitted, mean, square = embeddings.copy(), np.zeros_like(embeddings), np.zeros_like(embeddings)
    for step in range(1, steps + 1):
        _, gradient = likelihood(fitted, seen, noise)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        fitted = fitted - learning_rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return fitted


def first_embeddings(clients: Int64Array, dimension: int) -> Float64Array:
    """Return where embeddings begin, (clients, dimension): normal numbers of length about 1, the same in any run."""
    drawn = [generator(0, "fedcor embeddings", 0, client).standard_normal(dimension) for client in clients.tolist()]
    embeddings: Float64Array = np.array(drawn).reshape(len(clients), dimension) / np.sqrt(dimension)
    return embeddings


def most_reducing(
    embeddings: Float64Array, noise: float, weights: Float64Array, annealing: Float64Array, wanted: int
) -> tuple[list[int], list[float]]:
    """Return the places of the clients that lower the expected total loss most, in their order, and the score of each.

    With the covariance S of loss changes, the score of client i is a_i / sqrt(S_ii) x sum_j p_j S_ji, where p is what
    clients count and a their annealing. The largest is taken, S is conditioned on it (S <- S - S_i S_i' / S_ii), and so
    on.

    Parameters
    ----------
    embeddings
        (clients, dimension); S is their inner products plus noise² I.
    noise
        Standard deviation of what the embeddings do not explain.
    weights, annealing
        (clients,) each, p and a.
    wanted
        How many.

    References
    ----------
    Tang, Ning, Wang, Sun, Wang, Li, Chen, CVPR 2022, the client selection of algorithm 1.
    """
    number, least = len(embeddings), max(noise**2, _LEAST)
    variance = (embeddings**2).sum(axis=1) + noise**2
    covered = embeddings @ (weights @ embeddings) + noise**2 * weights
    free, taken, scores = np.ones(number, np.bool_), list[int](), list[float]()
    columns = np.empty((min(wanted, number), number))
    for turn in range(len(columns)):
        gain = np.where(free, annealing * covered / np.sqrt(np.maximum(variance, least)), -np.inf)
        place = int(gain.argmax())
        now = embeddings @ embeddings[place] - columns[:turn, place] @ columns[:turn]
        now[place] += noise**2
        columns[turn] = now / np.sqrt(max(float(now[place]), least))
        covered = covered - columns[turn] * float(columns[turn] @ weights)
        variance = variance - columns[turn] ** 2
        free[place] = False
        taken.append(place)
        scores.append(float(gain[place]))
    return taken, scores


@dataclass(frozen=True)
class CorrelatedSelection:
    """Model loss changes as a Gaussian process, and choose by expected reduction of the total loss.

    Parameters
    ----------
    size
        How many.
    warmup
        So many first rounds train a uniform cohort, with the losses of everybody asked before each and after the last.
    every
        Afterwards, each round whose number it divides does the same, to keep the process up to date.
    history
        Changes older than so many rounds are forgotten.
    discount
        What a change counts, to the power of its age in rounds.
    annealing
        What a client's score is multiplied by whenever it has been chosen, until the process is fitted again.
    dimension
        Of a client's embedding.
    noise
        Standard deviation that the embeddings do not explain, in units of the loss.
    learning_rate, first_steps, steps
        Of Adam on the marginal likelihood; the number of steps of the first fit and of a later one.

    Notes
    -----
    The defaults are those of the authors' commands for Fashion-MNIST (100 clients, 500 rounds, 5 a round); for
    CIFAR-10 they are warmup 20, every 50, history 500, discount 0.99 and annealing 0.9.

    The loss of a round's result is known in the next round, so the process learns of a change one round later than in
    the authors' code, and the round after the warm-up is uniform too. A client whose loss has never been asked keeps
    the embedding at which it began. The answers must reach `observe` as `reports.answers`; without them every round
    is uniform.

    Cost: warmup + 1 questions of everybody's loss, and two more each `every` rounds. A fit takes time in proportion to
    steps x clients x dimension², a choice to k x clients x (k + dimension). State: 4 bytes x clients x (changes kept +
    dimension), and 16 bytes a client.

    References
    ----------
    Tang, Ning, Wang, Sun, Wang, Li, Chen, "FedCor: Correlation-Based Active Client Selection Strategy for
    Heterogeneous Federated Learning", CVPR 2022, algorithm 1, with the linear kernel and the discounted mean of the
    authors' commands. To learn a change after the warm-up, their code trains a uniform cohort beside the chosen one
    and throws its result away; here that round's own cohort is uniform.
    """

    name: ClassVar[str] = "fedcor"
    card: ClassVar[Card] = Card(
        title="Correlation-based selection (FedCor)",
        rule="Fit client embeddings to the changes of all losses; then take, one by one, the client with the largest "
        "a_i / sqrt(S_ii) x sum_j p_j S_ji, and condition the covariance S on it.",
        policy="training efficiency",
        shared="loss of everybody, now and then",
        generation="correlation of losses",
        interpretation="ranking of sets",
        use_when="Some dozen to some hundred plants can all be asked for their loss now and then, over many rounds.",
        avoid_when="There are few rounds (the warm-up alone is 15), or plants are often away when losses are asked.",
        notes=(
            "In the warm-up it is uniform choice with the cost of everybody's loss in each round.",
            "Noise is in units of the loss: with losses far below 1 a smaller one may be better.",
        ),
    )
    size: CohortSize = CohortSize()
    warmup: int = 15
    every: int = 10
    history: int = 100
    discount: float = 0.95
    annealing: float = 0.95
    dimension: int = 15
    noise: float = 0.01
    learning_rate: float = 0.01
    first_steps: int = 1000
    steps: int = 100

    def __post_init__(self) -> None:
        rules = [
            *((name, getattr(self, name) >= 1, "must be >= 1") for name in ("warmup", "every", "history", "dimension")),
            *((name, getattr(self, name) >= 0, "must be >= 0") for name in ("first_steps", "steps")),
            *((name, getattr(self, name) > 0, "must be > 0") for name in ("noise", "learning_rate")),
            *((name, 0 < getattr(self, name) <= 1, "must be in (0, 1]") for name in ("discount", "annealing")),
        ]
        for name, holds, rule in rules:
            if not holds or not math.isfinite(getattr(self, name)):
                raise ConfigError(f"strategy.selection.{name} {rule}, got {getattr(self, name)}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "Tang et al., FedCor, CVPR 2022, algorithm 1",
            assumes=frozenset({"available", "addressable", "stateful", "reliable", "trustworthy"}),
            unbiased=False,
            cost=f"everybody's loss in the first {self.warmup + 1} rounds and twice each {self.every} rounds; at the "
            "server, a fit of embeddings",
            reveals="the loss of the current weights on its rows, taking part or not",
            asks=frozenset({LOSS}),
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask everybody's loss before and after the rounds that the process learns from."""
        del rng
        wanted = self._teaches(view.round) or self._teaches(view.round - 1)
        return Tasks(LOSS, view.round, view.available) if wanted and not answers and len(view.available) else None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw uniformly where the process learns, or choose by what it has learned."""
        del answers
        available, wanted = view.available, self.size.of(len(view.available))
        if wanted == len(available):
            return choice_of_all(view, equal=True)
        if self._teaches(view.round) or "embeddings" not in view.state:
            cohort = rng.choice(available, wanted, replace=False)
            reasons = ("drawn at random, to see how losses change together",) * wanted
            return choice_of(cohort, wanted / len(available), reasons, equal=True)
        counts, _ = weights_of(view)
        embeddings = self._embeddings(view.state, int(available.max()) + 1)[available]
        annealing = entries(column(view.state, "annealing"), available, 1.0)
        chosen, scores = most_reducing(embeddings, self.noise, counts / counts.sum(), annealing, wanted)
        reasons = tuple(f"expected to lower all losses together by {score:.3g}" for score in scores)
        return choice_of(available[np.array(chosen)], 1.0, reasons, equal=True)

    def observe(self, state: State, reports: Reports) -> State:
        """Keep the change of losses, fit the process to them after the warm-up, and anneal the scores of the chosen."""
        chosen = "embeddings" in state and not self._teaches(reports.round)
        state = self._learned(state, reports)
        if not chosen:
            return state
        asked = asked_in(reports)
        annealing = grown(column(state, "annealing"), asked, 1.0)
        annealing[asked] *= self.annealing
        return {**state, "annealing": annealing}

    def _teaches(self, round: int) -> bool:
        """Say whether the process learns how losses change in a round."""
        return 1 <= round <= self.warmup or (round > self.warmup and round % self.every == 0)

    def _learned(self, state: State, reports: Reports) -> State:
        """Return the state with the losses of this round, and with their change since the last if that one teaches."""
        clients, values = answered(reports.answers, LOSS, "loss")
        if not len(clients):
            return state
        losses = np.full(int(clients.max()) + 1, np.nan)
        losses[clients] = values
        before = state.get("losses")
        after = {**state, "losses": losses, "asked": reports.round}
        if before is None or state["asked"] != reports.round - 1 or not self._teaches(reports.round - 1):
            return after
        everybody = np.arange(max(len(before), len(losses)))
        change = entries(losses, everybody, np.nan) - entries(before, everybody, np.nan)
        return self._fitted(self._with_change(after, change, reports.round - 1), reports.round - 1)

    def _with_change(self, state: State, change: Float64Array, round: int) -> State:
        """Return the state with the change of a round, (clients,), and without those older than `history`."""
        rounds: Int64Array = state.get("change_rounds", np.empty(0, np.int64))
        changes = state.get("changes", np.empty((0, 0), np.float32))
        recent = rounds + self.history >= round
        size = max(changes.shape[1], len(change))
        wide = np.full((int(recent.sum()) + 1, size), np.nan, np.float32)
        wide[:-1, : changes.shape[1]] = changes[recent]
        wide[-1, : len(change)] = change
        return {**state, "changes": wide, "change_rounds": np.append(rounds[recent], round)}

    def _fitted(self, state: State, round: int) -> State:
        """Return the state with embeddings fitted to its changes and without annealing; as it is during the warm-up."""
        changes = state["changes"]
        if round < self.warmup or not np.isfinite(changes).any():
            return state
        steps = self.steps if "embeddings" in state else self.first_steps
        seen = evidence(changes, round - state["change_rounds"], self.discount)
        begun = self._embeddings(state, changes.shape[1])
        fitted = fit(begun[: changes.shape[1]], seen, self.noise, steps, self.learning_rate)
        both = np.concatenate([fitted, begun[changes.shape[1] :]]).astype(np.float32)
        return {**state, "embeddings": both, "annealing": np.ones(len(both))}

    def _embeddings(self, state: State, size: int) -> Float64Array:
        """Return the embeddings of the first `size` clients or more, (clients, dimension); new ones as they begin."""
        known = state.get("embeddings", np.empty((0, self.dimension), np.float32)).astype(np.float64)
        return np.concatenate([known, first_embeddings(np.arange(len(known), size), self.dimension)])
