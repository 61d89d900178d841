"""Runs of which the server learns sums alone give the models of runs in clear, and say what was hidden."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Small
from werkbund.core import ConfigError
from werkbund.evaluation.watch import Nobody
from werkbund.federation import resume, run
from werkbund.model import load_model

HIDDEN = {"privacy": {"secure_sums": True}}
TREES = {"model": {"kind": "trees", "hidden": None}, "trees": {"max_depth": 3}}


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]


def _result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def test_a_network_is_the_one_in_clear_but_for_the_rounding_of_sums(small: Small, tmp_path: Path) -> None:
    clear = run(small(), out=tmp_path / "clear", compare=False).folder
    hidden = run(small(**HIDDEN), out=tmp_path / "hidden", compare=False).folder
    one, other = (np.load(folder / "model" / "weights.npy") for folder in (clear, hidden))
    np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)
    assert [line.get("sum_trips") for line in _lines(clear)] == [None] * 5
    assert [line["sum_trips"] for line in _lines(hidden)] == [4, 2, 2, 2, 2]
    assert _result(hidden)["per_client"] == []
    plain, masked = (_result(folder)["metrics"]["federated"] for folder in (clear, hidden))
    assert masked["average_precision"] == pytest.approx(plain["average_precision"], abs=0.01)


def test_trees_and_scaling_are_those_in_clear_bit_for_bit(small: Small, tmp_path: Path) -> None:
    clear = run(small(**TREES), out=tmp_path / "clear", compare=False).folder
    hidden = run(small(**TREES, **HIDDEN), out=tmp_path / "hidden", compare=False).folder
    assert (clear / "model.onnx").read_bytes() == (hidden / "model.onnx").read_bytes()
    assert load_model(clear / "model").fingerprint == load_model(hidden / "model").fingerprint


class _Stop(Nobody):
    def round(self, news: Any) -> None:
        if news.record.round == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("sections", [{}, TREES], ids=["network", "trees"])
def test_a_run_that_goes_on_makes_new_keys_and_the_same_model(
    sections: dict[str, Any], small: Small, tmp_path: Path
) -> None:
    config = small(**sections, **HIDDEN)
    whole = run(config, out=tmp_path / "whole", compare=False).folder
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "part", compare=False, watcher=_Stop())
    part = resume(tmp_path / "part").folder
    assert (part / "model.onnx").read_bytes() == (whole / "model.onnx").read_bytes()


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
