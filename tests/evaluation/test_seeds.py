"""Contenders over seeds go by the measure of what is foretold."""

from __future__ import annotations

import numpy as np
import pytest

from werkbund.cli.tables import differences_table, seeds_table
from werkbund.evaluation.seeds import rows_over_seeds

BINARY = dict.fromkeys(("average_precision", "roc_auc", "f1", "recall", "precision", "cost", "brier"), 0.5)


def _runs(**errors: float) -> list[dict[str, dict[str, float | None]]]:
    """Return two seeds of a federation, a rival that is worse by one and a half, and a habit without a number."""
    habit: dict[str, float | None] = {**BINARY, **dict.fromkeys(errors)}
    return [
        {
            "federated": {**BINARY, **{name: value + seed for name, value in errors.items()}},
            "pooled": {**BINARY, **{name: value + 1.5 * seed + 1.5 for name, value in errors.items()}},
            "nothing": habit,
        }
        for seed in range(2)
    ]


def test_numbers_are_compared_by_their_error() -> None:
    rows = rows_over_seeds(_runs(rmse=10.0, mae=8.0, nasa_score=90.0))
    by_name = {(row["who"], row["metric"]): row for row in rows}
    assert by_name["federated", "rmse"]["values"] == [10.0, 11.0]
    assert by_name["federated minus pooled", "rmse"]["mean"] == pytest.approx(-1.75)
    assert ("nothing", "rmse") not in by_name
    assert not [name for name, _ in by_name if name == "federated minus nothing"]
    table = {"seeds": [0, 1], "rows": rows}
    assert [str(column.header) for column in seeds_table(table).columns][1] == "RMSE"
    assert "RMSE" in str(differences_table(table).title)


def test_failures_are_compared_by_average_precision() -> None:
    rows = rows_over_seeds(_runs())
    assert {row["metric"] for row in rows if row["who"] == "federated"} == set(BINARY)
    assert [row["mean"] for row in rows if row["who"] == "federated minus pooled"] == [0.0]
    assert np.isfinite([row["mean"] for row in rows]).all()
