"""Noise that is added once, to the sum of all plants' updates: each plant clips its own, and the server is trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays
from werkbund.core.errors import ConfigError
from werkbund.core.rng import generator, secret_generator
from werkbund.privacy.adaptive import BIT_NOISE, WITHIN, bits_of, bound_of, update_noise
from werkbund.privacy.stack import Departure

UPDATE, WEIGHT = "update", "weight"


@dataclass(frozen=True)
class ClippedSum:
    """Clip each update at its plant, and add Gaussian noise to their sum.

    The sum is divided by the number of plants that were asked, whoever answered: what is lost shrinks the step, so that
    one plant changes it by the clip over that number at most, and not by more where others are missing.

    Parameters
    ----------
    clip
        Greatest length of an update, before it is weighted.
    noise
        Standard deviation of the noise in multiples of the clip; 0 is clipping alone.
    seed
        By which noise is drawn, for tests and simulations alone; None: by the entropy of the operating system.
    adaptive
        Whether the bound comes along with the weights, and each plant tells whether its update is within it.

    References
    ----------
    McMahan et al., "Learning Differentially Private Recurrent Language Models", ICLR 2018, algorithm 1, with a fixed
    denominator and all weights 1. Andrew et al., see `privacy.adaptive`, for a bound that follows.
    """

    clip: float
    noise: float
    seed: int | None = None
    adaptive: bool = False

    def __post_init__(self) -> None:
        if not (self.clip > 0 and self.noise >= 0):
            raise ConfigError(f"privacy.clip must be > 0 and its noise >= 0, got {self.clip} and {self.noise}")

    @property
    def on(self) -> tuple[str, ...]:
        """Updates, and whether they are within the bound."""
        return (UPDATE, WITHIN) if self.adaptive else (UPDATE,)

    @property
    def sums_only(self) -> bool:
        """Whether the server may see sums alone: nothing else is noised."""
        return True

    def leave(self, answers: Arrays, departure: Departure) -> Arrays:
        """Return the updates of some plants, each no longer than the clip times its weight, which is at most 1."""
        weights = np.minimum(np.asarray(answers[WEIGHT], np.float64), 1.0)
        updates = answers[UPDATE].astype(np.float64)
        lengths = np.linalg.norm(updates, axis=1)
        bound = bound_of(departure.sent, self.clip) if self.adaptive else self.clip
        most = bound * weights
        factors = np.minimum(1.0, np.divide(most, lengths, out=np.ones_like(lengths), where=lengths > 0))
        bits = {WITHIN: bits_of(lengths, bound)} if self.adaptive else {}
        return {UPDATE: (updates * factors[:, None]).astype(np.float32), **bits}

    def unwind(self, total: Arrays, departure: Departure) -> Arrays:
        """Return the noised sum, times the share of plants that answered, by whose number it is divided later."""
        summed: AnyArray = total[UPDATE].astype(np.float64)
        drawn = secret_generator() if self.seed is None else generator(self.seed, "noise on the sum", departure.round)
        share = len(departure.clients) / len(departure.cohort)
        if not self.adaptive:
            noised = summed + self.noise * self.clip * drawn.standard_normal(summed.shape)
            return {UPDATE: (noised * share).astype(np.float32)}
        bits = BIT_NOISE * self.noise
        deviation = update_noise(self.noise, bits) * bound_of(departure.sent, self.clip)
        noised = summed + deviation * drawn.standard_normal(summed.shape)
        within = total[WITHIN] + bits * drawn.standard_normal(np.shape(total[WITHIN]))
        return {UPDATE: (noised * share).astype(np.float32), WITHIN: np.asarray(within)}
