"""A clustered federation over Flower's messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.deployed import deploy
from tests.flower.fake_network import Network, as_server_app
from werkbund.federation import run
from werkbund.flower.server.grid import FlowerGrid
from werkbund.model import TrainedModel, folder_of_client


@pytest.fixture(autouse=True)
def server_app(monkeypatch: pytest.MonkeyPatch) -> None:
    as_server_app(monkeypatch)


def test_plants_get_the_models_of_one_process(tmp_path: Path) -> None:
    deployment = deploy(tmp_path / "it", strategy={"clusters": {"name": "ifca", "count": 3, "start": 2}})
    names = tuple(deployment.kits)
    desks = {place: deployment.desk(name).answer for place, name in enumerate(names, start=1)}
    network = Network(desks, dict(enumerate(names, start=1)))
    there = deployment.run(FlowerGrid(network, names, 60.0))
    here = run(deployment.config, out=tmp_path / "local", compare=False)
    assert there.summary["clusters"] == here.summary["clusters"]
    for name in names:
        ours, theirs = (TrainedModel.load(folder_of_client(each.folder, name)) for each in (there, here))
        np.testing.assert_array_equal(ours.weights, theirs.weights)
