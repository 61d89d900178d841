"""All methods are listed, and each has a card."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from werkbund.aggregation import AGGREGATORS
from werkbund.aggregation.personal import PERSONAL, personal_options
from werkbund.cli import app
from werkbund.selection import SELECTORS


def test_all_methods_are_listed_for_programs() -> None:
    result = CliRunner().invoke(app, ["strategies", "--json"])
    assert result.exit_code == 0
    listed = json.loads(result.stdout)
    assert [method["name"] for method in listed["selection"]] == list(SELECTORS)
    assert [method["name"] for method in listed["aggregation"]] == list(AGGREGATORS)
    assert [method["name"] for method in listed["personal parts"]] == list(PERSONAL)


@pytest.mark.parametrize("name", PERSONAL)
def test_the_card_of_a_personal_part_lists_its_options(name: str) -> None:
    result = CliRunner().invoke(app, ["strategies", name, "--json"])
    card = json.loads(result.stdout)
    assert card["title"] == PERSONAL[name].card.title
    told = {key.removeprefix("option ") for key in card["facts"] if key.startswith("option ")}
    assert told == set(personal_options(name))


@pytest.mark.parametrize("name", SELECTORS)
def test_each_has_a_card(name: str) -> None:
    result = CliRunner().invoke(app, ["strategies", name])
    assert result.exit_code == 0
    assert SELECTORS[name].card.title.split()[0] in result.stdout


def test_a_name_that_is_nearly_right_is_helped() -> None:
    result = CliRunner().invoke(app, ["strategies", "ort"])
    assert result.exit_code == 2
    assert "did you mean oort?" in result.stderr


@pytest.mark.parametrize("name", AGGREGATORS)
def test_the_card_of_an_aggregator_says_how_many_hostile_clients_it_bears(name: str) -> None:
    result = CliRunner().invoke(app, ["strategies", name, "--json"])
    facts = json.loads(result.stdout)["facts"]
    assert facts["bears hostile clients"] == AGGREGATORS[name].card.breakdown
    in_clear = facts["secure aggregation"] == "needs single updates in clear"
    assert facts["bears hostile clients"].startswith("0") != in_clear


@pytest.mark.parametrize(("name", "told"), [("tifl", "seconds"), ("greedyfed", "score"), ("uniform", "nothing")])
def test_a_card_says_without_what_a_run_is_refused(name: str, told: str) -> None:
    result = CliRunner().invoke(app, ["strategies", name, "--json"])
    assert json.loads(result.stdout)["facts"]["refused without"] == told


@pytest.mark.parametrize(("name", "folded", "told"), [("afl", "nothing", "loss"), ("qfedavg", "steepness", "nothing")])
def test_a_card_says_what_an_aggregation_method_is_told_of_a_client(name: str, folded: str, told: str) -> None:
    facts = json.loads(CliRunner().invoke(app, ["strategies", name, "--json"]).stdout)["facts"]
    assert (facts["folded beside the update"], facts["told by each client"]) == (folded, told)


@pytest.mark.parametrize("name", ["FedAvgM", "FedAdam", "FedNova", "q-FedAvg", "AFL"])
def test_a_method_is_found_by_the_name_that_it_has_in_papers(name: str) -> None:
    listed = json.loads(CliRunner().invoke(app, ["strategies", "--json"]).stdout)["aggregation"]
    assert any(name in method["title"] for method in listed)
