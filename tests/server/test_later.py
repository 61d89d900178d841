"""A later period over a network: the same figures as in one process, as far as the plants tell them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.aging import DATA, table_in_time
from tests.deployed import Deployment, deploy
from werkbund.config import changed
from werkbund.federation import run
from werkbund.report import later_sentence, read_run


def _deployed(folder: Path, drifts: bool, policies: dict[str, dict[str, Any]] | None = None) -> Deployment:
    folder.mkdir()
    path = folder / "all.csv"
    table_in_time(0, drifts).write_csv(path)
    data = {"source": "ai4i2020", "plants": None, "path": str(path), **DATA}
    return deploy(folder / "it", policies, federation={"rounds": 15}, data=data, training={"batch_size": 16})


def _later(folder: Path) -> dict[str, Any]:
    written: dict[str, Any] = json.loads((folder / "result.json").read_text())["later"]
    return written


def test_both_ways_of_running_give_the_same_figures_of_the_later_period(tmp_path: Path) -> None:
    deployment = _deployed(tmp_path / "x", drifts=True)
    far = _later(deployment.run().folder)
    here = changed(deployment.config, data={"clients": {}})
    near = _later(run(here, out=tmp_path / "near", compare=False).folder)
    assert far["rows"] == near["rows"] > 0
    for one, other in zip(far["per_client"], near["per_client"], strict=True):
        assert one["name"] == other["name"]
        assert one["later"] == pytest.approx(other["later"])
        assert one["earlier"] == pytest.approx(other["earlier"])
        assert one["alone_later"]["rows"] == one["later"]["rows"]
    assert far["change"] == pytest.approx(near["change"])
    assert "clearly worse" in later_sentence(read_run(deployment.folder / "run"))


def test_a_plant_tells_nothing_of_a_later_period_with_too_few_failures(tmp_path: Path) -> None:
    failures = {line["name"]: line["later"]["positives"] for line in _of_all(tmp_path / "all")}
    fewest = min(failures, key=lambda name: failures[name])
    least = failures[fewest] + 1
    deployment = _deployed(tmp_path / "x", drifts=False, policies={fewest: {"minimum_failures": least}})
    told = {line["name"] for line in _later(deployment.run().folder)["per_client"]}
    assert told == failures.keys() - {fewest}


def _of_all(folder: Path) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = _later(_deployed(folder, drifts=False).run().folder)["per_client"]
    return lines
