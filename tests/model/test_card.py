from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from werkbund.model import CardFacts, card_markdown, model_card

FACTS = CardFacts(
    "ten plants",
    "2025-01-01T00:00:00",
    data={"source": "generator", "rows": np.int64(400), "note": "Generated rows."},
    training={"clients": ["a", "b|c"], "rounds": 20},
    metrics={"federated": {"average_precision": 0.8, "f1": math.nan, "recall": {"HDF": 0.5}}, "pooled": {"f1": 1}},
    costs={"missed_failure": 20.0, "needless_inspection": 1.0},
    limits=("Not for presses.",),
)


@pytest.fixture
def card(make_model: Any) -> dict[str, Any]:
    return model_card(make_model("mlp"), FACTS)


def test_the_card_is_strict_json(card: dict[str, Any]) -> None:
    assert json.loads(json.dumps(card, allow_nan=False)) == card
    assert card["metrics"]["federated"]["f1"] is None
    assert card["data"]["rows"] == 400


def test_the_card_describes_each_raw_input(card: dict[str, Any], make_model: Any) -> None:
    model = make_model("mlp")
    inputs = {entry["name"]: entry for entry in card["inputs"]}
    assert set(inputs) == set(model.preparation.columns)
    assert inputs["Speed [1/min]"]["unit"] == "1/min"
    assert inputs["Speed [1/min]"]["mean"] == model.preparation.mean[0]
    assert inputs["kind"]["levels"] == ["H", "L", "M"]


def test_the_card_identifies_the_model(card: dict[str, Any], make_model: Any) -> None:
    model = make_model("mlp")
    assert card["model"]["fingerprint"] == model.fingerprint
    assert card["model"]["parameters"] == len(model.weights)
    assert card["threshold_probability"] == model.threshold_probability


def test_limits_of_ones_own_stand_beside_the_standing_ones(card: dict[str, Any]) -> None:
    assert card["limits"][-1] == "Not for presses."
    assert len(card["limits"]) > 1


def test_the_page_shows_every_section_and_every_input(card: dict[str, Any]) -> None:
    page = card_markdown(card)
    for title in ("Inputs", "Outputs", "Model", "Costs", "Data", "Training", "Metrics on held-out rows", "Limits"):
        assert f"\n## {title}\n" in page
    for entry in card["inputs"]:
        assert f"| {entry['name']} |" in page
    assert "HDF = 0.5" in page


def test_empty_sections_are_left_out(make_model: Any) -> None:
    page = card_markdown(model_card(make_model("mlp"), CardFacts("x", "today")))
    for title in ("Costs", "Data", "Training", "Metrics"):
        assert f"## {title}" not in page


def test_tables_keep_their_columns(card: dict[str, Any]) -> None:
    for block in card_markdown(card).split("\n\n"):
        if block.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1
