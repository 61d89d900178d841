"""Rules for which the sum of the updates is enough: what they fold, and what they share.

Such a rule says how the mean update moves the weights, in `finish`, and nothing else. Its updates stream: no more than
one vector is held, however many clients there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from werkbund.aggregation.contract import UPDATE, Carry, Sees
from werkbund.core.arrays import AnyArray, Arrays, Float32Array, Float64Array
from werkbund.core.errors import FederationError
from werkbund.core.methods import check_options

HOW_CLIENTS_WEIGH = "How clients weigh: examples, by their rows; equal, all alike; factor, by clients.factors."
"""What the option `weighting` is for."""


@dataclass
class Sums:
    """Accumulate for rules that need sums alone: named arrays, and the weights' sum.

    Rows are added one after the other, so that the sum has the same bits however they are grouped.

    Parameters
    ----------
    arrays
        Sum of the weighted updates, (parameters,), under `update`, and of each array beside it under its name.
    weight
        Sum of the weights.
    num_updates
        How many were folded.
    """

    arrays: dict[str, AnyArray] = field(default_factory=dict)
    weight: float = 0.0
    num_updates: int = 0

    @staticmethod
    def empty(num_parameters: int) -> Sums:
        """Return the sums of no updates; what is folded beside them gets its shape when it comes first."""
        return Sums({UPDATE: np.zeros(num_parameters, np.float32)})

    def add(self, updates: Arrays, weights: Float64Array) -> Sums:
        """Add rows: arrays (k, ...) by name, and weights (k,)."""
        for name, rows in updates.items():
            if name not in self.arrays:
                self.arrays[name] = np.zeros(rows.shape[1:], rows.dtype)
            _add_rows(self.arrays[name], rows, self.num_updates == 0)
        for weight in weights.tolist():
            self.weight += weight
        self.num_updates += len(weights)
        return self

    def mean(self, name: str = UPDATE, total: float | None = None) -> AnyArray:
        """Return a sum divided by the weights' sum or by `total`, in the storage of the sum, which is spent.

        Raises
        ------
        FederationError
            If the divisor is not above zero: no data is not the same as no change.
        """
        weight = self.weight if total is None else total
        if not weight > 0:
            raise FederationError(f"the total weight of the updates must be > 0, got {weight}; no client had rows")
        summed = self.arrays[name]
        # In place of the sum: with large networks another vector of their size may be one too many.
        mean: AnyArray = np.divide(summed, summed.dtype.type(weight), out=summed)
        return mean


class SumRule:
    """Fold updates into their sum, send nothing beside the weights, and keep nothing: what most rules do."""

    sees: ClassVar[Sees] = "sum"
    folds: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_options(self, "strategy.aggregation")

    def init(self, num_parameters: int) -> Carry:
        """Return nothing: the weights are all that goes on."""
        return {}

    def outgoing(self, carry: Carry) -> Arrays:
        """Return nothing: clients need the weights alone."""
        return {}

    def begin(self, num_parameters: int) -> Sums:
        """Return empty sums."""
        return Sums.empty(num_parameters)

    def fold(self, accumulator: Sums, updates: Arrays, weights: Float64Array) -> Sums:
        """Add the updates one after the other: the same bits however they are grouped."""
        return accumulator.add(updates, weights)


def _add_rows(total: AnyArray, rows: AnyArray, is_first: bool) -> None:
    if is_first and total.size > 1:
        # NumPy adds the rows of a matrix in their order too, as long as it has more than one column.
        flat = np.ascontiguousarray(rows).reshape(len(rows), total.size)
        np.add.reduce(flat, axis=0, out=total.reshape(-1))
    else:
        for row in rows:
            total += row


def begun(momentum: float, num_parameters: int) -> Carry:
    """Return a momentum of zero, (parameters,), or nothing where there is no momentum."""
    return {"momentum": np.zeros(num_parameters, np.float32)} if momentum else {}


def moved(
    weights: Float32Array, mean: Float32Array, carry: Carry, momentum: float, step: float = 1.0
) -> tuple[Float32Array, Carry]:
    """Return weights <- weights + step * m with m <- momentum * m + mean, in the storage of the mean, and the carry."""
    if momentum:
        summed: Float32Array = np.float32(momentum) * carry["momentum"] + mean
        carry = {**carry, "momentum": summed}
        np.copyto(mean, summed)
    mean *= np.float32(step)
    mean += weights
    return mean, carry
