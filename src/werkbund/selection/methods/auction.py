"""FMore: clients bid what they offer and what they ask, and the best bids win."""

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
from werkbund.selection.facts import durations, rows_of
from werkbund.selection.ledger import column, entered, grown

_RULES = ("additive", "cobb-douglas", "complementary")
_PAYMENTS = ("first-price", "second-price")


def worth(quality: Float64Array, importance: Float64Array, rule: str) -> Float64Array:
    """Return what each offer is worth to the server before its price, s(q), (n,).

    Parameters
    ----------
    quality
        (n, kinds), each in [0, 1].
    importance
        a, (kinds,).
    rule
        `additive` Σ a·q, `cobb-douglas` Π q^a, `complementary` min(a·q).

    Examples
    --------
    >>> quality, importance = np.array([[0.25, 1.0]]), np.array([0.5, 0.5])
    >>> [float(worth(quality, importance, rule)[0]) for rule in ("additive", "cobb-douglas", "complementary")]
    [0.625, 0.5, 0.125]
    """
    if rule == "additive":
        return np.asarray(quality @ importance)
    if rule == "cobb-douglas":
        return np.asarray(np.prod(quality**importance, axis=1))
    return np.asarray((quality * importance).min(axis=1))


def winners(scores: Float64Array, number: int, acceptance: float, rng: np.random.Generator) -> Int64Array:
    """Return the places of the winners, best first: down the list, each is accepted with probability ψ.

    If the list ends before the number is reached, the best of those passed over win too. ψ = 1 takes the best.

    Parameters
    ----------
    scores
        (n,)
    number
        K
    acceptance
        ψ in (0, 1].
    rng
        Breaks ties and accepts.
    """
    order = largest(scores, len(scores), rng)
    accepted = rng.random(len(order)) < acceptance
    chosen = np.concatenate([np.flatnonzero(accepted), np.flatnonzero(~accepted)])[:number]
    return np.asarray(order[np.sort(chosen)])


def payments(scores: Float64Array, prices: Float64Array, won: Int64Array, unit: float, rule: str) -> Float64Array:
    """Return what each winner is paid, (winners,).

    Parameters
    ----------
    scores
        (n,)
    prices
        What each asks, (n,).
    won
        Places of the winners.
    unit
        What a score of 1 is in money.
    rule
        `first-price` pays what was asked. `second-price` pays the price at which the winner's score would be that of
        the best loser who is no better than the last winner, the (K+1)-th without exploration; without one, what was
        asked.

    Examples
    --------
    >>> scores, prices = np.array([0.6, 0.5, 0.3]), np.array([2.0, 1.0, 4.0])
    >>> payments(scores, prices, np.array([0, 1]), 10.0, "second-price").tolist()
    [5.0, 3.0]
    """
    lost = np.setdiff1d(np.arange(len(scores)), won)
    if rule == "first-price" or not len(won):
        return prices[won]
    below = scores[lost][scores[lost] <= scores[won].min()]
    return np.asarray(prices[won] + (unit * (scores[won] - below.max()) if len(below) else 0.0))


