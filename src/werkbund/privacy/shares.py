"""Noise in shares: each plant adds a part of it inside a secure sum, so that nobody sees the sum without noise.

Vectors become whole numbers, `UNITS` of them as long as the bound, and noise is whole as well (Skellam): so shares add
up to what the accountant reckons with, under masks too. A share is as large as fits the fewest honest plants in a sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays, Float64Array, Int64Array
from werkbund.core.errors import ClientError, ConfigError
from werkbund.core.rng import secret_generator
from werkbund.privacy.accounting import SkellamRelease, rounded_length
from werkbund.privacy.adaptive import BIT_NOISE, WITHIN, bits_of, bound_of, update_noise
from werkbund.privacy.central import UPDATE, WEIGHT, ClippedSum
from werkbund.privacy.stack import Departure, Stack

UNITS = 2**14
"""Whole units in the longest vector: so fine that rounding costs some thousandths of the noise, and so coarse that
NumPy's draws of Poisson numbers are exact enough: double precision leaves their chances within .001."""

MOST_PARAMETERS = 2**22
"""Of an update; epsilon is reckoned for so many, which is .2 % more noise than for few."""


_ROUNDING = 1 + 1e-6


@dataclass(frozen=True)
class NoiseShare:
    """Be the noise that plants add to one sum together.

    Parameters
    ----------
    noise
        Its standard deviation in multiples of the bound; 0 for none.
    adaptive
        Whether it is on updates and on bits that say whether these are within the bound: both cost what it does.

    References
    ----------
    Agarwal, Kairouz, Liu, "The Skellam Mechanism for Differentially Private Federated Learning", NeurIPS 2021,
    algorithm 1, without rotation and modular clipping, which save bits that words of eight bytes have.
    """

    noise: float
    adaptive: bool = False

    @property
    def parts(self) -> dict[str, NoiseShare]:
        """The noise on each sum by its name; what is whole costs a millionth more, which is added."""
        if not self.adaptive:
            return {UPDATE: self}
        bits = BIT_NOISE * self.noise * _ROUNDING
        return {UPDATE: NoiseShare(update_noise(self.noise * _ROUNDING, bits)), WITHIN: NoiseShare(bits)}

    def __post_init__(self) -> None:
        if not 0 <= self.noise < math.inf:
            raise ConfigError(f"privacy.noise_multiplier must be >= 0 and finite, got {self.noise}")

    def drawn(self, shape: tuple[int, ...], honest: int) -> Int64Array:
        """Return one plant's share, from the entropy of its operating system.

        Parameters
        ----------
        shape
            Of what it is added to.
        honest
            Fewest honest plants in the sum: so many shares have the whole variance.

        Raises
        ------
        ClientError
            If there may be none.
        """
        if honest < 1:
            raise ClientError("a sum in which no other plant need be honest has too little noise; nothing leaves")
        drawn, mean = secret_generator(), (self.noise * UNITS) ** 2 / honest / 2
        return np.asarray(drawn.poisson(mean, shape) - drawn.poisson(mean, shape), np.int64)

    def release(self, count: int) -> SkellamRelease:
        """Return what so many sums with this noise release."""
        return SkellamRelease.of_vectors(1.0, MOST_PARAMETERS, UNITS, self.noise, count)


def rounded(vectors: AnyArray, clip: float, drawn: np.random.Generator) -> Int64Array:
    """Return vectors, (k, numbers), no longer than `clip`, as whole numbers, `UNITS` of which are as long as it.

    Each number is rounded up or down at random, so that its mean is what it was; a vector that becomes longer than the
    accountant assumes is rounded again.

    References
    ----------
    Kairouz, Liu, Steinke, "The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure
    Aggregation", ICML 2021, algorithm 1, without rotation.
    """
    if vectors.shape[1] > MOST_PARAMETERS:
        raise ClientError(f"noise in shares is reckoned for {MOST_PARAMETERS} numbers at most, got {vectors.shape[1]}")
    exact = _shortened(vectors.astype(np.float64), clip) * (UNITS / clip)
    most = rounded_length(1.0, vectors.shape[1], UNITS) ** 2
    whole = np.empty(exact.shape, np.int64)
    left = np.arange(len(exact))
    while len(left):
        whole[left] = np.floor(exact[left] + drawn.random((len(left), exact.shape[1])))
        left = left[(whole[left].astype(np.float64) ** 2).sum(axis=1) > most]
    return whole


