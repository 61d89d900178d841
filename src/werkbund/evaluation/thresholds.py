"""From which score on a row is called a failure: chosen by cost, on rows that trained nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import Float32Array
from werkbund.core.edges import NUM_BINS, STANDARD_EDGES
from werkbund.core.errors import ConfigError
from werkbund.evaluation.costs import Costs, cost_curve
from werkbund.evaluation.counts import Counts

_LARGEST = 700.0
"""A logit below minus this has no probability that a double can tell from 0."""

_HIGHEST = 36.0
"""Beyond this logit a double can hardly tell a probability from 1, and a threshold would mean another one."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Call a row a failure if its score is at least this.

    Parameters
    ----------
    logit
        An edge of the bins in which scores are counted; with minus infinity every row is called a failure.

    Raises
    ------
    ConfigError
        If it is no number.
    """

    logit: float

    def __post_init__(self) -> None:
        if math.isnan(self.logit):
            raise ConfigError("a threshold's logit must be a number, got NaN; with -inf every row is an alarm")

    @property
    def probability(self) -> float:
        """The least probability that is called a failure."""
        return 1.0 / (1.0 + math.exp(-self.logit)) if self.logit > -_LARGEST else 0.0

    @property
    def is_always(self) -> bool:
        """Whether every row is called a failure."""
        return self.logit == -math.inf

    @classmethod
    def of_probability(cls, probability: float) -> Threshold:
        """Return the threshold at a probability, in single precision as edges are.

        Raises
        ------
        ConfigError
            If the probability is not in 0..1.
        """
        _check(probability)
        if probability in (0.0, 1.0):
            return cls(logit=-math.inf if probability == 0.0 else _HIGHEST)
        return cls(logit=float(np.float32(_logit(probability))))

    @classmethod
    def of_bin(cls, bin: int, edges: Float32Array = STANDARD_EDGES) -> Threshold:  # noqa: A002 - the field's own word
        """Return the threshold at the lower edge of a bin.

        Raises
        ------
        ConfigError
            If there is no such bin.
        """
        if not 0 <= bin < NUM_BINS:
            raise ConfigError(f"bin must be in 0..{NUM_BINS - 1}, got {bin}; with 0 every row is an alarm")
        return cls(logit=float(edges[bin - 1]) if bin else -math.inf)

    @classmethod
    def nearest(cls, probability: float, edges: Float32Array = STANDARD_EDGES) -> Threshold:
        """Return the threshold whose logit is nearest to that of a probability.

        Raises
        ------
        ConfigError
            If the probability is not in 0..1.

        Examples
        --------
        >>> [Threshold.nearest(probability).logit for probability in (0.5, 0.0, 1.0)]
        [0.0, -inf, 15.96875]
        """
        _check(probability)
        if probability in (0.0, 1.0):
            return cls.of_bin(0 if probability == 0.0 else NUM_BINS - 1, edges)
        return cls(logit=float(edges[np.argmin(np.abs(edges.astype(np.float64) - _logit(probability)))]))


def _check(probability: float) -> None:
    if not 0.0 <= probability <= 1.0:
        raise ConfigError(f"a threshold must be a probability in 0..1, got {probability}; 0.05 raises an alarm at 5 %")


def _logit(probability: float) -> float:
    return math.log(probability) - math.log1p(-probability)


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
        return Threshold.nearest(costs.break_even, counts.edges)
    curve = cost_curve(counts, costs)[: 1 + int(np.searchsorted(counts.edges, _HIGHEST, side="right"))]
    return Threshold.of_bin(len(curve) - 1 - int(np.argmin(curve[::-1])), counts.edges)
