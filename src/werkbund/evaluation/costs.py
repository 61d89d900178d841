"""What decisions cost: a failure that nobody foresaw, and an inspection that found nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import Float64Array
from werkbund.core.errors import ConfigError
from werkbund.evaluation.counts import Confusion, Counts

PER_ROWS = 1000


@dataclass(frozen=True)
class Costs:
    """Hold the price of the two ways to be wrong, in one currency; to be right costs nothing.

    Parameters
    ----------
    missed_failure
        Price of a failure that was not announced.
    needless_inspection
        Price of an announcement without a failure.

    Raises
    ------
    ConfigError
        If a price is not a finite number above 0.
    """

    missed_failure: float
    needless_inspection: float

    def __post_init__(self) -> None:
        for name, value in (
            ("missed_failure", self.missed_failure),
            ("needless_inspection", self.needless_inspection),
        ):
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be a finite price above 0, got {value}; state it in any currency")

    @property
    def break_even(self) -> float:
        """The probability of failure from which an inspection pays, if probabilities can be believed.

        References
        ----------
        Elkan, "The foundations of cost-sensitive learning", IJCAI 2001, equation 2, right decisions free.

        Examples
        --------
        >>> Costs(missed_failure=19.0, needless_inspection=1.0).break_even
        0.05
        """
        return self.needless_inspection / (self.needless_inspection + self.missed_failure)

    def of(self, confusion: Confusion) -> float:
        """Return what these decisions cost together."""
        missed = self.missed_failure * confusion.false_negatives
        return missed + self.needless_inspection * confusion.false_positives


def cost_curve(counts: Counts, costs: Costs) -> Float64Array:
    """Return the cost per 1000 rows of deciding at each bin's lower edge: (NUM_BINS,), NaN without a row.

    The probabilities of these thresholds are `lower_probabilities(counts.edges)`.
    """
    if counts.rows == 0:
        return np.full(counts.histogram.shape[1], np.nan)
    negative, positive = counts.histogram
    missed = np.cumsum(positive) - positive  # below the bin
    needless = counts.negatives - (np.cumsum(negative) - negative)  # in the bin or above
    total: Float64Array = costs.missed_failure * missed + costs.needless_inspection * needless
    return total * (PER_ROWS / counts.rows)
