"""The test that matters most: real processes and one process give the same weights and the same metrics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.flower.trials import live, small
from werkbund.config import load_config
from werkbund.federation import run
from werkbund.model import load_model
from werkbund.model.trees import TreeModel


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Run a federation of four real clients with the plain loop; return the run's folder and its configuration."""
    folder = tmp_path_factory.mktemp("up")
    with live(folder, small(federation={"rounds": 4}), 4) as held:
        running = held.submit(out=folder / "run")
        assert running.wait_for_end() == ""
        return running.folder, held.trial.config


def test_weights_and_metrics_are_those_of_one_process(deployed: tuple[Path, Path], tmp_path: Path) -> None:
    folder, config = deployed
    alone = run(load_config(config), out=tmp_path / "alone", compare=False)
    here, there = (np.load(path / "model" / "weights.npy") for path in (folder, alone.folder))
    assert here.tobytes() == there.tobytes()
    ours, theirs = (json.loads((path / "result.json").read_text()) for path in (folder, alone.folder))
    assert ours["metrics"]["federated"] == theirs["metrics"]["federated"]
    assert ours["rounds"] == theirs["rounds"] == 4
    for left, right in zip(_rounds(folder), _rounds(alone.folder), strict=True):
        assert left["metrics"] == right["metrics"]
        assert left["loss"] == right["loss"]


def test_the_batched_trainer_agrees(deployed: tuple[Path, Path], tmp_path: Path) -> None:
    folder, config = deployed
    plain = run(load_config(config, ["federation.rounds=5"]), out=tmp_path / "plain", compare=False)
    batched = load_config(config, ["federation.rounds=5", "training.batched=true"])
    alone = run(batched, out=tmp_path / "batched", compare=False)
    one, other = (np.load(path / "model" / "weights.npy") for path in (plain.folder, alone.folder))
    assert np.linalg.norm(one - other) <= 1e-4 * np.linalg.norm(one)
    del folder


def test_the_run_folder_has_the_same_files(deployed: tuple[Path, Path]) -> None:
    folder, _ = deployed
    names = {path.name for path in folder.iterdir()}
    alike = {"config.toml", "run.json", "rounds.jsonl", "checkpoint.npz", "result.json", "model", "model.onnx"}
    assert names >= alike | {"report.html", "model_card.json", "model_card.md", "preflight.json"}


def test_trees_are_those_of_one_process_and_lie_at_the_plants(tmp_path: Path) -> None:
    config = small(federation={"rounds": 2}, model={"kind": "trees", "hidden": None}, trees={"max_depth": 2})
    with live(tmp_path, config, 2) as held:
        running = held.submit(out=tmp_path / "run")
        assert running.wait_for_end() == ""
        kits = dict(held.trial.clients)
    alone = run(load_config(held.trial.config), out=tmp_path / "alone", compare=False)
    assert _trees(running.folder) == _trees(alone.folder)
    ours, theirs = (json.loads((path / "result.json").read_text()) for path in (running.folder, alone.folder))
    assert ours["metrics"]["federated"] == theirs["metrics"]["federated"]
    assert [line["metrics"] for line in _rounds(running.folder)] == [line["metrics"] for line in _rounds(alone.folder)]
    onnx = (running.folder / "model.onnx").read_bytes()
    for name, kit in kits.items():  # who refuses it keeps what it grew by itself
        kept = (kit / "state" / "models" / "1" / "model.onnx").read_bytes()
        assert (kept == onnx) is ours["delivered"][name]["accepted"]


def _trees(folder: Path) -> str:
    model = load_model(folder / "model")
    assert isinstance(model, TreeModel)
    return model.ensemble.digest


def _rounds(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
