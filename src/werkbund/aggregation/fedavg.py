"""Federated averaging, with server step size and server momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from werkbund.aggregation.contract import Carry, Sums, Weighting
from werkbund.core.arrays import Float32Array, Float64Array
from werkbund.core.errors import ConfigError, FederationError


@dataclass(frozen=True)
class FedAvg:
    """Move the weights by the mean update.

    With mean update d: m <- momentum * m + d, and weights <- weights + step * m.

    Parameters
    ----------
    weighting
        `examples`: a client counts by its number of training rows; `equal`: all clients alike.
    step
        Server step size; 1 with momentum 0 is plain averaging of the clients' weights.
    momentum
        Server momentum, 0 <= momentum < 1.

    References
    ----------
    McMahan et al., AISTATS 2017, algorithm 1 (averaging); Hsu, Qi, Brown, "Measuring the Effects of Non-Identical
    Data Distribution for Federated Visual Classification", 2019, section 4.2 (FedAvgM). Hsu et al. fix the server step
    at 1.
    """

    weighting: Weighting = "examples"
    step: float = 1.0
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if self.weighting not in ("examples", "equal"):
            raise ConfigError(f"strategy.aggregation.weighting must be examples or equal, got {self.weighting!r}")
        if not (self.step > 0 and np.isfinite(self.step)):
            raise ConfigError(f"strategy.aggregation.step must be > 0, got {self.step}")
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"strategy.aggregation.momentum must be in [0, 1), got {self.momentum}")

    @property
    def sees(self) -> Literal["sum", "each"]:
        """A sum is enough."""
        return "sum"

    def init(self, num_parameters: int) -> Carry:
        """Return a momentum of zero, or nothing where there is no momentum."""
        return {"momentum": np.zeros(num_parameters, np.float32)} if self.momentum else {}

    def fold(self, sums: Sums, updates: Float32Array, weights: Float64Array) -> Sums:
        """Add the updates one after the other: the same bits however they are grouped."""
        if sums.num_updates == 0 and updates.shape[1] > 1:
            # NumPy adds the rows of a matrix in their order too, as long as it has more than one column.
            np.add.reduce(np.ascontiguousarray(updates), axis=0, out=sums.update)
        else:
            for update in updates:
                sums.update += update
        for weight in weights.tolist():
            sums.weight += weight
        sums.num_updates += len(updates)
        return sums

    def finish(self, sums: Sums, weights: Float32Array, carry: Carry) -> tuple[Float32Array, Carry]:
        """Return the moved weights, in the storage of `sums`.

        Raises
        ------
        FederationError
            If the updates' total weight is zero: no data is not the same as no change.
        """
        if not sums.weight > 0:
            raise FederationError(f"the total weight of the updates must be > 0, got {sums.weight}; no client had rows")
        # In place of the sum: with large networks another vector of their size may be one too many.
        moved = np.divide(sums.update, np.float32(sums.weight), out=sums.update)
        if self.momentum:
            momentum: Float32Array = np.float32(self.momentum) * carry["momentum"] + moved
            carry = {"momentum": momentum}
            np.copyto(moved, momentum)
        moved *= np.float32(self.step)
        moved += weights
        return moved, carry
