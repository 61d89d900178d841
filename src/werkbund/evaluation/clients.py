"""The same figures for each client: how they spread, and who fares worst."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import AnyArray, Float32Array, Float64Array
from werkbund.core.edges import STANDARD_EDGES
from werkbund.core.errors import ConfigError, DataError
from werkbund.evaluation.costs import Costs
from werkbund.evaluation.counts import Counts
from werkbund.evaluation.measures import DIRECTIONS, Metrics, metrics
from werkbund.evaluation.thresholds import Threshold


@dataclass(frozen=True)
class Spread:
    """Hold how one metric spreads over clients.

    Parameters
    ----------
    metric
        Name of the metric.
    num_clients
        Number of clients whose rows define it; the others are left out.
    lowest, lower_quartile, median, upper_quartile, highest, mean
        NaN if no client defines it. Quartiles are interpolated linearly.
    """

    metric: str
    num_clients: int
    lowest: float
    lower_quartile: float
    median: float
    upper_quartile: float
    highest: float
    mean: float


@dataclass(frozen=True)
class WorstClient:
    """Name the client with the worst value of a metric."""

    metric: str
    name: str
    value: float


def per_client(
    arrays: Mapping[str, AnyArray],
    threshold: Threshold | Sequence[Threshold],
    costs: Costs,
    mode_names: Sequence[str] = (),
    edges: Float32Array = STANDARD_EDGES,
) -> tuple[Metrics, ...]:
    """Return the metrics of each client, in the order of the arrays' rows.

    Parameters
    ----------
    arrays
        What clients count, by the names of the fields of `Counts`, each array with one row a client.
    threshold
        The same for all, or one a client.
    mode_names
        One for each failure mode that is counted.
    edges
        The logits between the bins of the counts.

    Raises
    ------
    DataError
        If an array is missing, or the number of names is not that of the modes counted.
    """
    if "histogram" not in arrays:
        raise DataError(f"counts must hold a histogram, got {sorted(arrays)}; pass what clients count")
    clients = len(arrays["histogram"])
    at = (threshold,) * clients if isinstance(threshold, Threshold) else threshold
    each = (Counts.from_arrays(arrays, i, edges) for i in range(clients))
    return tuple(metrics(own, where, costs, mode_names) for own, where in zip(each, at, strict=True))


def values_of(all_metrics: Sequence[Metrics], metric: str) -> Float64Array:
    """Return one metric of each client: (clients,), NaN where its rows do not define it.

    Raises
    ------
    ConfigError
        If no metric has this name.
    """
    if metric not in DIRECTIONS:
        raise ConfigError(f"metric must be one of {', '.join(DIRECTIONS)}, got {metric!r}")
    return np.array([getattr(client, metric) for client in all_metrics], dtype=np.float64)


def spread(all_metrics: Sequence[Metrics], metric: str) -> Spread:
    """Return how a metric spreads over those clients whose rows define it.

    Raises
    ------
    ConfigError
        If no metric has this name.
    """
    values = values_of(all_metrics, metric)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return Spread(metric, 0, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan)
    low, lower, median, upper, high = np.quantile(values, [0.0, 0.25, 0.5, 0.75, 1.0]).tolist()
    return Spread(metric, len(values), low, lower, median, upper, high, float(values.mean()))


def worst_client(all_metrics: Sequence[Metrics], names: Sequence[str], metric: str) -> WorstClient | None:
    """Return the client that fares worst, the first of equals; None if no client's rows define the metric.

    Parameters
    ----------
    names
        One a client, in the order of `all_metrics`.

    Raises
    ------
    ConfigError
        If no metric has this name.
    DataError
        If there are not as many names as clients.
    """
    if len(names) != len(all_metrics):
        raise DataError(
            f"names must be one for each of {len(all_metrics)} clients, got {len(names)}; give one a client"
        )
    values = values_of(all_metrics, metric)
    if np.isnan(values).all():
        return None
    worst = int(np.nanargmin(values * DIRECTIONS[metric]))
    return WorstClient(metric, names[worst], float(values[worst]))


def mean_metrics(all_metrics: Sequence[Metrics]) -> Metrics:
    """Return the mean of each figure over models; a figure that no model defines stays undefined."""
    first = all_metrics[0]
    names = [name for name, value in vars(first).items() if isinstance(value, int | float)]
    means = {name: known_mean([getattr(figures, name) for figures in all_metrics]) for name in names}
    modes = {
        mode: _mean_or_none([figures.recall_by_mode[mode] for figures in all_metrics]) for mode in first.recall_by_mode
    }
    counted = {"rows": first.rows, "positives": first.positives, "recall_by_mode": modes}
    return Metrics(**{**means, **counted})  # type: ignore[arg-type]


def known_mean(values: Sequence[float]) -> float:
    """Return the mean of what is known, NaN if nothing is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