def _shortened(vectors: Float64Array, clip: float) -> Float64Array:
    """Return vectors of which none is longer than `clip`."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    factors: Float64Array = np.divide(clip, lengths, out=np.ones_like(lengths), where=lengths > 0)
    return np.asarray(vectors * np.minimum(1.0, factors))


@dataclass(frozen=True)
class RoundedUpdates:
    """Clip and round each update at its plant; noise is added to it under masks, and the mean is over all asked.

    Parameters
    ----------
    clip
        Greatest length of an update.
    adaptive
        Whether the bound comes along with the weights, and each plant tells whether its update is within it.
    """

    clip: float
    adaptive: bool = False

    @property
    def on(self) -> tuple[str, ...]:
        """Updates, and whether they are within the bound."""
        return (UPDATE, WITHIN) if self.adaptive else (UPDATE,)

    @property
    def sums_only(self) -> bool:
        """Whether the server may see sums alone: shares of noise are too small for single updates."""
        return True

    def leave(self, answers: Arrays, departure: Departure) -> Arrays:
        """Return the updates of some plants as whole numbers; one that counts nothing is 0."""
        weights = np.minimum(np.asarray(answers[WEIGHT], np.float64), 1.0)[:, None]
        bound = bound_of(departure.sent, self.clip) if self.adaptive else self.clip
        whole = rounded(answers[UPDATE] * (weights > 0), bound, secret_generator())
        if not self.adaptive:
            return {UPDATE: whole}
        bits = bits_of(np.linalg.norm(answers[UPDATE].astype(np.float64), axis=1), bound)
        return {UPDATE: whole, WITHIN: (bits * UNITS).astype(np.int64)}

    def unwind(self, total: Arrays, departure: Departure) -> Arrays:
        """Return the noised sum, times the share of plants that answered, by whose number it is divided later."""
        share = len(departure.clients) / len(departure.cohort)
        bound = bound_of(departure.sent, self.clip) if self.adaptive else self.clip
        within = {WITHIN: np.asarray(total[WITHIN] / UNITS)} if self.adaptive else {}
        return {UPDATE: (total[UPDATE].astype(np.float64) * (bound / UNITS * share)).astype(np.float32), **within}


@dataclass(frozen=True)
class RoundedGradients:
    """Take sums of clipped and rounded gradients as they come, and make of their sum one step.

    Parameters
    ----------
    clip
        Greatest length of a unit's gradient.
    rate
        Learning rate by the number of the round.
    """

    clip: float
    rate: Callable[[int], float]

    @property
    def on(self) -> tuple[str, ...]:
        """Updates alone."""
        return (UPDATE,)

    @property
    def sums_only(self) -> bool:
        """Whether the server may see sums alone: shares of noise are too small for single updates."""
        return True

    def leave(self, answers: Arrays, departure: Departure) -> Arrays:
        """Return the sums as they are: each unit was clipped and rounded by itself.

        Raises
        ------
        ClientError
            If they are no whole numbers.
        """
        if answers[UPDATE].dtype != np.int64:
            raise ClientError(f"sums of gradients must be whole numbers, got {answers[UPDATE].dtype}")
        return {UPDATE: answers[UPDATE]}

    def unwind(self, total: Arrays, departure: Departure) -> Arrays:
        """Return the noised sum as a step downhill, which is divided by all rows later."""
        step = -self.rate(departure.round) * self.clip / UNITS
        return {UPDATE: (total[UPDATE].astype(np.float64) * step).astype(np.float32)}


def is_noised(stack: Stack) -> bool:
    """Say whether updates leave through layers that noise is promised of, so that nothing is told beside them."""
    return any(isinstance(layer, ClippedSum | RoundedUpdates | RoundedGradients) for layer in stack.layers)