@dataclass(frozen=True)
class Auction:
    """Let the K bids of highest score s(q) - price win, and pay those that deliver.

    Parameters
    ----------
    size
        K
    rule
        s(q): `additive` Σ a·q, `cobb-douglas` Π q^a, or `complementary` min(a·q).
    rows_importance, speed_importance
        a of the two qualities: rows over the most rows on offer, and the shortest duration on offer over its own.
    payment
        `first-price` or `second-price`.
    acceptance
        ψ: going down the list, each bid is accepted with this probability; below 1 is ψ-FMore.
    unit
        What a score of 1 is worth, in the money of the prices; 0: as much as the highest price asked in the round.

    Notes
    -----
    A bid is what a client declares: `price`, `rows`, and its durations, measured where it has taken part. Assumptions:
    the paper was not read in full; the forms of s, the payments and ψ are as they are told elsewhere. It leaves
    qualities and s to the server. Ours are shares of the best offer, so s is in [0, 1] for importances that sum to 1,
    and `unit` says what that is worth; by the highest price, a client at that price must be better by 1 than one that
    asks nothing. A client that asks no price bids 0, one of unknown duration counts as the fastest. Bids are taken as
    honest: at first price it pays to ask for more.

    Only who delivered is paid; the state holds all payments by client (`paid`), what they sum to (`spent`) and how many
    were made (`deals`). The given probability is ψ, that of accepting a bid once its turn has come.

    References
    ----------
    Zeng, Zhang, Wang, Chu, "FMore: An Incentive Scheme of Multi-dimensional Auction for Federated Learning in MEC",
    ICDCS 2020 (arXiv 2002.09699).
    """

    size: CohortSize = CohortSize()
    rule: str = "additive"
    rows_importance: float = 0.5
    speed_importance: float = 0.5
    payment: str = "first-price"
    acceptance: float = 1.0
    unit: float = 0.0

    name: ClassVar[str] = "fmore"
    card: ClassVar[Card] = Card(
        title="FMore, a multi-dimensional auction",
        rule="Score of a bid: s(rows, speed) - price; the K best win and are paid what they ask, or by the best loser.",
        policy="client incentives",
        termination="fixed rounds, target accuracy",
        shared="bid: price, rows, time",
        generation="auction, utility-based",
        interpretation="ranking",
        use_when="Plants are paid for taking part, and the best offer for the money shall win.",
        avoid_when="Nobody is paid; or the dearest plant sees what no other sees.",
        notes=(
            "With ψ = 1 and steady prices the same clients win every round; lower ψ to hear others.",
            "Second price makes asking one's true cost the better plan; first price is the paper's main case.",
        ),
    )

    def __post_init__(self) -> None:
        for name, known in (("rule", _RULES), ("payment", _PAYMENTS)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"strategy.selection.{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        for name in ("rows_importance", "speed_importance", "unit"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ConfigError(f"strategy.selection.{name} must be >= 0 and finite, got {getattr(self, name)}")
        if not 0 < self.acceptance <= 1:
            raise ConfigError(f"strategy.selection.acceptance must be in (0, 1], got {self.acceptance}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "Zeng et al., ICDCS 2020",
            needs=frozenset({"seconds"}),
            assumes=frozenset({"addressable", "reliable", "trustworthy"}),
            unbiased=False,
            cost="what the winners are paid; one number from each client that trains",
            reveals="price, rows and speed of every client that bids",
            rests_on=frozenset({"price"}),
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing: bids are declared."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Score the bids; the best win."""
        del answers
        prices = np.maximum(view.fact("price"), 0.0)
        unit = self.unit if self.unit > 0 else float(prices.max(initial=0.0))
        scores = worth(self._quality(view), self._importance, self.rule) - prices / (unit or 1.0)
        won = np.sort(winners(scores, self.size.of(len(scores)), self.acceptance, rng))
        paid = payments(scores, prices, won, unit, self.payment)
        reasons = tuple(
            f"bid {price:.4g} scores {score:.3g}, is paid {money:.4g}"
            for price, score, money in zip(prices[won], scores[won], paid, strict=True)
        )
        chance = np.full(len(won), 1.0 if len(won) == len(scores) else self.acceptance)
        return Choice(view.available[won], chance, np.ones(len(won)), reasons, payments=paid)

    def observe(self, state: State, reports: Reports) -> State:
        """Add up what those that delivered are paid, and keep how long they took."""
        money, clients = _earned(reports), reports.clients
        paid = grown(column(state, "paid"), clients, 0.0)
        seconds = entered(grown(column(state, "seconds"), clients, np.nan), clients, reports.signal("seconds"))
        paid[clients] += money
        spent, deals = float(state.get("spent", 0.0)) + float(money.sum()), int(state.get("deals", 0)) + len(clients)
        return {**state, "paid": paid, "seconds": seconds, "spent": spent, "deals": deals}

    @property
    def _importance(self) -> Float64Array:
        """The importance of rows and of speed, (2,)."""
        return np.array([self.rows_importance, self.speed_importance])

    def _quality(self, view: View) -> Float64Array:
        """Return each client's rows over the largest number, and the shortest duration over its own, (available, 2)."""
        rows, (seconds, known) = rows_of(view), durations(view)
        most, least = rows.max(initial=0.0), float(np.nanmin(seconds)) if known else 0.0
        size = rows / most if most > 0 else np.ones(len(rows))
        speed = np.divide(least, seconds, out=np.ones(len(rows)), where=np.isfinite(seconds) & (seconds > 0))
        return np.column_stack([size, speed])


def _earned(reports: Reports) -> Float64Array:
    """Return the payment that each client that answered was promised, (answered,)."""
    earned, choice = np.zeros(len(reports.clients)), reports.choice
    if choice is not None and choice.payments is not None:
        _, promised, paid = np.intersect1d(choice.cohort, reports.clients, return_indices=True)
        earned[paid] = choice.payments[promised]
    return earned
