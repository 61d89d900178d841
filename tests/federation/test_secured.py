"""Runs of which the server learns sums alone give the models of runs in clear, and say what was hidden."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Small
from werkbund.config import Config
from werkbund.core import ConfigError
from werkbund.engine import Checkpoint
from werkbund.federation import run
from werkbund.federation.families.contract import Simulation
from werkbund.federation.families.family import family_of
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.federation.training import Outlets, Trained, train

HIDDEN = {"privacy": {"secure_sums": True}, "federation": {"rounds": 3}}
CLEAR = {"federation": {"rounds": 3}}
TREES = {"model": {"kind": "trees", "hidden": None}, "trees": {"max_depth": 3}}


def _setup(config: Config) -> Simulation:
    return family_of(config).simulate(config, divide(read_table(config), config).population)


def _trained(config: Config, kept: list[Checkpoint] | None = None, start: Checkpoint | None = None) -> Trained:
    return train(_setup(config), start, Outlets(save=None if kept is None else kept.append))


def test_a_network_is_the_one_in_clear_but_for_the_rounding_of_sums(small: Small) -> None:
    clear, hidden = _trained(small(**CLEAR)), _trained(small(**HIDDEN))
    np.testing.assert_allclose(hidden.learnt["weights"], clear.learnt["weights"], rtol=1e-4, atol=1e-5)
    assert hidden.each == {}
    assert clear.each
    for name in ("histogram", "spread"):
        assert hidden.counts["test"][name].sum() == clear.counts["test"][name].sum()


def test_trees_bins_and_scaling_are_those_in_clear_bit_for_bit(small: Small) -> None:
    clear, hidden = (_setup(small(**TREES, **sections)) for sections in (CLEAR, HIDDEN))
    assert clear.preparation.fingerprint == hidden.preparation.fingerprint
    assert clear.rules.fingerprint == hidden.rules.fingerprint
    one, other = train(clear), train(hidden)
    assert one.learnt.keys() == other.learnt.keys()
    for name, array in one.learnt.items():
        np.testing.assert_array_equal(other.learnt[name], array, err_msg=name)
    assert one.threshold == other.threshold


@pytest.mark.parametrize("sections", [{}, TREES], ids=["network", "trees"])
def test_a_run_that_goes_on_makes_new_keys_and_the_same_model(sections: dict[str, Any], small: Small) -> None:
    config, kept = small(**sections, **HIDDEN), list[Checkpoint]()
    whole = _trained(config, kept)
    part = _trained(config, start=next(checkpoint for checkpoint in kept if checkpoint.round == 2))
    assert whole.learnt.keys() == part.learnt.keys()
    for name, array in whole.learnt.items():
        np.testing.assert_array_equal(part.learnt[name], array, err_msg=name)


def test_a_folder_says_what_the_server_saw_and_what_that_took(small: Small, tmp_path: Path) -> None:
    folder = run(small(**HIDDEN), out=tmp_path / "run", compare=False).folder
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    assert [line["sum_trips"] for line in lines] == [4, 2, 2, 2], "keys come with the first sum"
    assert json.loads((folder / "result.json").read_text())["per_client"] == []
    about = json.loads((folder / "run.json").read_text())
    assert "sum of each numeric feature over all training rows" in about["server_sees"]["sums"]
    assert about["server_sees"]["each"] == ["number of training rows", "levels of each category column"]
    assert any(entry["what"] == "Secure sums" for entry in about["citations"])
    assert "added under masks" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"strategy": {"selection": {"name": "divfl"}}}, "strategy.selection.name"),
        ({"strategy": {"aggregation": {"name": "krum"}}}, "strategy.aggregation.name"),
        ({**TREES, "trees": {"combine": "bagging"}}, "trees.combine"),
        ({"data": {"source": "generator", "rows": 1500, "plants": 2}}, "privacy.colluding"),
        ({"strategy": {"selection": {"name": "uniform", "count": 2}}}, "strategy.selection"),
    ],
)
def test_what_does_not_go_with_sums_is_refused_before_a_round(
    sections: dict[str, Any], named: str, small: Small, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=named):
        run(small(**sections, **HIDDEN), out=tmp_path / "run", compare=False)
