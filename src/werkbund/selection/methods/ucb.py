"""UCB-CS: a bandit over local losses, discounted because losses fall while the model learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.draws import largest
from werkbund.selection.facts import rows_of, shares
from werkbund.selection.ledger import asked_in, column, entries, failed_in, grown

_LOSS, _SPREAD = "loss", "loss_std"


def scores(
    share: Float64Array, total: Float64Array, count: Float64Array, spread: float, elapsed: float
) -> Float64Array:
    """Return an upper bound of each client's loss times its share, (n,): p·(L/N + sqrt(2 σ² ln T / N)); inf if N is 0.

    Parameters
    ----------
    share
        p, (n,), rows over all rows.
    total, count
        L and N, (n,): discounted sum of losses, and of participations.
    spread
        σ
    elapsed
        T, the discounted number of rounds; its logarithm counts as 0 below T = 1.
    """
    seen = count > np.finfo(float).tiny
    divisor = np.where(seen, count, 1.0)
    bonus = np.sqrt(2.0 * spread**2 * max(np.log(max(elapsed, 1.0)), 0.0) / divisor)
    return np.where(seen, share * (total / divisor + bonus), np.inf)


@dataclass(frozen=True)
class UpperConfidence:
    """Choose the k clients whose loss may be highest, by an upper confidence bound.

    With γ the discount, N_i = Σ_s γ^(t-s) 1[i took part in s], L_i the same sum of losses, T = Σ_s γ^(t-s) and σ the
    largest standard deviation of a local loss in the latest round: the k largest p_i·(L_i/N_i + sqrt(2 σ² ln T / N_i)).
    Who never took part comes first; ties fall at random.

    Parameters
    ----------
    size
        How many.
    discount
        γ in (0, 1]. T stays below 1/(1-γ).

    Notes
    -----
    The local loss is that of the received weights over the training rows. Of a client that was asked and failed the
    participation counts, with its mean so far as loss, or that of all known clients: its own value does not change, and
    a dead client is not asked first for ever. The source assumes that all answer. Without rows declared all p_i are
    equal. Ranking is certain, so the given probabilities are 1.

    References
    ----------
    Cho, Gupta, Joshi, Yağan, "Bandit-based Communication-Efficient Client Selection Strategies for Federated Learning",
    Asilomar 2020 (arXiv 2012.08009); formula and γ = 0.7 as in two public codes.
    """

    size: CohortSize = CohortSize()
    discount: float = 0.7

    name: ClassVar[str] = "ucb-cs"
    card: ClassVar[Card] = Card(
        title="UCB client selection",
        rule="The k largest p_i (L_i/N_i + sqrt(2 σ² ln T / N_i)), all sums discounted by γ a round; newcomers first.",
        policy="training efficiency",
        shared="rows, mean and standard deviation of the loss of participants",
        generation="bandit-based",
        interpretation="ranking + exploration",
        use_when="Plants differ, all answer, and nothing may be asked before a round.",
        avoid_when="Some plants have wrong labels: their loss stays high. Or rows differ much: p_i scales the score.",
        notes=(
            "γ = 0.7 forgets fast: a client unseen for ten rounds has N of 0.03, and its bonus is six times as large.",
            "γ = 0.7 is that of a public code; the paper was not read in full.",
        ),
    )

    def __post_init__(self) -> None:
        if not 0 < self.discount <= 1:
            raise ConfigError(f"strategy.selection.discount must be in (0, 1], got {self.discount}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "Cho et al., Asilomar 2020 (arXiv 2012.08009)",
            needs=frozenset({_LOSS, _SPREAD}),
            assumes=frozenset({"available", "addressable", "stateful", "reliable", "trustworthy"}),
            unbiased=False,
            cost="two numbers from each client that trains",
            reveals="mean and standard deviation of the loss of each client that trains, and everybody's rows",
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Return those with the highest bounds."""
        del answers
        number = self.size.of(len(view.available))
        total = entries(column(view.state, "total"), view.available, 0.0)
        count = entries(column(view.state, "count"), view.available, 0.0)
        spread, elapsed = float(view.state.get("spread", 0.0)), float(view.state.get("elapsed", 0.0))
        bound = scores(shares(rows_of(view)), total, count, spread, elapsed)
        places = np.sort(largest(bound, number, rng))
        reasons = tuple("never took part yet" if np.isinf(b) else f"bound {b:.4g}" for b in bound[places].tolist())
        return Choice(view.available[places], np.ones(number), np.ones(number), reasons)

    def observe(self, state: State, reports: Reports) -> State:
        """Discount the sums of losses and participations, and add those of the round."""
        loss, spread = reports.signal(_LOSS), reports.signal(_SPREAD)
        good = np.isfinite(loss)
        silent, asked = np.concatenate([reports.clients[~good], failed_in(reports)]), asked_in(reports)
        total, count = (self.discount * grown(column(state, name), asked, 0.0) for name in ("total", "count"))
        total[reports.clients[good]] += loss[good]
        total[silent] += _usual(total, count, silent, loss[good])
        count[reports.clients[good]] += 1.0
        count[silent] += 1.0
        spreads = spread[np.isfinite(spread)]
        return {
            **state,
            "total": total,
            "count": count,
            "spread": float(spreads.max()) if len(spreads) else float(state.get("spread", 0.0)),
            "elapsed": self.discount * float(state.get("elapsed", 0.0)) + 1.0,
        }


def _usual(total: Float64Array, count: Float64Array, clients: Int64Array, now: Float64Array) -> Float64Array:
    """Return the mean loss so far of these clients, (n,); of one that has none, the mean of those that answered."""
    fallback = float(now.mean()) if len(now) else 0.0
    seen = count[clients] > np.finfo(float).tiny
    return np.where(seen, total[clients] / np.where(seen, count[clients], 1.0), fallback)
