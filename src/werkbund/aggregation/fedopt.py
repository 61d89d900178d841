"""Adaptive optimisers at the server: each weight has a step size of its own, by how large its updates were so far."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.aggregation.contract import Card, Carry, Closing, Weighting
from werkbund.aggregation.sums import HOW_CLIENTS_WEIGH, SumRule, Sums
from werkbund.core.arrays import Float32Array
from werkbund.core.methods import option

_SOURCE = "Reddi et al., Adaptive Federated Optimization, ICLR 2021, algorithm 2"
_AVOID = (
    "rounds are few, or the step cannot be tuned: its best value depends on model and data, and one that is too large "
    "makes the weights jump in every round"
)
_STEP_NOTE = (
    "The step is in units of weights per round, not in multiples of the mean update: 1, the habit of averaging, moves "
    "each weight by about 1 in every round."
)
_START_NOTE = (
    "v begins at tau squared, as the paper asks for (at least). Other implementations begin at 0: set initial = 0."
)


_MEASURED = (
    "On AI4I 2020 with the built-in federation (150 rounds, validation rows of three seeds) steps from .03 to .3 gave "
    "an average precision of .79 to .80, as averaging with momentum did (.80); .01 gave .77 and .003 gave .6. A larger "
    "tau wants a larger step: FedAdam with tau .01 gave .73 at .03 and .79 at .1."
)


@dataclass(frozen=True)
class AdaptiveRule(SumRule, ABC):
    """Move each weight by the mean update over the root of its second moment.

    With mean update d: m <- beta1 * m + (1 - beta1) * d, v is renewed with d squared, and
    weights <- weights + step * m / (sqrt(v) + tau). Nothing is corrected for the moments' beginning.

    Parameters
    ----------
    weighting
        `examples`: a client counts by its number of training rows; `equal`: all clients alike; `factor`: by what is
        declared for it.
    step
        Size of the server's step, in units of weights a round.
    beta1
        Share of the first moment m that is kept, 0 <= beta1 < 1.
    tau
        Added to the root; the larger, the less the rule adapts.
    initial
        What v begins with; None for tau squared.

    References
    ----------
    Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2.
    """

    weighting: Weighting = option("examples", HOW_CLIENTS_WEIGH)
    step: float = option(0.1, "Size of the server's step, in units of weights a round.", above=0)
    beta1: float = option(0.9, "Share of the first moment that is kept.", at_least=0, below=1)
    tau: float = option(1e-3, "Added to the root of the second moment; a large one adapts less.", above=0)
    initial: float | None = option(None, "What the second moment begins with; tau squared if left out.", at_least=0)

    def init(self, num_parameters: int) -> Carry:
        """Return the moments before the first round."""
        start = self.tau**2 if self.initial is None else self.initial
        second = np.full(num_parameters, start, np.float32)
        return {"first": np.zeros(num_parameters, np.float32), "second": second}

    def finish(
        self, accumulator: Sums, weights: Float32Array, carry: Carry, closing: Closing = Closing()
    ) -> tuple[Float32Array, Carry]:
        """Return the moved weights.

        Raises
        ------
        FederationError
            If the updates' total weight is zero: no data is not the same as no change.
        """
        mean: Float32Array = accumulator.mean(total=closing.total)
        first = np.float32(self.beta1) * carry["first"] + np.float32(1 - self.beta1) * mean
        second = self._second(carry["second"], np.square(mean, out=mean))
        root: Float32Array = np.sqrt(second) + np.float32(self.tau)
        moved: Float32Array = np.float32(self._size(carry)) * first / root
        moved += weights
        return moved, {"first": first, "second": second}

    def _size(self, carry: Carry) -> float:
        """Return the size of this round's step."""
        return self.step

    @abstractmethod
    def _second(self, second: Float32Array, squared: Float32Array) -> Float32Array:
        """Return the second moment after this round, given the mean update squared."""


@dataclass(frozen=True)
class FedAdagrad(AdaptiveRule):
    """Divide by the root of the sum of all squared mean updates: v <- v + d^2; see `AdaptiveRule`.

    There is no first moment unless it is asked for: beta1 is 0, as in the paper's runs.
    """

    beta1: float = option(0.0, "Share of the first moment that is kept.", at_least=0, below=1)

    name: ClassVar[str] = "fedadagrad"
    card: ClassVar[Card] = Card(
        title="Adagrad at the server (FedAdagrad)",
        rule=(
            "With the mean d of the clients' updates: m <- beta1 m + (1 - beta1) d, v <- v + d^2, then "
            "weights <- weights + step * m / (sqrt(v) + tau), each weight by itself. Steps shrink from round to round."
        ),
        source=_SOURCE,
        use_when="some inputs matter in few plants or few rounds only, and rounds are few enough for steps that shrink",
        avoid_when=_AVOID,
        unbiased=False,
        notes=(
            _STEP_NOTE,
            _START_NOTE,
            "On AI4I 2020 with the built-in federation (150 rounds, validation rows of three seeds) steps of .1 and .3 "
            "gave an average precision of .75, .03 gave .71 and .01 gave .50; averaging with momentum gave .80.",
        ),
    )

    def _second(self, second: Float32Array, squared: Float32Array) -> Float32Array:
        return second + squared


