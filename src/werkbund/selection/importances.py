"""How probably each update is uploaded, given its norm, and the draw itself: optimal client sampling's mathematics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array

Total = Callable[[Float64Array], float]


def optimal_probabilities(importances: Float64Array, expected: int) -> Float64Array:
    """Return the probabilities of independent uploads with the least variance for an expected number of them.

    With the importances u ascending and l the largest number with 0 < k + l - n <= (u_1 + ... + u_l) / u_l, client
    j <= l uploads with probability (k + l - n) u_j / (u_1 + ... + u_l), the others surely.

    Parameters
    ----------
    importances
        (n,), u_i = p_i ||update_i||, not negative.
    expected
        k, the expected number of uploads; n or more is everybody.

    Notes
    -----
    Where fewer than k importances are positive, these upload surely and the zeros share what is left of k alike, the
    limit of small importances. An update of zero adds nothing, so its probability is of no account.

    References
    ----------
    Chen, Horváth, Richtárik, TMLR 2022, equation 7.
    """
    number = len(importances)
    if expected >= number:
        return np.ones(number)
    order = np.argsort(importances, kind="stable")
    sums = np.cumsum(importances[order])
    below = np.arange(1, number + 1)  # l
    spare = expected + below - number
    fits = (spare > 0) & (spare * importances[order] <= sums)
    last = int(below[fits].max())
    shared, total = float(spare[last - 1]), float(sums[last - 1])
    probabilities = np.ones(number)
    small = order[:last]
    probabilities[small] = shared * importances[small] / total if total > 0 else shared / last
    return np.minimum(probabilities, 1.0)


def aggregated_probabilities(
    importances: Float64Array, expected: int, steps: int, total: Total = np.sum
) -> Float64Array:
    """Return nearly the optimal probabilities, where the server learns nothing but sums over clients.

    A client begins with min(1, k u_i / U) and stretches its probability as long as it is below 1 by the factor
    C = (k - n + I) / P that the server publishes; I counts those below 1 and P sums their probabilities.

    Parameters
    ----------
    importances
        (n,), u_i, each known to its client alone.
    expected
        k
    steps
        How often the factor is published at most.
    total
        Sums one number of each client: the only way by which the server hears of them.

    References
    ----------
    Chen, Horváth, Richtárik, TMLR 2022, algorithm 2.
    """
    number = len(importances)
    everything = total(importances)
    if expected >= number or not everything > 0:
        return np.full(number, min(expected / max(number, 1), 1.0))
    own = np.minimum(1.0, expected * importances / everything)
    for _ in range(steps):
        below = own < 1.0
        counted, summed = total(below.astype(np.float64)), total(np.where(below, own, 0.0))
        if not summed > 0:
            break
        factor = (expected - number + counted) / summed
        own = np.where(below, np.minimum(1.0, factor * own), own)
        if factor <= 1.0:
            break
    return own


def draw_somebody(probabilities: Float64Array, rng: np.random.Generator) -> tuple[BoolArray, Float64Array]:
    """Draw independently, again as long as nobody is drawn; return who, and how probable each was under that rule.

    Parameters
    ----------
    probabilities
        (n,), of the independent draws; they must sum to 1 at least.

    Notes
    -----
    With q the probability that nobody is drawn, client i is in a cohort that has somebody with probability
    pi_i / (1 - q). Divided by that, and not by pi_i, updates stay unbiased exactly; what it costs is size: k / (1 - q)
    are expected in place of k. q is 0 as soon as one probability is 1, and at most exp(-k).
    """
    drawn = rng.random(len(probabilities)) < probabilities
    while not drawn.any():
        drawn = rng.random(len(probabilities)) < probabilities
    nobody = float(np.prod(1.0 - probabilities))
    return drawn, np.minimum(probabilities / (1.0 - nobody), 1.0)
