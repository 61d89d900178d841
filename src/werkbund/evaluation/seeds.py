"""Contenders over several seeds: each metric with its interval, and the federated model minus each rival."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from werkbund.evaluation.intervals import mean_interval, paired_difference
from werkbund.evaluation.measures import RANGES

_OF_NUMBERS = ("rmse", "mae", "nasa_score")
_METRICS = ("average_precision", "roc_auc", "f1", "recall", "precision", "cost", "brier")


def rows_over_seeds(by_seed: Sequence[Mapping[str, Mapping[str, float | None]]]) -> list[dict[str, Any]]:
    """Return a row for each contender and metric, with mean, 95 % interval and values, and the differences to rivals.

    Parameters
    ----------
    by_seed
        Of each run the metrics of each contender by name, None where the rows define none; `federated` is one of them.
        Where a number is foretold they have its errors too, and the differences are of its root mean squared error.
    """
    rows: list[dict[str, Any]] = []
    measure = "rmse" if by_seed[0]["federated"].get("rmse") is not None else "average_precision"
    for who, first in by_seed[0].items():
        errors = [metric for metric in _OF_NUMBERS if measure == "rmse" and first.get(metric) is not None]
        for metric in (*errors, *_METRICS):
            values = [_number(scores[who][metric]) for scores in by_seed]
            interval = mean_interval(values).within(*RANGES[metric])
            rows.append({"who": who, "metric": metric, **interval.to_json(), "values": values})
    for rival in by_seed[0]:
        if rival != "federated" and by_seed[0][rival].get(measure) is not None:
            ours = [_number(scores["federated"][measure]) for scores in by_seed]
            theirs = [_number(scores[rival][measure]) for scores in by_seed]
            most = RANGES[measure][1]
            difference = paired_difference(ours, theirs).within(-most, most).to_json()
            name = f"federated minus {rival}"
            values = [a - b for a, b in zip(ours, theirs, strict=True)]
            rows.append({"who": name, "metric": measure, **difference, "values": values})
    return rows


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
