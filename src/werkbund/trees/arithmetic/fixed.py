"""Fixed point: gradients and hessians as whole numbers, so that their sums are exact in any order.

A power of two makes scaling itself exact. The exponent follows from the number of rows and from what one row can be
at most, so that no sum over all rows leaves 62 bits and no row leaves 31; sums of masked numbers modulo 2**64 come
out the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from werkbund.core.errors import ConfigError

ROW_BITS, SUM_BITS = 30, 62
LEAST_BITS = 12
"""A row at its bound must still be told in at least so many bits."""


@dataclass(frozen=True)
class FixedPoint:
    """Say how numbers become whole.

    Parameters
    ----------
    gradient_exponent, hessian_exponent
        A gradient g becomes `rint(g * 2**exponent)`.
    """

    gradient_exponent: int
    hessian_exponent: int

    @classmethod
    def agreed(cls, num_rows: int, gradient_bound: float, hessian_bound: float, most_draws: int = 1) -> FixedPoint:
        """Return the finest scales at which no sum can overflow.

        Parameters
        ----------
        num_rows
            Rows of all clients together.
        gradient_bound, hessian_bound
            What a row's gradient and hessian cannot exceed, above 0.
        most_draws
            How often a row may be drawn into one tree.

        Raises
        ------
        ConfigError
            If there are too many rows to keep enough bits of each.

        Examples
        --------
        >>> FixedPoint.agreed(10_000, 1.0, 0.25)
        FixedPoint(gradient_exponent=30, hessian_exponent=32)
        """
        room = min(ROW_BITS, SUM_BITS - math.ceil(math.log2(max(num_rows, 1) * most_draws)))
        if room < LEAST_BITS:
            raise ConfigError(
                f"rows times draws must be at most 2**{SUM_BITS - LEAST_BITS} so that their sums fit 64 bits, "
                f"got {num_rows} times {most_draws}; sample rows"
            )
        return cls(*(room - math.ceil(math.log2(bound)) for bound in (gradient_bound, hessian_bound)))

    @property
    def gradient_scale(self) -> float:
        """Steps a unit of gradient."""
        return math.ldexp(1.0, self.gradient_exponent)

    @property
    def hessian_scale(self) -> float:
        """Steps a unit of hessian."""
        return math.ldexp(1.0, self.hessian_exponent)
