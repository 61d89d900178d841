"""Ways to draw a cohort: by weight one after the other, with given inclusion probabilities, or the largest."""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array

_CERTAIN = 1.0 - 1e-9


def largest(values: Float64Array, number: int, rng: np.random.Generator) -> Int64Array:
    """Return the places of the largest values, in their order; ties fall at random, NaN counts as the smallest.

    Parameters
    ----------
    values
        (n,)
    number
        How many; all places if there are fewer.
    rng
        Breaks ties.
    """
    known = np.where(np.isnan(values), -np.inf, values)
    return np.lexsort((rng.random(len(known)), -known))[:number].astype(np.int64)


def successively(weights: Float64Array, number: int, rng: np.random.Generator) -> Int64Array:
    """Draw places one after the other without replacement, each with probability in proportion to its weight.

    Places of weight 0 come last, uniformly at random, so that the number is always reached where it can be.

    Parameters
    ----------
    weights
        (n,), not negative.
    number
        How many; all places if there are fewer.
    rng
        Draws.

    References
    ----------
    Efraimidis, Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters 2006: the largest
    of log w + Gumbel noise are such a draw.
    """
    with np.errstate(divide="ignore"):
        keys = np.log(weights) + rng.gumbel(size=len(weights))
    return largest(keys, number, rng)


def successive_inclusion(weights: Float64Array, number: int) -> Float64Array:
    """Return approximately how probable it is that `successively` draws each place, (n,); they sum to `number`.

    The exact values have no closed form. If each place had an exponential waiting time of rate w, it would be drawn by
    time t with probability 1 - exp(-t w). Here t is the time at which these probabilities sum to the number.

    References
    ----------
    Rosén, "Asymptotic theory for order sampling", Journal of Statistical Planning and Inference 1997.
    """
    positive = weights > 0
    if number >= len(weights):
        return np.ones(len(weights))
    if number >= positive.sum():
        rest = (number - positive.sum()) / (len(weights) - positive.sum())
        return np.where(positive, 1.0, rest)
    scaled = weights / weights[positive].mean()
    low, high = 0.0, 1.0
    while -np.expm1(-high * scaled).sum() < number:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if -np.expm1(-middle * scaled).sum() < number else (low, middle)
    return np.asarray(-np.expm1(-high * scaled))


def systematic(inclusion: Float64Array, rng: np.random.Generator) -> Int64Array:
    """Draw places without replacement so that each has exactly the given inclusion probability, in ascending order.

    The probabilities lie end to end in random order; one random point and those a whole step behind it hit the drawn.

    Parameters
    ----------
    inclusion
        (n,), in [0, 1]; they sum to a whole number, which is how many are drawn.
    rng
        Draws order and point.

    References
    ----------
    Madow, "On the theory of systematic sampling, II", Annals of Mathematical Statistics 1949; order at random after
    Goodman, Kish, "Controlled selection", JASA 1950, so that nearly every pair can be drawn together.
    """
    certain = np.flatnonzero(inclusion >= _CERTAIN)
    open_ = rng.permutation(np.flatnonzero((inclusion < _CERTAIN) & (inclusion > 0)))
    ends = np.cumsum(inclusion[open_])
    number = round(float(ends[-1])) if len(ends) else 0
    if number == 0:
        return certain.astype(np.int64)
    ends *= number / ends[-1]
    hit = np.searchsorted(ends, rng.random() + np.arange(number), side="right")
    return np.sort(np.concatenate([certain, open_[hit]])).astype(np.int64)
