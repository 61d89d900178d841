"""What it takes to reach a target: rounds, time, energy and bytes until a model is good enough."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from werkbund.core.arrays import Float64Array
from werkbund.core.errors import DataError


@dataclass(frozen=True)
class Expenditure:
    """Hold what was spent until some weights were there; NaN where they never were.

    Parameters
    ----------
    rounds
        Rounds of training behind them.
    seconds
        Simulated time in a simulated world, wall-clock time else.
    joules
        Energy of the clients, in a simulated world; 0 without one.
    bytes
        Payload of all messages.
    """

    rounds: float
    seconds: float
    joules: float
    bytes: float

    def to_json(self) -> dict[str, float | None]:
        """Return the fields for JSON, with None for NaN."""
        return {name: None if math.isnan(value) else value for name, value in vars(self).items()}


NEVER = Expenditure(math.nan, math.nan, math.nan, math.nan)
"""What a target takes that is not reached."""


@dataclass(frozen=True)
class LearningCurve:
    """Hold how good the weights were over a training, and what each cost.

    Parameters
    ----------
    rounds
        (points,), rounds behind the weights that were scored, ascending; 0 are the initial ones.
    scores
        (points,), their metric; NaN where it is undefined.
    seconds, joules, bytes
        (points,), spent until they were there.
    """

    rounds: Float64Array
    scores: Float64Array
    seconds: Float64Array
    joules: Float64Array
    bytes: Float64Array

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if values.shape != self.rounds.shape:
                raise DataError(
                    f"the columns of a learning curve must be of one length, {len(self.rounds)} points as in rounds, "
                    f"but {name} has {values.shape}"
                )

    def final(self, window: int = 1) -> float:
        """Return the mean of the last `window` defined scores; NaN if there is none."""
        known = self.scores[~np.isnan(self.scores)][-window:]
        return float(known.mean()) if len(known) else math.nan

    def until(self, target: float, window: int = 1) -> Expenditure:
        """Return what it took until the mean of `window` scores in a row reached a target, higher being better.

        `NEVER` if it was not reached. A single round may be lucky where few failures are scored; the mean of several
        is not.

        Examples
        --------
        >>> steps = np.arange(4.0)
        >>> LearningCurve(steps, np.array([0.1, 0.5, 0.4, 0.6]), 10 * steps, steps, steps).until(0.5, window=2).rounds
        3.0
        """
        known = ~np.isnan(self.scores)
        scores = self.scores[known]
        if window < 1 or len(scores) < window:
            return NEVER
        means = np.convolve(scores, np.full(window, 1.0 / window), mode="valid")
        good = np.flatnonzero(means >= target)
        if not len(good):
            return NEVER
        reached = int(np.flatnonzero(known)[good[0] + window - 1])
        return Expenditure(*(float(getattr(self, name)[reached]) for name in ("rounds", "seconds", "joules", "bytes")))


def jain_index(counts: npt.ArrayLike) -> float:
    """Return how evenly clients took part, 1/N (one alone) to 1 (all alike); NaN if nobody did.

    References
    ----------
    Jain, Chiu, Hawe, "A Quantitative Measure of Fairness and Discrimination for Resource Allocation in Shared Computer
    Systems", DEC TR-301, 1984.

    Examples
    --------
    >>> jain_index([2, 2, 0, 0])
    0.5
    """
    values = np.asarray(counts, dtype=np.float64)
    squares = float((values**2).sum())
    return float(values.sum()) ** 2 / (len(values) * squares) if squares > 0 else math.nan
