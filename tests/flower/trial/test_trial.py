"""The test that matters most: real processes and one process give the same weights and the same metrics."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.flower.trials import command_of, live, small, wait_for
from werkbund.config import load_config
from werkbund.federation import run
from werkbund.flower.trial.trial import LocalFederation
from werkbund.model import load_model
from werkbund.model.trees import TreeModel

_TOKEN = re.compile(r"(?<![0-9a-f])[0-9a-f]{32,}(?![0-9a-f])")
"""As Flower's tokens and our secrets look."""


@dataclass(frozen=True)
class Deployed:
    """Hold a run of real processes that has ended: its folder, its files, and the arguments of each process."""

    folder: Path
    trial: LocalFederation
    arguments: dict[int, str]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """Run a federation of three real clients with the plain loop, under the widest umask."""
    folder, before = tmp_path_factory.mktemp("up"), os.umask(0)
    try:
        with live(folder, small(federation={"rounds": 3}), 3) as held:
            running = held.submit(out=folder / "run")
            wait_for(running.lines, "the run")
            pids = [pid for name in held.children for pid in held.descendants(name, "")]
            arguments = {pid: command_of(pid) for pid in (*pids, *(child.pid for child in held.children.values()))}
            assert running.wait_for_end() == ""
            return Deployed(running.folder, held.trial, arguments)
    finally:
        os.umask(before)


def test_weights_and_metrics_are_those_of_one_process(deployed: Deployed, tmp_path: Path) -> None:
    folder, config = deployed.folder, deployed.trial.config
    alone = run(load_config(config), out=tmp_path / "alone", compare=False)
    here, there = (np.load(path / "model" / "weights.npy") for path in (folder, alone.folder))
    assert here.tobytes() == there.tobytes()
    ours, theirs = (json.loads((path / "result.json").read_text()) for path in (folder, alone.folder))
    assert ours["metrics"]["federated"] == theirs["metrics"]["federated"]
    assert ours["rounds"] == theirs["rounds"] == 3
    for left, right in zip(_rounds(folder), _rounds(alone.folder), strict=True):
        assert left["metrics"] == right["metrics"]
        assert left["loss"] == right["loss"]


def test_the_batched_trainer_agrees(deployed: Deployed, tmp_path: Path) -> None:
    config = deployed.trial.config
    plain = run(load_config(config, ["federation.rounds=3"]), out=tmp_path / "plain", compare=False)
    batched = load_config(config, ["federation.rounds=3", "training.batched=true"])
    alone = run(batched, out=tmp_path / "batched", compare=False)
    one, other = (np.load(path / "model" / "weights.npy") for path in (plain.folder, alone.folder))
    assert np.linalg.norm(one - other) <= 1e-4 * np.linalg.norm(one)


def test_the_run_folder_has_the_same_files(deployed: Deployed) -> None:
    names = {path.name for path in deployed.folder.iterdir()}
    alike = {"config.toml", "run.json", "rounds.jsonl", "checkpoint.npz", "result.json", "model", "model.onnx"}
    assert names >= alike | {"report.html", "model_card.json", "model_card.md", "preflight.json"}


def test_no_secret_is_among_the_arguments_of_a_process(deployed: Deployed) -> None:
    for part in ("launcher superlink", "launcher superexec", "launcher serverapp", "supernode", "plant.answering"):
        assert any(part in words for words in deployed.arguments.values()), part
    secrets = [path.read_text(errors="replace") for path in _secrets(deployed.trial.folder)]
    assert len(secrets) >= 1 + 2 * len(deployed.trial.clients)
    for words in deployed.arguments.values():
        assert not _TOKEN.search(words), words
        assert not [secret for secret in secrets if secret.strip() in words]


def test_what_holds_rows_or_keys_is_for_its_owner_alone(deployed: Deployed) -> None:
    trial = deployed.trial
    assert {path.name for path in (trial.folder / "data").iterdir()} == {"plant-1.csv", "plant-2.csv", "plant-3.csv"}
    private = [trial.folder, trial.folder / "data", trial.server / "state"]
    private += [kit / "state" for kit in trial.clients.values()]
    for folder in private:
        below = [folder, *folder.rglob("*")] if folder != trial.folder else [folder]
        assert not [(path, oct(path.stat().st_mode)) for path in below if _is_open(path)], folder
    kept = {path.name for kit in trial.clients.values() for path in (kit / "state").rglob("*")}
    assert kept >= {"replies", "models", "logs", "worker.log", "supernode.log", "ledger.jsonl", "secret"}
    assert not [path for path in _secrets(trial.folder) if _is_open(path)]


@pytest.mark.faults  # over bytes: tests/flower/test_trees_on_the_wire.py
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


def _is_open(path: Path) -> bool:
    """Return whether others may do anything with a file or a folder; sockets and links aside."""
    return not path.is_symlink() and bool(path.stat().st_mode & 0o077)


def _secrets(folder: Path) -> list[Path]:
    return [path for name in ("*.key", "executor.secret", "secret") for path in folder.rglob(name)]
