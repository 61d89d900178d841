"""What every aggregator is: `init`, `fold` while updates arrive, `finish`; a carry goes from round to round.

An update comes already weighted by its client, so that between client and server there is nothing but a sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from werkbund.core.arrays import Float32Array, Float64Array

Carry = Mapping[str, Float32Array]
"""What an aggregator keeps from round to round: named vectors."""

Weighting = Literal["examples", "equal"]


@dataclass
class Sums:
    """Hold what has been folded so far.

    Parameters
    ----------
    update
        (parameters,), sum of weighted updates.
    weight
        Sum of the weights.
    num_updates
        How many were folded.
    """

    update: Float32Array
    weight: float = 0.0
    num_updates: int = 0


class Aggregator(Protocol):
    """Make the next weights out of updates."""

    @property
    def weighting(self) -> Weighting:
        """How a client weights its update before it sends it: by its number of rows, or all alike."""

    @property
    def sees(self) -> Literal["sum", "each"]:
        """Whether a sum of updates is enough, or every single one is needed in clear."""

    def init(self, num_parameters: int) -> Carry:
        """Return the carry before the first round."""

    def fold(self, sums: Sums, updates: Float32Array, weights: Float64Array) -> Sums:
        """Add weighted updates (k, parameters) with their weights (k,), in order; may reuse the storage of `sums`."""

    def finish(self, sums: Sums, weights: Float32Array, carry: Carry) -> tuple[Float32Array, Carry]:
        """Return the next weights (parameters,) and carry; may reuse the storage of `sums`, which is spent then."""
