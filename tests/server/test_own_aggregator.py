"""An aggregator of the server's own runs at the server alone; plants are told how to weight their updates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.deployed import weights_in
from werkbund.core.errors import ConfigError
from werkbund.federation import run
from werkbund.plant.checking import check_plant

RULE = """
from dataclasses import dataclass
from werkbund.aggregation import FedAvg

@dataclass(frozen=True)
class Mine(FedAvg):
    name = "mine"
    weighting: str = "equal"
    momentum: float = 0.0
"""


def test_a_rule_of_the_servers_own_gives_the_weights_of_one_process(deployed: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(RULE, encoding="utf-8")
    deployment = deployed(strategy={"aggregation": {"name": f"{file}:Mine"}}, training={"batched": False})
    grid = deployment.grid()
    there = deployment.run(grid)
    here = run(deployment.config, out=tmp_path / "here", compare=False)
    np.testing.assert_array_equal(weights_in(there.folder), weights_in(here.folder))
    briefs = [ask.brief for ask in grid.asked if ask.brief is not None]
    assert briefs
    assert "mine.py" not in json.dumps([dict(brief) for brief in briefs])


def test_a_check_at_a_plant_runs_no_rule_of_the_servers_own(deployed: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("raise SystemExit('it ran')", encoding="utf-8")
    deployment = deployed()
    kit = deployment.kits["plant-1"]
    text = f'[strategy.aggregation]\nname = "{file}:Mine"\n'
    (kit / "federation.toml").write_text(text, encoding="utf-8")
    assert check_plant(kit).to_json()["errors"] == []


def test_a_rule_of_the_servers_own_with_a_half_at_clients_is_refused_before_anybody_is_asked(
    deployed: Any, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"{RULE}    half = 1\n", encoding="utf-8")
    deployment = deployed(strategy={"aggregation": {"name": f"{file}:Mine"}})
    grid = deployment.grid()
    with pytest.raises(ConfigError, match="half at clients is code that no plant runs"):
        deployment.run(grid)
    assert grid.asked == []
