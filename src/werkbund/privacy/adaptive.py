"""A bound of updates that follows their lengths: each plant tells, noised, whether its update is within the bound.

Two releases cost together what one with the promised noise does: the sum of updates with a little more noise, and the
sum of bits.
"""

from __future__ import annotations

import math

import numpy as np

from werkbund.core.arrays import Arrays, Float64Array
from werkbund.core.errors import ClientError, ConfigError

CLIP = "clip"
"""Name of the bound among what goes to plants along with the weights."""

WITHIN = "within"
"""Name of a plant's bit: 1/2 where its update is within the bound, -1/2 where not."""

BIT_NOISE = 2.0
"""Standard deviation of the noise on the sum of bits, in multiples of the promised noise: updates then take 3.3 % more.

The paper takes a twentieth of the number of plants, which is too little noise for any update where plants are few.
"""

TARGET, RATE = 0.5, 0.2
"""Share of updates that are to be within the bound, and how fast it follows."""


def bound_of(sent: Arrays, first: float) -> float:
    """Return the bound that came along with the weights; the first one where none did.

    Raises
    ------
    ClientError
        If it is none.
    """
    bound = float(np.ravel(sent[CLIP])[0]) if CLIP in sent else first
    if not 0 < bound < math.inf:
        raise ClientError(f"the bound of an update must be above 0 and finite, got {bound}")
    return bound


def bits_of(lengths: Float64Array, bound: float) -> Float64Array:
    """Return 1/2 for each length within a bound, -1/2 for others: one plant more or less changes the sum by 1/2."""
    return np.where(lengths <= bound, 0.5, -0.5)


def update_noise(noise: float, bits: float) -> float:
    """Return the noise on updates, in bounds, with which these and bits cost what `noise` does.

    Parameters
    ----------
    noise
        Promised, in multiples of a sensitivity.
    bits
        Standard deviation of the noise on the sum of bits, each of which changes it by 1/2.

    Raises
    ------
    ConfigError
        If bits alone cost more.

    References
    ----------
    Andrew, Thakkar, McMahan, Ramaswamy, "Differentially Private Learning with Adaptive Clipping", NeurIPS 2021,
    theorem 1.
    """
    if not noise:
        return 0.0
    if noise >= 2 * bits:
        raise ConfigError(f"noise on bits must be above half of the promised noise, {noise / 2:g}, got {bits:g}")
    return 1 / math.sqrt(noise**-2 - (2 * bits) ** -2)


def adapted(clip: float, share: float) -> float:
    """Return the next bound, by the share of updates that were within the last one, noised.

    References
    ----------
    Algorithm 1 there, the geometric rule; the share is cut to 0..1 as official code does.
    """
    return clip * math.exp(-RATE * (min(max(share, 0.0), 1.0) - TARGET))