@dataclass(frozen=True)
class FedAdam(AdaptiveRule):
    """Divide by the root of a running mean of squares: v <- beta2 * v + (1 - beta2) * d^2; see `AdaptiveRule`.

    Parameters
    ----------
    beta2
        Share of the second moment that is kept, 0 <= beta2 < 1.
    correction
        Whether the step of round t is multiplied by sqrt(1 - beta2^t) / (1 - beta1^t).

    References
    ----------
    Reddi et al. leave the correction out; it is that of Kingma and Ba, ICLR 2015, section 2, in its second form.
    """

    beta2: float = option(0.99, "Share of the second moment that is kept.", at_least=0, below=1)
    correction: bool = option(False, "Correct both moments for their beginning, as Kingma and Ba do and Reddi not.")

    name: ClassVar[str] = "fedadam"
    card: ClassVar[Card] = Card(
        title="Adam at the server (FedAdam)",
        rule=(
            "With the mean d of the clients' updates: m <- beta1 m + (1 - beta1) d, v <- beta2 v + (1 - beta2) d^2, "
            "then weights <- weights + step * m / (sqrt(v) + tau), each weight by itself."
        ),
        source=_SOURCE,
        use_when="updates of single weights differ by orders of magnitude, and the step can be tuned",
        avoid_when=_AVOID,
        unbiased=False,
        notes=(
            _STEP_NOTE,
            _START_NOTE,
            "The moments are not corrected for their beginning, as in the paper; `correction` does that. Flower 1.41 "
            "corrects with an exponent that is one too high, so that its first step is 26 % shorter.",
            _MEASURED,
        ),
    )

    def init(self, num_parameters: int) -> Carry:
        """Return the moments before the first round, and how many rounds there were, where the correction needs it."""
        moments = AdaptiveRule.init(self, num_parameters)
        return {**moments, "rounds": np.zeros(1, np.float32)} if self.correction else moments

    def finish(
        self, accumulator: Sums, weights: Float32Array, carry: Carry, closing: Closing = Closing()
    ) -> tuple[Float32Array, Carry]:
        """Return the moved weights; raises as `AdaptiveRule.finish`."""
        moved, after = AdaptiveRule.finish(self, accumulator, weights, carry, closing)
        return moved, {**after, "rounds": carry["rounds"] + 1} if self.correction else after

    def _size(self, carry: Carry) -> float:
        if not self.correction:
            return self.step
        t = float(carry["rounds"][0]) + 1
        return self.step * math.sqrt(1 - math.pow(self.beta2, t)) / (1 - math.pow(self.beta1, t))

    def _second(self, second: Float32Array, squared: Float32Array) -> Float32Array:
        return np.float32(self.beta2) * second + np.float32(1 - self.beta2) * squared


@dataclass(frozen=True)
class FedYogi(AdaptiveRule):
    """Let v move by at most the new square: v <- v - (1 - beta2) * d^2 * sign(v - d^2); see `AdaptiveRule`.

    Parameters
    ----------
    beta2
        1 minus the largest share of the new square by which v moves, 0 <= beta2 < 1.
    """

    beta2: float = option(0.99, "1 minus the share of the new square by which v moves.", at_least=0, below=1)

    name: ClassVar[str] = "fedyogi"
    card: ClassVar[Card] = Card(
        title="Yogi at the server (FedYogi)",
        rule=(
            "With the mean d of the clients' updates: m <- beta1 m + (1 - beta1) d, "
            "v <- v - (1 - beta2) d^2 sign(v - d^2), then weights <- weights + step * m / (sqrt(v) + tau), each weight "
            "by itself. After one large update v falls more slowly than Adam's."
        ),
        source=_SOURCE,
        use_when="as FedAdam, where some rounds bring rare failures and most do not",
        avoid_when=_AVOID,
        unbiased=False,
        notes=(_STEP_NOTE, _START_NOTE, _MEASURED),
    )

    def _second(self, second: Float32Array, squared: Float32Array) -> Float32Array:
        moved: Float32Array = second - np.float32(1 - self.beta2) * squared * np.sign(second - squared)
        return moved
