"""A small federation's kits, written once, and a fresh copy of them for tests that change something."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from werkbund.config import check_config
from werkbund.flower.provision import keygen, provision


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `kits/` of plant-a and plant-b, and `own/` with the key that plant-b made itself."""
    folder = tmp_path_factory.mktemp("provision")
    config = check_config(
        {
            "federation": {"name": "pumps", "rounds": 7},
            "data": {
                "path": "/home/operator/all.csv",
                "clients": {"plant-a": "/home/operator/a.csv", "plant-b": "/home/operator/b.csv"},
                "label": "failed",
                "columns": {'Torque "T" [Nm]': {"unit": "Nm"}, "speed": {}},
            },
            "model": {"initial": "/home/operator/runs/first"},
        }
    )
    keygen(folder / "own", "plant-b")
    keys = {"plant-b": folder / "own" / "client.pub"}
    provision(config, folder / "kits", [], ["Federation.Example.com", "10.0.0.5"], 8123, public_keys=keys)
    return folder


@pytest.fixture
def kits(written: Path, tmp_path: Path) -> Path:
    """Return a copy of the kits that a test may change."""
    return Path(shutil.copytree(written / "kits", tmp_path / "kits"))
