"""How a model does in a later period than the one it was tried in, and whether the change is more than chance.

A failure is ranked among the rows of its own client: figures over all clients' rows would also change where clients
that are unlike have more or fewer rows later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from werkbund.core.arrays import Float64Array
from werkbund.evaluation.intervals import Interval

Figures = Mapping[str, Any]
"""Metrics of one model on some rows, by name, as `Metrics.to_json` gives them."""

Pair = tuple[Figures | None, Figures | None]
"""Of one client in the earlier and in the later period."""

_KEPT = ("rows", "positives", "roc_auc", "average_precision", "recall", "precision", "cost")


@dataclass(frozen=True)
class ClientPeriods:
    """Hold the figures of one client's rows, held out while the model was made, and in a later period.

    Parameters
    ----------
    name
        Of the client.
    earlier, later
        Of the federation's model; None where nobody tells.
    alone_earlier, alone_later
        Of the client's own model; None where there is none.
    """

    name: str
    earlier: Figures | None
    later: Figures | None
    alone_earlier: Figures | None = None
    alone_later: Figures | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the name, and of each model in each period the figures that a reader compares, for JSON."""
        figures = {name: value for name, value in vars(self).items() if name != "name" and value is not None}
        return {"name": self.name, **{name: {key: own.get(key) for key in _KEPT} for name, own in figures.items()}}


def compare_periods(clients: Sequence[ClientPeriods]) -> dict[str, Any]:
    """Return the figures of all clients together in both periods.

    Parameters
    ----------
    clients
        Those without a later period are left out, and those whose numbers of rows cannot be.

    Returns
    -------
    figures
        `clients`, `rows`, `positives` of the later period; `roc_auc` and `alone_roc_auc`, each with `earlier` and
        `later`, means over clients weighted by their failures in the later period; `cost` in the same way, weighted by
        rows; `change` of the ROC AUC with its 95 % interval and number of clients behind it; `per_client`. What nothing
        defines is None.
    """
    told = [client for client in clients if _is_sound(client.later)]
    return {
        "clients": len(told),
        "rows": sum(client.later["rows"] for client in told if client.later),
        "positives": sum(client.later["positives"] for client in told if client.later),
        "roc_auc": _means([(c.earlier, c.later) for c in told], "roc_auc", "positives"),
        "alone_roc_auc": _means([(c.alone_earlier, c.alone_later) for c in told], "roc_auc", "positives"),
        "cost": _means([(c.earlier, c.later) for c in told], "cost", "rows"),
        "change": change_of_roc_auc([(c.earlier, c.later) for c in told]).to_json(),
        "per_client": [client.to_json() for client in told],
    }


def change_of_roc_auc(pairs: Sequence[Pair], level: float = 0.95) -> Interval:
    """Return by how much the ROC AUC changes from one period to the next, with its interval.

    The mean over clients, weighted by failures in the later period. Its standard error is the larger of two: that of
    rows drawn independently within each client and period, and that of the clients' changes about their mean. The
    second is what rows of a machine that are alike show in.

    Parameters
    ----------
    pairs
        Figures of one client in the earlier and in the later period.
    level
        Chance, in (0, 1), with which such an interval holds the true change.

    References
    ----------
    Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
    Radiology 143, 1982, equation 2. Deviation: in the variance the area is drawn to 1/2 by one failure more, since that
    of a perfect ranking would be 0.
    """
    known = _known(pairs, "roc_auc")
    if not known:
        return Interval(math.nan, math.nan, math.nan, 0)
    change = np.array([after["roc_auc"] - before["roc_auc"] for before, after in known])
    weight = np.array([after["positives"] for _, after in known], np.float64)
    weight /= weight.sum()
    mean = float(weight @ change)
    variance = float(weight**2 @ np.array([_variance(before) + _variance(after) for before, after in known]))
    if len(known) > 1:
        variance = max(variance, float(weight**2 @ (change - mean) ** 2) * len(known) / (len(known) - 1))
    half = float(ndtri(0.5 + level / 2)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half, len(known)).within(-1.0, 1.0)


def _variance(figures: Figures) -> float:
    """Return the variance of a ROC AUC, by Hanley and McNeil."""
    with_failure = figures["positives"]
    without = figures["rows"] - with_failure
    area = (figures["roc_auc"] * with_failure + 0.5) / (with_failure + 1)
    both_failures, both_others = area / (2 - area), 2 * area**2 / (1 + area)
    spread = (with_failure - 1) * (both_failures - area**2) + (without - 1) * (both_others - area**2)
    return float((area * (1 - area) + spread) / (with_failure * without))


def _means(pairs: Sequence[Pair], metric: str, weight: str) -> dict[str, float | None]:
    """Return a metric's mean in both periods over the clients that define it in both."""
    known = _known(pairs, metric)
    weights: Float64Array = np.array([after[weight] for _, after in known], np.float64)
    if not weights.sum() > 0:
        return {"earlier": None, "later": None}
    columns = ([figures[metric] for figures in column] for column in zip(*known, strict=True))
    earlier, later = (float(np.average(values, weights=weights)) for values in columns)
    return {"earlier": earlier, "later": later}


def _known(pairs: Sequence[Pair], metric: str) -> list[tuple[Figures, Figures]]:
    """Return the pairs of which both define a metric; a client that is elsewhere may say anything."""
    return [
        (before, after)
        for before, after in pairs
        if before is not None and after is not None and all(_defines(figures, metric) for figures in (before, after))
    ]


def _defines(figures: Figures, metric: str) -> bool:
    value = figures.get(metric)
    if not _is_sound(figures) or value is None or not math.isfinite(value):
        return False
    return metric != "roc_auc" or bool(0 < figures["positives"] < figures["rows"] and 0 <= value <= 1)


def _is_sound(figures: Figures | None) -> bool:
    """Say whether numbers of rows are told, and can be."""
    if figures is None or figures.get("rows") is None or figures.get("positives") is None:
        return False
    return bool(0 <= figures["positives"] <= figures["rows"])
