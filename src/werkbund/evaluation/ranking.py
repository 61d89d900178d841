"""How well scores rank failures above the rest, exactly as if all scores of a bin were equal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import AnyArray, Float64Array, Int64Array
from werkbund.evaluation.counts import Counts


@dataclass(frozen=True, eq=False)
class Curve:
    """Hold the points of a curve, one a threshold, from the highest that any row reaches to the lowest.

    Parameters
    ----------
    bins
        (points,), falling: the threshold of each point.
    x, y
        (points,), in [0, 1]: what the function that returns the curve says.
    """

    bins: Int64Array
    x: Float64Array
    y: Float64Array


def average_precision(counts: Counts) -> float:
    """Return the area under the precision-recall curve as a sum of steps; NaN without a positive row.

    Σₖ (Rₖ - Rₖ₋₁) Pₖ, where Rₖ and Pₖ are recall and precision at the k-th threshold, thresholds falling; there is no
    interpolation between them.

    References
    ----------
    Davis and Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006, on why straight
    lines between the points of this curve are too optimistic.
    """
    if counts.positives == 0:
        return float("nan")
    hits = counts.histogram[1, ::-1]
    flagged = np.cumsum(hits + counts.histogram[0, ::-1])
    precision = np.cumsum(hits) / np.maximum(flagged, 1)
    return float(hits @ precision / counts.positives)


def roc_auc(counts: Counts) -> float:
    """Return the chance that a positive row scores above a negative one, ties half; NaN if either is missing.

    References
    ----------
    Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC)
    curve", Radiology 143, 1982.
    """
    if counts.positives == 0 or counts.negatives == 0:
        return float("nan")
    negative, positive = counts.histogram
    below = np.cumsum(negative) - 0.5 * negative
    return float(positive @ below / (float(counts.positives) * counts.negatives))


def precision_recall_curve(histogram: AnyArray) -> Curve:
    """Return precision (y) against recall (x): no point if no row is positive.

    Parameters
    ----------
    histogram
        (2, bins), rows by label and bin of the score.
    """
    bins, false_positives, true_positives = _running(histogram)
    positives = histogram[1].sum()
    if positives == 0:
        return Curve(bins[:0], np.empty(0), np.empty(0))
    return Curve(bins, true_positives / positives, true_positives / (true_positives + false_positives))


def roc_curve(histogram: AnyArray) -> Curve:
    """Return the true positive rate (y) against the false positive rate (x): no point if a label is missing.

    Parameters
    ----------
    histogram
        (2, bins), rows by label and bin of the score.
    """
    bins, false_positives, true_positives = _running(histogram)
    negatives, positives = histogram.sum(axis=1)
    if negatives == 0 or positives == 0:
        return Curve(bins[:0], np.empty(0), np.empty(0))
    return Curve(bins, false_positives / negatives, true_positives / positives)


def _running(histogram: AnyArray) -> tuple[Int64Array, Float64Array, Float64Array]:
    """Return the occupied bins, falling, and how many rows of each label lie in each of them or above."""
    bins = np.nonzero(histogram.sum(axis=0))[0][::-1]
    false_positives, true_positives = np.cumsum(histogram[:, bins], axis=1, dtype=np.float64)
    return bins, false_positives, true_positives
