"""Contenders over several seeds: each metric with its interval, and the federated model minus each rival."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from werkbund.evaluation.intervals import mean_interval, paired_difference
from werkbund.evaluation.measures import RANGES

_METRICS = ("average_precision", "roc_auc", "f1", "recall", "precision", "cost", "brier")


def rows_over_seeds(by_seed: Sequence[Mapping[str, Mapping[str, float | None]]]) -> list[dict[str, Any]]:
    """Return a row for each contender and metric, with mean, 95 % interval and values, and the differences to rivals.

    Parameters
    ----------
    by_seed
        Of each run the metrics of each contender by name, None where the rows define none; `federated` is one of them.
    """
    rows: list[dict[str, Any]] = []
    for who in by_seed[0]:
        for metric in _METRICS:
            values = [_number(scores[who][metric]) for scores in by_seed]
            interval = mean_interval(values).within(*RANGES[metric])
            rows.append({"who": who, "metric": metric, **interval.to_json(), "values": values})
    for rival in by_seed[0]:
        if rival != "federated":
            ours = [_number(scores["federated"]["average_precision"]) for scores in by_seed]
            theirs = [_number(scores[rival]["average_precision"]) for scores in by_seed]
            difference = paired_difference(ours, theirs).within(-1.0, 1.0).to_json()
            name = f"federated minus {rival}"
            values = [a - b for a, b in zip(ours, theirs, strict=True)]
            rows.append({"who": name, "metric": "average_precision", **difference, "values": values})
    return rows


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
