"""Parts add up: what a result says of its plants is what it says of all of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from werkbund.config import check_config
from werkbund.federation import run


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give what a compared run wrote."""
    config = check_config(
        {
            "federation": {"rounds": 3},
            "data": {"source": "generator", "rows": 1500},
            "clients": {"count": 3},
            "model": {"kind": "logistic"},
        }
    )
    done = run(config, out=str(tmp_path_factory.mktemp("parts") / "run"))
    shown = done._repr_html_()
    return {"shown": shown, **json.loads((done.folder / "result.json").read_text(encoding="utf-8"))}


def test_rows_and_failures_of_plants_are_those_of_all(told: dict[str, Any]) -> None:
    whole, own = told["metrics"]["federated"], told["own_rows"]
    for plants, failures in ((told["per_client"], "positives"), (own["plants"], "failures")):
        assert sum(plant["rows"] for plant in plants) == whole["rows"] > 0
        assert sum(plant[failures] for plant in plants) == whole["positives"] > 0
    assert (own["rows"], own["failures"]) == (whole["rows"], whole["positives"])
    assert np.sum(told["curve"]["test"]["histogram"]) == whole["rows"]
    assert np.sum(told["curve"]["test"]["calibration"], axis=0)[[0, 2]].tolist() == [whole["rows"], whole["positives"]]


@pytest.mark.parametrize("name", ["cost", "brier", "log_loss"])
def test_a_mean_over_rows_is_the_plants_mean_weighted_by_rows(told: dict[str, Any], name: str) -> None:
    plants = told["per_client"]
    parts = [plant[name] * plant["rows"] for plant in plants]
    assert sum(parts) / told["metrics"]["federated"]["rows"] == pytest.approx(told["metrics"]["federated"][name])


def test_found_failures_of_plants_are_those_of_all(told: dict[str, Any]) -> None:
    found = [plant["recall"] * plant["positives"] for plant in told["per_client"] if plant["positives"]]
    whole = told["metrics"]["federated"]
    assert sum(found) == pytest.approx(whole["recall"] * whole["positives"])


def test_costs_on_own_rows_are_the_plants_weighted_by_rows(told: dict[str, Any]) -> None:
    own = told["own_rows"]
    for who in ("federated", "local_trees_mean", "nothing", "everything"):
        parts = [plant["figures"][who]["cost"] * plant["rows"] for plant in own["plants"]]
        assert sum(parts) / own["rows"] == pytest.approx(own["figures"][who]["cost"]["by_rows"]["mean"])


def test_a_notebook_shows_the_verdict_and_the_contenders(told: dict[str, Any]) -> None:
    shown, federated = told["shown"], told["own_rows"]["figures"]["federated"]["average_precision"]["by_rows"]
    assert "held-out rows" in shown
    assert "<th>Alone, own trees</th>" in shown
    assert f"<td>{federated['mean']:.2f} (" in shown
    assert "<script" not in shown
