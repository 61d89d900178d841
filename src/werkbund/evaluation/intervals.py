"""How sure a mean over repeated runs is."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit

from werkbund.core.errors import ConfigError, DataError


@dataclass(frozen=True)
class Interval:
    """Hold a mean with its confidence interval.

    Parameters
    ----------
    mean
        NaN if there is no value.
    low, high
        Ends of the interval; NaN if there are fewer than two values, which say nothing about their spread.
    n
        Number of values behind it.
    """

    mean: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, float | int | None]:
        """Return the fields for JSON, with None for NaN."""
        return {name: None if math.isnan(value) else value for name, value in asdict(self).items()}

    def within(self, least: float, most: float) -> Interval:
        """Return the interval with ends that are possible, for a figure that lies between two values.

        Examples
        --------
        >>> Interval(0.97, 0.92, 1.02, 3).within(0.0, 1.0)
        Interval(mean=0.97, low=0.92, high=1.0, n=3)
        """
        return Interval(self.mean, max(self.low, least), min(self.high, most), self.n)

    def turned(self) -> Interval:
        """Return the interval of minus the figure.

        Examples
        --------
        >>> Interval(-2.0, -3.0, 0.5, 4).turned()
        Interval(mean=2.0, low=-0.5, high=3.0, n=4)
        """
        return Interval(-self.mean, -self.high, -self.low, self.n)

    def among(self, tests: int, level: float = 0.95) -> Interval:
        """Return the interval stretched so that the chance of a false end is that of one, though `tests` are read.

        Ends are moved away from the mean as those of a normal variable would be (Bonferroni's inequality).

        Examples
        --------
        >>> Interval(-1.0, -2.0, 0.0, 4).among(1)
        Interval(mean=-1.0, low=-2.0, high=0.0, n=4)
        >>> round(Interval(-1.0, -2.0, 0.0, 4).among(2).high, 2)
        0.14
        """
        stretch = float(ndtri(1 - (1 - level) / 2 / tests) / ndtri((1 + level) / 2))
        low, high = (self.mean + stretch * (end - self.mean) for end in (self.low, self.high))
        return Interval(self.mean, low, high, self.n)


def mean_interval(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Return the mean of independent values and its interval by Student's t distribution.

    Parameters
    ----------
    values
        (runs,), one a seed. NaN, a run in which the figure is undefined, is left out and not counted in `n`.
    level
        Chance, in (0, 1), with which such an interval holds the true mean, the values being normal.

    Raises
    ------
    ConfigError
        If the level is not between 0 and 1.

    References
    ----------
    Student, "The probable error of a mean", Biometrika 6, 1908.

    Examples
    --------
    >>> mean_interval([0.80, 0.82, 0.81])
    Interval(mean=0.81, low=0.785, high=0.835, n=3)
    """
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level must be between 0 and 1, got {level}; 0.95 is usual")
    known = np.asarray(values, dtype=np.float64).ravel()
    known = known[~np.isnan(known)]
    n = len(known)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(known.mean())
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    half = float(stdtrit(n - 1, 0.5 + level / 2) * known.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def paired_difference(first: npt.ArrayLike, second: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Return the mean of `first - second` with its interval, for runs that share a seed pair by pair.

    Raises
    ------
    DataError
        If the two are not of the same length.

    Examples
    --------
    >>> paired_difference([0.8, 0.7], [0.6, 0.5]).mean
    0.2
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise DataError(
            f"pairs must be as many on both sides, got {a.shape} and {b.shape}; give one value a seed for both"
        )
    return mean_interval(a - b, level)
