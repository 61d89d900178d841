"""Clustered federations over real messages."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from werkbund.federation import run
from werkbund.model import TrainedModel, folder_of_client

METHODS = {
    "ifca": {"name": "ifca", "start": 2},
    "cfl": {"name": "cfl", "warm_up": 1, "converged": 100.0, "moving": 0.01, "noise": 0.0},
}


@pytest.mark.parametrize("name", METHODS)
def test_plants_give_the_models_of_one_process_and_get_that_of_their_cluster(name: str, deployed: Any) -> None:
    deployment = deployed(strategy={"clusters": METHODS[name]}, federation={"rounds": 4})
    there = deployment.run()
    here = run(deployment.config, out=deployment.folder / "local", compare=False)
    assert there.summary["clusters"] == here.summary["clusters"]
    for plant, kit in deployment.kits.items():
        ours, theirs = (TrainedModel.load(folder_of_client(each.folder, plant)) for each in (there, here))
        np.testing.assert_array_equal(ours.weights, theirs.weights)
        kept = next(each for each in (kit / "state" / "models").iterdir() if (each / "model").is_dir())
        np.testing.assert_array_equal(TrainedModel.load(kept / "model").weights, ours.weights)
        assert there.summary["delivered"][plant]["accepted"] is not None


def test_a_plant_that_keeps_its_loss_stays_in_the_first_cluster_and_is_named(deployed: Any) -> None:
    kept = {"signals": ["rows", "counts", "vocabulary", "delivery"]}
    done = deployed(policies={"plant-2": kept}, strategy={"clusters": {"name": "ifca"}}).run()
    lines = [json.loads(line) for line in (done.folder / "rounds.jsonl").read_text().splitlines()]
    place = json.loads((done.folder / "run.json").read_text())["clients"].index("plant-2")
    for line in lines:
        if line["cohort"]:
            assert line["clusters"]["untold"] == [place]
            assert line["clusters"]["of"][place] == 0
