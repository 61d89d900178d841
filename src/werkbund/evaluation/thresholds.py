"""From which score on a row is called a failure: chosen by cost, on rows that trained nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from werkbund.core.errors import ConfigError
from werkbund.evaluation.costs import Costs, cost_curve
from werkbund.evaluation.counts import BINS_PER_LOGIT, NUM_BINS, Counts, lower_probabilities


@dataclass(frozen=True)
class Threshold:
    """Call a row a failure if its score is in this bin or above, so at least the bin's lower edge.

    Parameters
    ----------
    bin
        0 to NUM_BINS - 1; with 0 every row is called a failure.

    Raises
    ------
    ConfigError
        If there is no such bin.
    """

    bin: int

    def __post_init__(self) -> None:
        if not 0 <= self.bin < NUM_BINS:
            raise ConfigError(f"bin must be in 0..{NUM_BINS - 1}, got {self.bin}; with 0 every row is an alarm")

    @property
    def probability(self) -> float:
        """The least probability that is called a failure."""
        return float(lower_probabilities()[self.bin])

    @classmethod
    def nearest(cls, probability: float) -> Threshold:
        """Return the threshold whose logit is nearest to that of a probability.

        Raises
        ------
        ConfigError
            If the probability is not in 0..1.

        Examples
        --------
        >>> Threshold.nearest(0.5).bin, Threshold.nearest(0.0).bin, Threshold.nearest(1.0).bin
        (512, 0, 1023)
        """
        if not 0.0 <= probability <= 1.0:
            raise ConfigError(
                f"a threshold must be a probability in 0..1, got {probability}; 0.05 raises an alarm at 5 %"
            )
        if probability in (0.0, 1.0):
            return cls(0 if probability == 0.0 else NUM_BINS - 1)
        logit = math.log(probability) - math.log1p(-probability)
        return cls(min(max(round(logit * BINS_PER_LOGIT) + NUM_BINS // 2, 0), NUM_BINS - 1))


def choose_threshold(counts: Counts, costs: Costs) -> Threshold:
    """Return the threshold with the least cost on these rows, the highest of those that cost the same.

    Rows of one label alone say nothing about the trade between the two errors. Then, and without any row, the
    threshold is the break-even probability of the costs, which is right for a calibrated model.

    Parameters
    ----------
    counts
        Of validation rows: neither those that trained the model nor those that judge it.
    """
    if counts.positives == 0 or counts.negatives == 0:
        return Threshold.nearest(costs.break_even)
    curve = cost_curve(counts, costs)
    return Threshold(NUM_BINS - 1 - int(np.argmin(curve[::-1])))
