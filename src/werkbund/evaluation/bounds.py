"""Between what the ranking figures of rows lie whose scores are known by their bins alone.

Within its bin a row may stand anywhere, alone or tied with others, unless the bin holds one score of single precision
alone. Over all such orders a figure has a least and a greatest value; the figure of the bins, in which all rows of a
bin are tied, lies between them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import digamma

from werkbund.core.arrays import Float64Array
from werkbund.evaluation.counts import Counts

POSSIBLE_ERROR = 0.002
"""A figure that bins allow to be further off than this is shown with what they allow."""


class Bounds(NamedTuple):
    """Hold the least and the greatest value that a figure may have; NaN where it is undefined."""

    low: float
    high: float

    def error(self, figure: float) -> float:
        """Return by how much a figure may be off."""
        return max(self.high - figure, figure - self.low)


UNDEFINED = Bounds(float("nan"), float("nan"))


def average_precision_bounds(counts: Counts) -> Bounds:
    """Return the least and the greatest average precision over all orders of rows within bins.

    The least is that of negative rows first and no ties: the i-th positive row has the precision i / (i + f), where f
    negative rows are in its bin or above. The greatest is that of all positive rows of a bin tied and its negative rows
    below. Where counts say of rows that they may lie in bins around (`Counts.lowest`), rows of two such ranges may be
    tied too, and the greatest value is an upper bound that need not be reached.

    References
    ----------
    McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence of tied
    scores", ECIR 2008, on figures over all orders of tied rows.
    """
    if counts.positives == 0:
        return UNDEFINED
    low = _least_precisions(counts).sum() / counts.positives
    high = _greatest_precisions(counts).sum() / counts.positives
    return Bounds(float(low), float(high))


def roc_auc_bounds(counts: Counts) -> Bounds:
    """Return the least and the greatest ROC AUC over all orders of rows within bins."""
    if counts.positives == 0 or counts.negatives == 0:
        return UNDEFINED
    pairs = float(counts.positives) * counts.negatives
    half = np.where(counts.tied, 0.5 * counts.histogram[0], 0.0)
    low = counts.lowest[1] @ (np.cumsum(counts.highest[0], dtype=np.float64) - counts.highest[0] + half)
    high = counts.highest[1] @ (np.cumsum(counts.lowest[0], dtype=np.float64) - half)
    return Bounds(float(low / pairs), float(high / pairs))


def _least_precisions(counts: Counts) -> Float64Array:
    """Return the sum of the least precisions of each bin's positive rows, of those that have any, bins falling.

    Σᵢ (T + i) / (G + i) over the bin's p positive rows, with T positive rows above, and G the rows above and the bin's
    negative ones; that is p - (G - T) (ψ(G + p + 1) - ψ(G + 1)). Rows of one score have one precision.
    """
    places = np.flatnonzero(counts.lowest[1])[::-1]
    hits = counts.lowest[1, places].astype(np.float64)
    false_alarms = np.cumsum(counts.highest[0, ::-1], dtype=np.float64)[len(counts.highest[0]) - 1 - places]
    found = np.cumsum(hits)
    before = found - hits + false_alarms
    one_by_one = hits - false_alarms * (digamma(before + hits + 1) - digamma(before + 1))
    return np.asarray(np.where(counts.tied[places], hits * found / (found + false_alarms), one_by_one))


def _greatest_precisions(counts: Counts) -> Float64Array:
    """Return the sum of the greatest precisions of each bin's positive rows, bins falling."""
    hits, misses = counts.highest[1, ::-1], counts.lowest[0, ::-1]
    found = np.cumsum(hits)
    above = np.cumsum(misses) - np.where(counts.tied[::-1], 0, misses)
    precision = found / np.maximum(found + above, 1)
    if counts.outer is not None:  # rows of two ranges of bins may be tied
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    return np.asarray(hits * precision)
