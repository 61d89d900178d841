"""Rules that must see each update: what they fold, what they share, and how many hostile clients they bear.

Such a rule says what it makes of the updates of a round, and for how many hostile ones among them that holds; beyond
that it refuses. Updates count alike: how many rows a client says it has is its own word, and a hostile one may say
anything.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from werkbund.aggregation.contract import UPDATE, Carry, Closing, Sees, Weighting
from werkbund.aggregation.rows import mixed
from werkbund.aggregation.sums import begun, moved
from werkbund.core.arrays import Arrays, Float32Array, Float64Array
from werkbund.core.errors import ConfigError, FederationError
from werkbund.core.methods import check_options, option
from werkbund.core.types import Score

HOSTILE = "How many clients may be hostile: a number, or a share below 0.5 of those asked."


@dataclass
class Updates:
    """Accumulate every update by itself, in client order.

    Parameters
    ----------
    blocks
        (k, parameters) each, unweighted.
    weights
        Of the same updates, as they came; all above 0.
    """

    blocks: list[Float32Array] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def add(self, updates: Float32Array, weights: Float64Array) -> Updates:
        """Add weighted updates (k, parameters) with weights (k,); what weighs nothing has seen no row, and is left out.

        Updates of weight 1 are kept as they are, not copied.
        """
        counted = weights > 0
        if not counted.all():
            updates, weights = updates[counted], weights[counted]
        if len(weights):
            is_plain = bool((weights == 1).all())
            self.blocks.append(updates if is_plain else np.divide(updates, weights[:, None], dtype=np.float32))
            self.weights += weights.tolist()
        return self

    def rows(self) -> Float32Array:
        """Return all updates as one array, (n, parameters), and hold them no longer.

        Raises
        ------
        FederationError
            If there are none: no data is not the same as no change.
        """
        if not self.blocks:
            raise FederationError("the total weight of the updates must be > 0, got 0; no client had rows")
        if len(self.blocks) == 1:
            return self.blocks.pop()
        rows = np.empty((len(self.weights), self.blocks[0].shape[1]), np.float32)
        end = len(rows)
        while self.blocks:  # each is let go as soon as it is copied
            block = self.blocks.pop()
            rows[end - len(block) : end] = block
            end -= len(block)
        return rows


@dataclass(frozen=True)
class Received:
    """Hold what a rule may look at when a round ends.

    Parameters
    ----------
    rows
        (n, parameters), the updates in client order; not to be written to.
    weights
        (n,), what each came with, above 0.
    hostile
        How many of them may be hostile.
    start
        (parameters,), the weights that the round began with.
    carry
        What the rule keeps.
    score
        Judges weights on rows of the server, higher is better; None where it has none.
    """

    rows: Float32Array
    weights: Float64Array
    hostile: int
    start: Float32Array
    carry: Carry
    score: Score | None = None


@dataclass(frozen=True)
class EachRule(ABC):
    """Move the weights by what a rule makes of all updates, d: m <- momentum * m + d, weights <- weights + step * m.

    Parameters
    ----------
    hostile
        How many clients may be hostile: a number, or a share of those asked, below 0.5, rounded down.
    mixing
        Whether each update is replaced by the mean of its n - f nearest ones first, f hostile among n.
    step, momentum
        Of the server, as for `FedAvg`.
    """

    hostile: int | float = option(0.2, HOSTILE, at_least=0)
    mixing: bool = option(False, "Replace each update by the mean of its n - f nearest ones first, f hostile of n.")
    step: float = option(1.0, "Size of the server's step.", above=0)
    momentum: float = option(0.9, "Momentum of the server; 0 is none.", at_least=0, below=1)

    name: ClassVar[str]
    sees: ClassVar[Sees] = "each"
    folds: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        check_options(self, "strategy.aggregation")
        if isinstance(self.hostile, float) and not self.hostile < 0.5:
            raise ConfigError(
                f"strategy.aggregation.hostile must be a whole number of clients, or a share below 0.5, got "
                f"{self.hostile!r}"
            )

    @property
    def weighting(self) -> Weighting:
        """All alike."""
        return "equal"

    def most_hostile(self, num_updates: int) -> int:
        """Return how many of so many updates may be hostile; below 0 where they are too few for the rule at all.

        That is the largest number below half, unless a rule says otherwise.
        """
        return (num_updates - 1) // 2

    @abstractmethod
    def estimate(self, received: Received) -> Float32Array:
        """Return by what the weights move before step and momentum, (parameters,)."""

    def expected(self, num_asked: int, num_found: int = 0) -> int:
        """Return how many of so many clients may be hostile, without those that were found out and left out."""
        share = isinstance(self.hostile, float)
        hostile = int(self.hostile * num_asked + 1e-9) if share else int(self.hostile)  # else 0.29 of 100 would be 28
        return max(hostile - num_found, 0)

    def least(self, num_asked: int, num_found: int = 0) -> int:
        """Return how many updates the rule needs where so many clients were asked, and so many hostile left out."""
        hostile, number = self.expected(num_asked, num_found), 1
        while self.most_hostile(number) < hostile:
            number += 1
        return number

    def refusal(self, num_updates: int, num_asked: int, num_found: int = 0) -> str:
        """Return why so many updates of so many clients that were asked are too few; empty if they are enough."""
        asked = max(num_asked, num_updates)
        most, hostile = self.most_hostile(num_updates), self.expected(asked, num_found)
        if hostile <= most:
            return ""
        least, rule = self.least(asked, num_found), f"strategy.aggregation {self.name!r}"
        if most < 0:
            return f"{rule} takes {least} updates at least, got {num_updates}; see that more clients take part"
        said = f"{self.hostile}" if isinstance(self.hostile, int) else f"{self.hostile}, {hostile} of {asked} asked"
        return (
            f"{rule} bears {most} hostile among {num_updates} updates at most, got hostile = {said}; lower it to "
            f"{most}, or see that {least} clients answer"
        )

    def init(self, num_parameters: int) -> Carry:
        """Return a momentum of zero, or nothing where there is no momentum."""
        return begun(self.momentum, num_parameters)

    def outgoing(self, carry: Carry) -> Arrays:
        """Clients need nothing but the weights."""
        return {}

    def begin(self, num_parameters: int) -> Updates:
        """Return no updates."""
        return Updates()

    def fold(self, accumulator: Updates, updates: Arrays, weights: Float64Array) -> Updates:
        """Keep the updates, each by itself."""
        return accumulator.add(updates[UPDATE], weights)

    def finish(
        self, accumulator: Updates, weights: Float32Array, carry: Carry, closing: Closing = Closing()
    ) -> tuple[Float32Array, Carry]:
        """Return the moved weights; the total of the closing does not count.

        Raises
        ------
        ConfigError
            If more of the updates may be hostile than the rule bears.
        FederationError
            If there is no update.
        """
        rows = accumulator.rows()
        hostile = self.expected(max(closing.num_asked, len(rows)))
        if hostile > self.most_hostile(len(rows)):  # some of them were left out already
            hostile = self.expected(max(closing.num_asked, len(rows)), closing.num_found)
        if refusal := self.refusal(len(rows), closing.num_asked, closing.num_found):
            raise ConfigError(refusal)
        rows = mixed(rows, hostile) if self.mixing else rows
        own = np.array(accumulator.weights)
        estimate = self.estimate(Received(rows, own, hostile, weights, carry, closing.score))
        kept = {**carry, **self.kept(estimate)}
        return moved(weights, estimate.copy(), kept, self.momentum, self.step)

    def kept(self, estimate: Float32Array) -> Carry:
        """Return what the rule keeps of an estimate for the next round, beside the momentum."""
        return {}
