"""Rules of order: each coordinate by itself, from the values of all updates in ascending order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.aggregation.contract import Card
from werkbund.aggregation.rows import of_ordered
from werkbund.aggregation.updates import EachRule, Received
from werkbund.core.arrays import Float32Array, Float64Array

_SOURCE = "Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018"
_PROMISE = "; up to that, each coordinate stays among the values of honest clients"
ROWS_NOTE = (
    "Updates count alike: neither rows nor a selector's factors and totals do, for a hostile client would claim many."
)
_RARE_NOTE = "What is rare is thrown away, honest or not: see mixing."


def medians(block: Float32Array) -> Float64Array:
    """Return the median of each row of ascending values, (width, n): of an even number the mean of the middle two."""
    last = block.shape[1] - 1
    return (block[:, last // 2].astype(np.float64) + block[:, (last + 1) // 2]) / 2


@dataclass(frozen=True)
class CoordinateMedian(EachRule):
    """Move each weight by the median of its updates.

    Parameters
    ----------
    hostile, mixing, step, momentum
        As for `EachRule`.

    References
    ----------
    Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018, algorithm 1,
    option I; there of gradients, here of updates after local training.
    """

    name: ClassVar[str] = "median"
    card: ClassVar[Card] = Card(
        title="Median of each coordinate",
        rule=(
            "Each weight moves by the median of its updates; of an even number, by the mean of the middle two. Server "
            "step and momentum as in federated averaging."
        ),
        source=f"{_SOURCE}, algorithm 1, option I",
        use_when="some clients may be broken or hostile, and plants are much alike",
        avoid_when="plants differ much: a median of few unlike updates is far from their mean",
        unbiased=False,
        breakdown=f"(n - 1) // 2 of n{_PROMISE}",
        notes=(ROWS_NOTE, _RARE_NOTE),
    )

    def estimate(self, received: Received) -> Float32Array:
        """Return the median of each coordinate, (parameters,)."""
        return of_ordered(received.rows, medians)


@dataclass(frozen=True)
class TrimmedMean(EachRule):
    """Move each weight by the mean of its updates without the f largest and the f smallest.

    Parameters
    ----------
    hostile, mixing, step, momentum
        As for `EachRule`; `hostile` is f.

    References
    ----------
    Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018, algorithm 1,
    option II, in which a share is trimmed; so it is here where `hostile` is a share.
    """

    name: ClassVar[str] = "trimmed-mean"
    card: ClassVar[Card] = Card(
        title="Trimmed mean of each coordinate",
        rule=(
            "Each weight moves by the mean of its updates without the f largest and the f smallest, f being `hostile`: "
            "0 is the equal mean, the most that goes the median. Server step and momentum as in federated averaging."
        ),
        source=f"{_SOURCE}, algorithm 1, option II",
        use_when="some clients may be broken or hostile, and you know about how many at most",
        avoid_when="more may be hostile than you say: one more is enough to move the weights anywhere",
        unbiased=False,
        breakdown=f"`hostile`, which must be (n - 1) // 2 of n at most{_PROMISE}",
        notes=(ROWS_NOTE, _RARE_NOTE),
    )

    def estimate(self, received: Received) -> Float32Array:
        """Return the trimmed mean of each coordinate, (parameters,)."""
        kept = slice(received.hostile, len(received.rows) - received.hostile)
        return of_ordered(received.rows, lambda block: block[:, kept].mean(axis=1, dtype=np.float64))
