"""What a model foretells of a row: whether a failure comes, or after how long.

Whatever is foretold, a model gives each row one score, its *risk*, which is above 0 for a failure and rises with it.
Thresholds, costs, rankings and verdicts are of risks. A target says what training follows, how the risk is read back
in its own unit, and what is counted of its errors. A model of failures gives a logit, and there is nothing to read
back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from werkbund.core.arrays import AnyArray, Float32Array, Float64Array, Int64Array
from werkbund.core.errors import ConfigError, DataError

Loss = Literal["logistic", "squared"]
"""What training follows: the log loss of a label, or half the squared error of a risk."""

ERROR_NAMES = ("rows", "squared", "absolute", "over", "nasa", "close")
"""What is summed over rows of a number's errors: their count, d², |d|, d where it is above 0, the NASA score, and
whether |d| is within a fifth of the true number; d is the foretold number less the true one, in its unit."""

_CAP_RISK = -8.0  # the risk of a row whose number is the cap: so that all numbers below it have bins of their own
_BITS = 30  # of an error at the cap: sums of whole steps are exact in a double over 2**23 rows
_SCORE_STEPS = 2.0**12  # of the NASA score
_MOST_ERROR = 200.0  # of one row in the NASA score, which has no bound
_CLOSE = 0.2


@dataclass(frozen=True)
class NumberTarget:
    """Foretell a number of which less is worse, such as the remaining life of a machine.

    A row counts as a failure if its number is at most the horizon. The risk is (horizon - number) / scale, so that it
    is 0 at the horizon and -8 at the cap.

    Parameters
    ----------
    horizon
        In the number's unit, above 0.
    cap
        Numbers above it are taken for it, in training and in judging; above the horizon.
    unit
        Of the number, for people.

    References
    ----------
    The cap: Heimes, "Recurrent Neural Networks for Remaining Useful Life Estimation", PHM 2008. The NASA score: Saxena
    et al., "Damage Propagation Modeling for Aircraft Engine Run-to-Failure Simulation", PHM 2008, equation 9, with
    errors beyond 200 taken for 200.

    Examples
    --------
    >>> NumberTarget(30, 125).risks([0, 30, 125, 300]).round(3).tolist()
    [2.526, 0.0, -8.0, -8.0]
    """

    horizon: float
    cap: float
    unit: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.horizon < self.cap < math.inf:
            raise ConfigError(
                f"data.horizon must be above 0 and below data.cap, got {self.horizon} and {self.cap}; a number is a "
                "failure if it is at most the horizon, and none is told apart beyond the cap"
            )

    @property
    def scale(self) -> float:
        """Units of the number in one unit of risk."""
        return (self.horizon - self.cap) / _CAP_RISK

    def risks(self, numbers: npt.ArrayLike) -> Float64Array:
        """Return the risk of rows of which the number is known: (rows,).

        Raises
        ------
        DataError
            If one is missing or negative.
        """
        known = np.asarray(numbers, np.float64)
        wrong = ~(known >= 0)
        if wrong.any():
            raise DataError(
                f"a remaining life must be a number of at least 0 in every row, {int(wrong.sum())} of {known.size} are "
                "missing or negative; leave out rows that have none"
            )
        return np.asarray((self.horizon - np.minimum(known, self.cap)) / self.scale)

    def numbers(self, risks: npt.ArrayLike) -> Float64Array:
        """Return the numbers that these risks foretell, between 0 and the cap: (rows,)."""
        return np.clip(self.horizon - self.scale * np.asarray(risks, np.float64), 0.0, self.cap)

    def errors(self, risks: npt.ArrayLike, true: npt.ArrayLike, offsets: Int64Array) -> Float64Array:
        """Return the sums of the errors of many clients' rows, as `ERROR_NAMES` lists them: (clients, 6).

        Each row's share is a multiple of a power of two, so that sums have the same bits however rows are grouped.

        Parameters
        ----------
        risks, true
            (rows,), the risks that a model gives, and those of the true numbers.
        offsets
            (clients + 1,), client i owns rows `offsets[i]:offsets[i + 1]`.

        Examples
        --------
        >>> target = NumberTarget(30, 125)
        >>> sums = target.errors(target.risks([40, 35, 60]), target.risks([50, 30, 40]), np.array([0, 3]))[0]
        >>> dict(zip(ERROR_NAMES, sums.round(4).tolist()))
        {'rows': 3.0, 'squared': 525.0, 'absolute': 35.0, 'over': 25.0, 'nasa': 8.196, 'close': 2.0}
        """
        foretold, known = self.numbers(risks), self.numbers(true)
        d = foretold - known
        bits = math.ceil(math.log2(self.cap))
        step, squared, scored = 2.0 ** (bits - _BITS), 2.0 ** (2 * bits - _BITS), 1.0 / _SCORE_STEPS
        near = np.abs(d) <= _CLOSE * known + step
        columns = (np.ones_like(d), d * d, np.abs(d), np.maximum(d, 0.0), nasa_scores(d), near.astype(np.float64))
        steps = (1.0, squared, step, step, scored, 1.0)
        client, number = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)), len(offsets) - 1
        sums = [np.bincount(client, np.rint(c / s), number) * s for c, s in zip(columns, steps, strict=True)]
        return np.stack(sums, axis=-1)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, from which `target_from_json` makes it again."""
        return {"kind": "number", "horizon": self.horizon, "cap": self.cap, "unit": self.unit}


@dataclass(frozen=True)
class FailureTarget:
    """Foretell whether a row is one of a failure: its risk is the logit of that."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, from which `target_from_json` makes it again."""
        return {"kind": "failure"}


Target = FailureTarget | NumberTarget
"""What is foretold of a row."""

FAILURE = FailureTarget()


def target_from_json(values: Mapping[str, Any]) -> Target:
    """Return what `to_json` described.

    Raises
    ------
    DataError
        If it is none.
    """
    try:
        if values["kind"] == "failure":
            return FAILURE
        if values["kind"] == "number":
            return NumberTarget(float(values["horizon"]), float(values["cap"]), str(values["unit"]))
        raise ValueError(f"kind {values['kind']!r}")
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise DataError(f"a target's description is incomplete or wrong: {error!r}; describe it anew") from error


def loss_of(target: Target) -> Loss:
    """Return what training follows."""
    return "squared" if isinstance(target, NumberTarget) else "logistic"


def nasa_scores(errors: npt.ArrayLike) -> Float64Array:
    """Return exp(-d / 13) - 1 for a life foretold too short, exp(d / 10) - 1 for one too long: late costs more.

    Examples
    --------
    >>> nasa_scores([-10.0, 5.0, 20.0]).round(6).tolist()
    [1.158106, 0.648721, 6.389056]
    """
    d = np.clip(np.asarray(errors, np.float64), -_MOST_ERROR, _MOST_ERROR)
    return np.asarray(np.expm1(np.where(d < 0, -d / 13.0, d / 10.0)))


def is_failure(risks: AnyArray) -> Float32Array:
    """Return 1 where a true risk is that of a failure, (rows,)."""
    return (np.asarray(risks) >= 0).astype(np.float32)
