"""Rules by which clients do more than train, over real messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.deployed import small_config, weights_in
from werkbund.core import ConfigError
from werkbund.federation import run
from werkbund.federation.tables import read_table
from werkbund.plant.checking import check_plant

TOLD = {"fednova": {"accumulation"}, "qfedavg": {"steepness"}, "afl": {"loss"}}
"""What a plant tells beside what every rule is told."""


@pytest.mark.parametrize("name", TOLD)
def test_plants_give_the_weights_of_one_process_and_know_what_leaves(name: str, deployed: Any) -> None:
    deployment = deployed(strategy={"aggregation": {"name": name}})
    there = deployment.run()
    here = run(deployment.config, out=deployment.folder / "local", compare=False)
    np.testing.assert_array_equal(weights_in(there.folder), weights_in(here.folder))
    found = check_plant(deployment.kits["plant-1"]).to_json()
    train = [one for one in found["leaving"] if one["kind"] == "train" and one["asked"]]
    beside = {one["field"] for one in train if one["field"] in ("accumulation", "steepness")}
    clear = {one["field"] for one in train if one["half"] == "clear"}
    assert beside | clear == TOLD[name]


def test_a_plant_that_keeps_its_loss_takes_no_part_where_it_decides_weights_and_is_named(deployed: Any) -> None:
    kept = {"signals": ["rows", "counts", "vocabulary", "delivery"]}
    rule, quorum = {"aggregation": {"name": "qfedavg"}}, {"quorum": 0.6}
    deployment = deployed(policies={"plant-2": kept}, strategy=rule, federation=quorum)
    done = deployment.run()
    lines = [json.loads(line) for line in (done.folder / "rounds.jsonl").read_text().splitlines()]
    trained = [line for line in lines if line["cohort"]]
    assert trained
    for line in trained:
        assert "lacks steepness" in json.dumps(line["failures"])


@pytest.mark.parametrize("name", ["krum", "validation-weights"])
def test_rules_that_see_each_update_give_the_weights_of_one_process(name: str, deployed: Any, tmp_path: Path) -> None:
    """A plant is one client, for which alone the rule would refuse; it is the server's, and not the plant's."""
    table = tmp_path / "server.csv"
    read_table(small_config(federation={"seed": 9})).frame.write_csv(table)
    deployment = deployed(strategy={"aggregation": {"name": name}}, evaluation={"server_rows": str(table)})
    there = deployment.run()
    here = run(deployment.config, out=deployment.folder / "local", compare=False)
    np.testing.assert_array_equal(weights_in(there.folder), weights_in(here.folder))


def test_too_few_plants_for_a_rule_are_told_of_before_anybody_trains(deployed: Any) -> None:
    deployment = deployed(strategy={"aggregation": {"name": "krum", "hostile": 1}})
    with pytest.raises(ConfigError, match="'krum' bears 0 hostile among 3 updates at most, got hostile = 1; lower it"):
        deployment.run()
