"""The map of the survey covers every method, and the page on selection shows it as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from werkbund.selection import SELECTORS
from werkbund.selection.survey import DIMENSIONS, coverage, method_table, survey_map

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "selection.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("dimension", [one for one in DIMENSIONS if one != "Value generation"])
def test_every_method_stands_somewhere_in_each_dimension(dimension: str) -> None:
    placed = {name for where, _, names, _ in coverage() if where == dimension for name in names}
    unplaced = {"all"} if dimension == "Value interpretation" else set()
    if dimension == "Client characteristics":  # a place there is an assumption that a method does without
        assert placed <= set(SELECTORS)
    else:
        assert placed == set(SELECTORS) - unplaced


def test_methods_that_value_clients_stand_in_value_generation() -> None:
    placed = {name for where, _, names, _ in coverage() if where == "Value generation" for name in names}
    blind = {"uniform", "uniform-unbiased", "all", "round-robin", "md", "battery"}
    assert placed == set(SELECTORS) - blind


def test_a_category_without_a_method_says_why() -> None:
    assert all(otherwise != "none" for _, _, names, otherwise in coverage() if not names)


def test_the_page_shows_the_map_the_methods_and_the_example_as_they_are() -> None:
    assert survey_map() in PAGE
    assert method_table() in PAGE
    assert (ROOT / "examples" / "own_selector.py").read_text(encoding="utf-8").strip() in PAGE
