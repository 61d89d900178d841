"""A rule of aggregation whose bound of updates follows their lengths: the bound is a part of its carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from werkbund.aggregation.contract import Aggregator, Carry, ClientHalf, Closing, LocalResult, Sees, Weighting
from werkbund.core.arrays import Arrays, Float32Array, Float64Array, Int64Array
from werkbund.core.kinds import Field
from werkbund.core.methods import name_of
from werkbund.core.store import Store
from werkbund.privacy.adaptive import CLIP, WITHIN, adapted

BIT = Field("sums", WITHIN, "whether the update is within its bound, 1/2 or -1/2", (), "f", on_request=True)


@dataclass(frozen=True)
class BitHalf:
    """Leave room for a client's bit, which is set where its update is clipped."""

    weighted: ClassVar[tuple[str, ...]] = ()

    def before(self, sent: Arrays, clients: Int64Array, store: Store) -> Arrays:
        """Return nothing: the training is the usual one."""
        return {}

    def after(self, sent: Arrays, result: LocalResult, clients: Int64Array, store: Store) -> Arrays:
        """Return zeros, one a client."""
        return {WITHIN: np.zeros(len(clients))}


@dataclass(frozen=True)
class AdaptiveClip:
    """Aggregate by another rule, and let the bound of updates follow the share of them that was within it.

    Parameters
    ----------
    rule
        To which sums are enough, and which folds nothing beside updates.
    first
        The bound in the first round.

    References
    ----------
    Andrew, Thakkar, McMahan, Ramaswamy, "Differentially Private Learning with Adaptive Clipping", NeurIPS 2021,
    algorithm 1. Deviation: the noise on bits is twice the promised noise, where the paper takes a twentieth of the
    number of plants.
    """

    rule: Aggregator
    first: float
    half: ClassVar[ClientHalf] = BitHalf()
    folds: ClassVar[tuple[str, ...]] = (WITHIN,)

    @property
    def name(self) -> str:
        """That of the rule."""
        return name_of(self.rule)

    @property
    def weighting(self) -> Weighting:
        """That of the rule."""
        return self.rule.weighting

    @property
    def sees(self) -> Sees:
        """That of the rule."""
        return self.rule.sees

    def init(self, num_parameters: int) -> Carry:
        """Return the rule's carry, and the first bound."""
        return {**self.rule.init(num_parameters), CLIP: np.array([self.first], np.float32)}

    def outgoing(self, carry: Carry) -> Arrays:
        """Return the bound, with what the rule sends."""
        return {**self.rule.outgoing(carry), CLIP: carry[CLIP]}

    def begin(self, num_parameters: int) -> Any:
        """Return the rule's accumulator."""
        return self.rule.begin(num_parameters)

    def fold(self, accumulator: Any, updates: Arrays, weights: Float64Array) -> Any:
        """Add updates and bits."""
        return self.rule.fold(accumulator, updates, weights)

    def finish(
        self, accumulator: Any, weights: Float32Array, carry: Carry, closing: Closing = Closing()
    ) -> tuple[Float32Array, Carry]:
        """Return what the rule does, and the next bound; who was asked and is missing counts as half within it."""
        share = float(accumulator.arrays[WITHIN]) / max(closing.num_asked, 1) + 0.5
        clip = np.array([adapted(float(carry[CLIP][0]), share)], np.float32)
        moved, after = self.rule.finish(
            accumulator, weights, {name: array for name, array in carry.items() if name != CLIP}, closing
        )
        return moved, {**after, CLIP: clip}
