from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from werkbund.core.text import one_line
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
        assert entry["name"] in _read(page)
    assert "HDF = 0.5" in page


def test_empty_sections_are_left_out(make_model: Any) -> None:
    page = card_markdown(model_card(make_model("mlp"), CardFacts("x", "today")))
    for title in ("Costs", "Data", "Training", "Metrics"):
        assert f"## {title}" not in page


def test_tables_keep_their_columns(card: dict[str, Any]) -> None:
    for block in card_markdown(card).split("\n\n"):
        if block.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1


def _parsed(page: str) -> Any:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(page)


def _structure(page: str) -> list[str]:
    """Return what a reader's program makes of a page: all but texts."""
    tokens = [inner for token in _parsed(page) for inner in [token, *(token.children or [])]]
    return [token.type for token in tokens if token.type not in ("text", "text_special")]


def _read(page: str) -> list[str]:
    """Return the lines that a reader sees."""
    return ["".join(child.content for child in token.children) for token in _parsed(page) if token.type == "inline"]


def _page(text: str, model: dict[str, Any]) -> str:
    """Return the page of a card in which a stranger's text stands wherever one can."""
    card = {
        **{"name": text, "created": text, "purpose": text, "model": {"fingerprint": text, "kind": text}},
        "inputs": [{"name": text, "type": "category", "unit": text, "levels": [text, text]}],
        "outputs": {"probability": text},
        "costs": {text: 1.0},
        "data": {"origin": text, "note": {text: text}},
        "training": {"clients": [text]},
        "metrics": {text: {text: 0.5, "recall": {text: 0.5}}},
        "limits": [text],
    }
    return card_markdown({**model, **card})


HOSTILE = [
    "<script>alert(1)</script>",
    "a | b || c",
    "x\n\n# Taken over\n- all is well",
    "[click](javascript:alert(1))",
    "![p](https://evil.example/p.png)",
    "`code` **bold** _it_ ~~gone~~ <!-- hidden -->",
    "&lt;b&gt; &amp; &#x41;",
    "http://evil.example www.evil.example <https://evil.example>",
    "- one\r- two\u2028- three",
    "1. first",
    "[a]: https://evil.example",
    "\\",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_strangers_are_shown_and_mean_nothing(text: str, card: dict[str, Any]) -> None:
    _check_is_shown(text, card)


@given(st.text(st.sampled_from("ab1 \n\t|`*_[]()<>&;#!~-+=.:/\\\"'wht"), min_size=1, max_size=30).filter(str.strip))
def test_no_text_changes_the_page(text: str) -> None:
    _check_is_shown(text, {})


def _check_is_shown(text: str, card: dict[str, Any]) -> None:
    page, plain = _page(text, card), _page("x", card)
    assert _structure(page) == _structure(plain)
    shown = one_line(text).strip()
    assert f"Model card: {shown}".split() == _read(page)[0].split()
    assert "://" not in page
    assert "www." not in page.lower()
