"""E3CS: an adversarial bandit that learns who answers, with a quota of fairness.

It needs one bit of a client, whether its update came. Who answers is drawn more often; the quota keeps the others in.
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
from werkbund.selection.draws import systematic
from werkbund.selection.ledger import asked_in, column, entries, grown

_WEIGHT = "log_weight"
_CERTAIN = 1.0 - 1e-12


def allocation(weights: Float64Array, number: int, quota: float) -> Float64Array:
    """Return inclusion probabilities, (n,), that sum to `number`: σ each, and the rest in proportion to weight.

    P_i = σ + (k - Nσ)·ω_i / Σω. Who would exceed 1 gets 1; what is left is shared anew among the others, each of whom
    keeps at least σ. That is the source's rule, where weights are cut at the height at which the largest P is 1.

    Parameters
    ----------
    weights
        ω, (n,), not negative.
    number
        k, at most n.
    quota
        σ in [0, k/n].

    Examples
    --------
    >>> allocation(np.array([8.0, 1.0, 1.0]), 2, 0.0).tolist()
    [1.0, 0.5, 0.5]
    """
    weights = np.maximum(weights, np.finfo(float).tiny)
    capped, chance = np.zeros(len(weights), np.bool_), np.zeros(len(weights))
    while not capped.all():
        rest = number - capped.sum() - quota * (~capped).sum()
        sharing = np.where(capped, 0.0, weights)
        chance = quota + max(rest, 0.0) * (sharing / sharing.sum())
        over = ~capped & (chance > _CERTAIN)
        if not over.any():
            break
        capped |= over
    return np.where(capped, 1.0, chance)


def learned(
    weights: Float64Array,
    chance: Float64Array,
    succeeded: Float64Array,
    *,
    cohort: int,
    everyone: int,
    quota: float,
    rate: float,
) -> Float64Array:
    """Return the log weights after a round, (n,): those of clients that answered grow, more for an unlikely draw.

    log ω grows by (k - Nσ)·η·x / (N·P); who was certain to be drawn (P = 1) keeps its weight.

    Parameters
    ----------
    weights
        log ω, (n,).
    chance
        P, (n,), with which each was drawn.
    succeeded
        x, (n,): 1 for who was drawn and answered, 0 for all others.
    cohort, everyone
        k and N.
    quota
        σ
    rate
        η
    """
    step = (cohort - everyone * quota) * rate / everyone * succeeded / chance
    return np.where(chance > _CERTAIN, weights, weights + np.maximum(step, 0.0))


@dataclass(frozen=True)
class ExponentialWeights:
    """Draw clients that answer more often, with a quota for all (E3CS).

    P_i = σ + (k - Nσ)·ω_i / Σω, capped at 1 with the others scaled so that they sum to k. k clients are drawn without
    replacement, each with exactly its P_i, by systematic sampling in random order (`systematic`). Of those that
    answered ω_i ← ω_i · exp((k - Nσ)·η / (N·P_i)). The quota is σ = f·k/N, or with `increasing` 0 in the first quarter
    of the rounds and k/N, which is uniform, after it.

    Parameters
    ----------
    size
        How many: k.
    quota
        f in [0, 1]: 0 is no fairness, 1 is uniform. Not used with `increasing`.
    increasing
        Whether the quota follows E3CS-inc.
    rate
        η > 0

    Notes
    -----
    Systematic sampling instead of k successive draws, which would not have the P_i that the estimate divides by. Where
    it is not known how many rounds there will be, an increasing quota stays 0. A client that was never asked, new or
    not, has ω = 1. The step divides by the probability of the draw where reports tell the choice; where they do not, by
    the one that the same rule gives to all clients known so far, which is the same if all were available: N cancels in
    the step, only the mean weight remains.

    References
    ----------
    Huang, Lin, Shen, Li, Zomaya, "Stochastic Client Selection for Federated Learning With Volatile Clients", IEEE
    Internet of Things Journal 2022 (arXiv 2011.08756), algorithms 1 and 2; constants f of 0, 0.5, 0.8 and η = 0.5.
    """

    size: CohortSize = CohortSize()
    quota: float = 0.5
    increasing: bool = False
    rate: float = 0.5

    name: ClassVar[str] = "e3cs"
    card: ClassVar[Card] = Card(
        title="Exponential weights for volatile clients (E3CS)",
        rule="P_i = σ + (k - Nσ) ω_i / Σω, at most 1; ω_i grows with success divided by P_i.",
        policy="selection fairness; works with unreliable clients",
        shared="whether the update came",
        generation="bandit-based",
        interpretation="probability + exploration",
        use_when="Gateways fail often, some more than others, and no plant may be left out for good.",
        avoid_when="All clients answer: it then draws by luck of early rounds where the quota is small.",
        notes=(
            "f = 0.5 is one of the source's three settings; it names no default.",
            "Who answers is not who has the data: with a small quota the aggregate leans to reliable plants.",
            "Every P_i is exact, so factors 1/P_i would make it unbiased but for failures; updates count by rows here.",
        ),
    )

    def __post_init__(self) -> None:
        if not 0 <= self.quota <= 1:
            raise ConfigError(f"strategy.selection.quota must be in [0, 1], got {self.quota}")
        if not 0 < self.rate < np.inf:
            raise ConfigError(f"strategy.selection.rate must be > 0 and finite, got {self.rate}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "Huang et al., IEEE IoT-J 2022, algorithms 1 and 2",
            assumes=frozenset({"available", "addressable", "stateful", "trustworthy"}),
            unbiased=False,
            reveals="who took part, and who failed to answer",
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw with the probabilities that the weights give."""
        del answers
        num_available = len(view.available)
        number = self.size.of(num_available)
        logs = entries(column(view.state, _WEIGHT), view.available, 0.0)
        quota = self._share(view.round, view.last) * number / max(num_available, 1)
        inclusion = allocation(np.exp(logs - logs.max(initial=0.0)), number, quota)
        places = systematic(inclusion, rng)
        chance = inclusion[places]
        reasons = tuple(f"drawn with probability {p:.3g}" for p in chance.tolist())
        return Choice(view.available[places], chance, np.ones(len(places)), reasons, inclusion=inclusion)

    def observe(self, state: State, reports: Reports) -> State:
        """Raise the weights of those that answered."""
        asked = asked_in(reports)
        logs = grown(column(state, _WEIGHT), asked, 0.0)
        share = 0.0 if self.increasing else self.quota
        chance, num_available = _drawn_with(reports.choice, logs, len(asked), share)
        came = np.zeros(len(logs))
        came[reports.clients] = 1.0
        cohort, everyone = len(asked), max(num_available, 1)
        quota = share * cohort / everyone
        logs = learned(logs, chance, came, cohort=cohort, everyone=everyone, quota=quota, rate=self.rate)
        return {**state, _WEIGHT: logs}

    def _share(self, round: int, last: int) -> float:
        """Return the quota of each client in a round, σ, as a share of k/N, in [0, 1]."""
        if not self.increasing:
            return self.quota
        return 1.0 if last > 0 and round > last / 4 else 0.0


def _drawn_with(choice: Choice | None, logs: Float64Array, number: int, share: float) -> tuple[Float64Array, int]:
    """Return the probability with which each known client was drawn, (known,), and the number that was available."""
    chance = np.ones(len(logs))
    if choice is not None and choice.inclusion is not None:
        known: Int64Array = choice.cohort[choice.cohort < len(chance)]
        chance[known] = choice.probabilities[: len(known)]
        return chance, len(choice.inclusion)
    if not len(logs):
        return chance, 0
    return allocation(np.exp(logs - logs.max()), number, share * number / len(logs)), len(logs)
