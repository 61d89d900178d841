"""Whether a probability means what it says: of the rows said to fail with 30 %, do 30 % fail?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import AnyArray, Float64Array
from werkbund.evaluation.counts import Counts


@dataclass(frozen=True, eq=False)
class Reliability:
    """Hold the points of a reliability diagram, one a tenth of the probability; NaN where no row falls.

    Parameters
    ----------
    rows
        (10,), number of rows.
    predicted
        (10,), mean probability.
    observed
        (10,), fraction of failures.
    """

    rows: Float64Array
    predicted: Float64Array
    observed: Float64Array


def reliability(calibration: AnyArray) -> Reliability:
    """Return predicted against observed frequency of failure.

    Parameters
    ----------
    calibration
        (10, 3): rows, sum of probabilities and sum of labels, by tenth of the probability.

    References
    ----------
    Niculescu-Mizil and Caruana, "Predicting good probabilities with supervised learning", ICML 2005.
    """
    rows, probabilities, labels = np.asarray(calibration, dtype=np.float64).T
    known = np.where(rows > 0, rows, np.nan)
    return Reliability(rows, probabilities / known, labels / known)


def expected_calibration_error(counts: Counts) -> float:
    """Return the gap between predicted and observed frequency, weighted by rows, 0 to 1; NaN without a row.

    Ten bins of equal width over the probability of failure.

    References
    ----------
    Naeini, Cooper, Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.
    """
    rows, probabilities, labels = counts.calibration.T
    total = float(rows.sum())
    return float(np.abs(probabilities - labels).sum()) / total if total > 0 else float("nan")
