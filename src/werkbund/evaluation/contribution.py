"""What each client adds to a common score: Shapley's shares of a round, exact or by drawn orders, and leaving one out.

A game says what each coalition of clients reaches. Here it is a validation score of the weights that a round would have
ended with, had these clients alone answered; nobody at all leaves the weights as they came.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, islice
from typing import Any

import numpy as np

from werkbund.core.arrays import Float64Array, plain
from werkbund.core.errors import ConfigError
from werkbund.core.games import Worth, gains_in_turn, has_settled

Game = Callable[[tuple[int, ...]], float]
"""Given places of players, ascending, return what they reach together, higher is better."""

MOST_EXACT = 6
"""Up to so many players all coalitions are looked at, 64 at most; beyond, orders of players are drawn."""

BETWEEN, WITHIN = 0.01, 0.001
"""Scores that differ by no more count as equal: of a round's beginning and end, and along a drawn order."""

_FEWEST, _MOST = 30, 300


@dataclass(frozen=True)
class Shares:
    """Hold what each player of a game contributes.

    Parameters
    ----------
    shapley
        (players,), the mean over all orders of players of what each adds to those before it.
    spread
        (players,), standard error of that over the orders that were drawn; 0 where all were looked at.
    leave_one_out
        (players,), what all reach, minus what the others reach.
    evaluations
        How many coalitions were scored.
    counted
        Whether the game counts: in one that changes little, everybody's share is 0.
    """

    shapley: Float64Array
    spread: Float64Array
    leave_one_out: Float64Array
    evaluations: int
    counted: bool = True

    def to_json(self, players: Sequence[int]) -> dict[str, Any]:
        """Return values that JSON holds, with the numbers of the players."""
        shares = {"shapley": self.shapley, "spread": self.spread, "leave_one_out": self.leave_one_out}
        written: dict[str, Any] = plain(shares)
        return {"clients": list(players), **written, "evaluations": self.evaluations, "counted": self.counted}


def shares_of(num_players: int, game: Game, rng: np.random.Generator) -> Shares:
    """Return what each player contributes.

    Parameters
    ----------
    num_players
        At least 1.
    game
        What coalitions reach.
    rng
        Draws orders, where there are too many players to look at all.

    Raises
    ------
    ConfigError
        If a coalition's score is no number, as without a failure among the rows that score.

    References
    ----------
    Shapley, "A value for n-person games", 1953. Liu et al., "GTG-Shapley", ACM TIST 2022: a round that changes the
    score by no more than `BETWEEN` counts for nobody, an order is cut short within `WITHIN` of the end, and each player
    comes first in turn. Drawing ends when the shares of the last ten orders differ by less than 5 %, after 30 orders
    at least and 300 at most. Deviation: with at most six players all coalitions are looked at, and none is cut short;
    what is cut short is not remembered as a score.
    """

    @cache
    def worth(coalition: frozenset[int]) -> float:
        return float(game(tuple(sorted(coalition))))

    everybody = frozenset(range(num_players))
    whole, nothing = worth(everybody), worth(frozenset())
    if not math.isfinite(whole + nothing):
        raise ConfigError(
            "evaluation.contributions needs a score of the weights, and there is none: have failures among the rows "
            "that score, or leave evaluation.contributions out"
        )
    none = np.zeros(num_players)
    if abs(whole - nothing) <= BETWEEN:
        return Shares(none, none, none, worth.cache_info().currsize, counted=False)
    alone = np.array([whole - worth(everybody - {player}) for player in range(num_players)])
    if num_players <= MOST_EXACT:
        shapley = np.array([_exact(player, num_players, worth) for player in range(num_players)])
        return Shares(shapley, none, alone, worth.cache_info().currsize)
    marginals = _drawn(num_players, worth, rng)
    spread = marginals.std(axis=0, ddof=1) / math.sqrt(len(marginals))
    return Shares(marginals.mean(axis=0), spread, alone, worth.cache_info().currsize)


def _exact(player: int, num_players: int, worth: Worth) -> float:
    others = [other for other in range(num_players) if other != player]
    return math.fsum(
        _chance(size, num_players) * (worth(frozenset(coalition) | {player}) - worth(frozenset(coalition)))
        for size in range(num_players)
        for coalition in combinations(others, size)
    )


@cache
def _chance(size: int, num_players: int) -> float:
    """Return the chance that exactly one given coalition of a size comes before a player in a random order."""
    return math.factorial(size) * math.factorial(num_players - size - 1) / math.factorial(num_players)


def _drawn(num_players: int, worth: Worth, rng: np.random.Generator) -> Float64Array:
    """Return what each player adds in each order that was drawn, (orders, players)."""
    marginals: list[Float64Array] = []
    means: list[Float64Array] = []
    for gains in islice(gains_in_turn(worth, num_players, WITHIN, rng), _MOST):
        marginals.append(gains)
        means.append(np.mean(marginals, axis=0))
        if len(marginals) >= max(_FEWEST, num_players) and has_settled(means):
            break
    return np.array(marginals)


@dataclass(frozen=True)
class Contribution:
    """Hold what one client contributed over a run.

    Parameters
    ----------
    client
        Its number.
    shapley, low, high
        The sum of its shares over the rounds, with a 95 % interval for the draw of orders.
    leave_one_out
        The sum of what its absence from each single round would have cost.
    rounds
        How many rounds that count it took part in.
    """

    client: int
    shapley: float
    low: float
    high: float
    leave_one_out: float
    rounds: int


def contributions(rounds: Sequence[Mapping[str, Any]]) -> list[Contribution]:
    """Return what each client contributed, most first.

    Parameters
    ----------
    rounds
        As `Shares.to_json` wrote them, one a round.
    """
    clients = sorted({client for one in rounds for client in one["clients"]})
    found = []
    for client in clients:
        own = [(one, one["clients"].index(client)) for one in rounds if one["counted"] and client in one["clients"]]
        shapley = math.fsum(one["shapley"][place] for one, place in own)
        spread = 1.96 * math.sqrt(math.fsum(one["spread"][place] ** 2 for one, place in own))
        alone = math.fsum(one["leave_one_out"][place] for one, place in own)
        found.append(Contribution(client, shapley, shapley - spread, shapley + spread, alone, len(own)))
    return sorted(found, key=lambda one: (-one.shapley, one.client))
