"""Federated averaging, with server step size and server momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from werkbund.aggregation.contract import Card, Carry, Closing, Weighting
from werkbund.aggregation.sums import HOW_CLIENTS_WEIGH, SumRule, Sums, begun, moved
from werkbund.core.arrays import Float32Array
from werkbund.core.methods import option


@dataclass(frozen=True)
class FedAvg(SumRule):
    """Move the weights by the mean update.

    With mean update d: m <- momentum * m + d, and weights <- weights + step * m.

    Parameters
    ----------
    weighting
        `examples`: a client counts by its number of training rows; `equal`: all clients alike; `factor`: by what is
        declared for it.
    step
        Server step size; 1 with momentum 0 is plain averaging of the clients' weights.
    momentum
        Server momentum, 0 <= momentum < 1.

    References
    ----------
    McMahan et al., AISTATS 2017, algorithm 1 (averaging); Hsu, Qi, Brown, "Measuring the Effects of Non-Identical
    Data Distribution for Federated Visual Classification", 2019, section 4.2 (FedAvgM). Hsu et al. fix the server step
    at 1. The momentum is plain: neither dampened nor Nesterov's.
    """

    weighting: Weighting = option("examples", HOW_CLIENTS_WEIGH)
    step: float = option(1.0, "Size of the server's step.", above=0)
    momentum: float = option(0.9, "Momentum of the server; 0 is plain averaging.", at_least=0, below=1)

    name: ClassVar[str] = "fedavg"
    card: ClassVar[Card] = Card(
        title="Federated averaging (FedAvg), with server momentum (FedAvgM) or a proximal term (FedProx)",
        rule=(
            "The mean d of the clients' updates moves the weights: m <- momentum * m + d, then "
            "weights <- weights + step * m. Step 1 with momentum 0 is plain averaging (FedAvg). Momentum is FedAvgM: a "
            "steady direction is then taken step / (1 - momentum) times as far."
        ),
        source="McMahan et al., AISTATS 2017, algorithm 1; Hsu, Qi, Brown 2019, section 4.2 (server momentum)",
        use_when="always to begin with: every other rule has to beat it",
        avoid_when="single clients may send harmful updates, or clients' rows differ so much that they drift apart",
        notes=(
            "FedProx (Li et al., MLSys 2020) is this rule with training.proximal above 0, its mu; 0.01 is a beginning. "
            "It bounds how far clients drift apart and does not take it away: scaffold and feddyn do.",
        ),
    )

    def init(self, num_parameters: int) -> Carry:
        """Return a momentum of zero, or nothing where there is no momentum."""
        return begun(self.momentum, num_parameters)

    def finish(
        self, accumulator: Sums, weights: Float32Array, carry: Carry, closing: Closing = Closing()
    ) -> tuple[Float32Array, Carry]:
        """Return the moved weights, in the storage of the sums.

        Raises
        ------
        FederationError
            If the updates' total weight is zero: no data is not the same as no change.
        """
        return moved(weights, accumulator.mean(total=closing.total), carry, self.momentum, self.step)
