"""What each client contributes to a round: the round is ended once more for each coalition of its clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from werkbund.aggregation.contract import UPDATE, Aggregator, half_of
from werkbund.core.arrays import Arrays, Float32Array, Float64Array
from werkbund.core.errors import ConfigError
from werkbund.core.methods import name_of
from werkbund.engine.folding import Folded
from werkbund.privacy import Stack

Game = Callable[[tuple[int, ...]], float]
"""Given places among a round's clients, return the score of the weights that these alone would have made."""


@dataclass(frozen=True)
class Crediting:
    """Say how contributions are told.

    Parameters
    ----------
    score
        Judges weights, higher is better.
    divide
        Given the clients of a round, its game and a generator, return their shares as values that JSON holds.
    """

    score: Callable[[Float32Array], float]
    divide: Callable[[Sequence[int], Game, np.random.Generator], Mapping[str, Any]]


def check_crediting(aggregator: Aggregator, stack: Stack) -> None:
    """Refuse contributions where a round cannot be ended for some of its clients alone.

    Raises
    ------
    ConfigError
        If updates are hidden, or the rule needs more of clients than updates, or a least number of them.
    """
    faults = {
        "keeps or folds more than updates": bool(aggregator.folds) or half_of(aggregator) is not None,
        "must see each update, and a least number of them": aggregator.sees == "each",
    }
    name = name_of(aggregator)
    odd = [f"{name} {what}" for what, holds in faults.items() if holds]
    odd += ["layers of privacy hide single updates"] if stack.layers else []
    if odd:
        raise ConfigError(
            f"evaluation.contributions must be false where {' and '.join(odd)}; choose fedavg as "
            "strategy.aggregation.name, or leave it out"
        )


def credits_of(
    crediting: Crediting, folded: Folded, rng: np.random.Generator, end: Callable[[Arrays, Float64Array], Float32Array]
) -> Mapping[str, Any]:
    """Return what each client contributed to a round; nothing if nobody answered.

    Parameters
    ----------
    crediting
        How contributions are told.
    folded
        What came, with single updates.
    rng
        Draws orders of clients.
    end
        Given some of the weighted updates, (k, parameters), by name, with their weights (k,), return the weights that
        the round would have ended with.
    """
    if not folded.updates:
        return {}
    players, updates, weights = folded.each()
    rows = updates * weights[:, None].astype(np.float32)

    def game(places: tuple[int, ...]) -> float:
        chosen = list(places)
        return crediting.score(end({UPDATE: rows[chosen]}, weights[chosen]))

    return crediting.divide(players.tolist(), game, rng)
