"""Shapley values of a round's updates, by truncated Monte Carlo in the guided order of GTG-Shapley."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import Float32Array, Float64Array, FloatingArray
from werkbund.selection.contract import Score

Worth = Callable[[frozenset[int]], float]
"""Says what a coalition is worth."""


@dataclass(frozen=True)
class Patience:
    """Say when to stop, and what to pass over.

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
    window: int = 10
    tolerance: float = 0.05


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
    known: dict[frozenset[int], float] = {}

    def value(coalition: frozenset[int]) -> float:
        if coalition not in known:
            known[coalition] = score(_made(weights, updates, shares, sorted(coalition)))
        return known[coalition]

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
    while True:
        for first in range(number):
            total += _gains(value, first, number, everything, patience.truncation, rng)
            estimates.append(total / (len(estimates) + 1))
        enough = len(estimates) > patience.fewest and _settled(estimates, patience)
        if enough or len(estimates) >= max(patience.most * number, patience.fewest):
            return np.asarray(estimates[-1])


def exact_shapley(value: Worth, number: int) -> Float64Array:
    """Return exact Shapley values, (n,), from all 2^n coalitions."""
    values = np.zeros(number)
    for bits in range(2**number):
        coalition = frozenset(player for player in range(number) if bits >> player & 1)
        size, worth = len(coalition), value(coalition)
        for player in range(number):
            if player in coalition:
                values[player] += worth / (number * math.comb(number - 1, size - 1))
            else:
                values[player] -= worth / (number * math.comb(number - 1, size))
    return values


def _gains(
    value: Worth, first: int, number: int, everything: float, truncation: float, rng: np.random.Generator
) -> Float64Array:
    """Return what each adds to those before it in one order, (n,); what is left unasked adds nothing."""
    others = rng.permutation(np.delete(np.arange(number), first))
    gains, so_far = np.zeros(number), value(frozenset())
    coalition: frozenset[int] = frozenset()
    for player in (first, *others.tolist()):
        if abs(everything - so_far) < truncation:
            break
        coalition |= {player}
        now = value(coalition)
        gains[player], so_far = now - so_far, now
    return gains


def _settled(estimates: list[Float64Array], patience: Patience) -> bool:
    newest = estimates[-1]
    apart = np.abs(np.array(estimates[-patience.window :]) - newest) / (np.abs(newest) + 1e-12)
    return bool(apart.mean(axis=1).max() <= patience.tolerance)


def _made(weights: Float32Array, updates: FloatingArray, shares: Float64Array, some: list[int]) -> Float32Array:
    total = shares[some].sum()
    if not total > 0:
        return weights
    step = (shares[some] / total) @ updates[some].astype(np.float64)
    return np.asarray(weights + step, dtype=weights.dtype)
