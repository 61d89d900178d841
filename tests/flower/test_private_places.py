"""A real federation under the widest umask: who else works on these machines reads no rows, no keys, no secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from tests.flower.trials import Live, Run, command_of, live, small, wait_for
from werkbund.flower.machine.processes import Log
from werkbund.plant import PlantFolder

_TOKEN = re.compile(r"(?<![0-9a-f])[0-9a-f]{32,}(?![0-9a-f])")
"""As Flower's tokens and our secrets look."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, Run, dict[int, str]]]:
    """Give a federation in the middle of a run, and the arguments of each of its processes; under umask 0."""
    before = os.umask(0)
    try:
        with live(tmp_path_factory.mktemp("open"), small(federation={"rounds": 1}), 2) as held:
            run = held.submit()
            wait_for(run.lines, "the run")
            pids = [pid for name in held.children for pid in held.descendants(name, "")]
            arguments = {pid: command_of(pid) for pid in (*pids, *(child.pid for child in held.children.values()))}
            assert run.wait_for_end() == ""
            yield held, run, arguments
    finally:
        os.umask(before)


def test_no_secret_is_among_the_arguments_of_a_process(running: tuple[Live, Run, dict[int, str]]) -> None:
    held, _, arguments = running
    for part in ("launcher superlink", "launcher superexec", "launcher serverapp", "supernode", "plant.answering"):
        assert any(part in words for words in arguments.values()), part
    secrets = [path.read_text(errors="replace") for path in _secrets(held.trial.folder)]
    assert len(secrets) >= 1 + 2 * len(held.trial.clients)
    for words in arguments.values():
        assert not _TOKEN.search(words), words
        assert not [secret for secret in secrets if secret.strip() in words]


def test_what_holds_rows_or_keys_is_for_its_owner_alone(running: tuple[Live, Run, dict[int, str]]) -> None:
    trial = running[0].trial
    assert {path.name for path in (trial.folder / "data").iterdir()} == {"plant-1.csv", "plant-2.csv"}
    private = [trial.folder, trial.folder / "data", trial.server / "state"]
    private += [kit / "state" for kit in trial.clients.values()]
    for folder in private:
        below = [folder, *folder.rglob("*")] if folder != trial.folder else [folder]
        assert not [(path, oct(path.stat().st_mode)) for path in below if _is_open(path)], folder
    kept = {path.name for kit in trial.clients.values() for path in (kit / "state").rglob("*")}
    assert kept >= {"replies", "models", "logs", "worker.log", "supernode.log", "ledger.jsonl", "secret", "client.json"}
    assert not [path for path in _secrets(trial.folder) if _is_open(path)]


def _is_open(path: Path) -> bool:
    """Return whether others may do anything with a file or a folder; sockets and links aside."""
    return not path.is_symlink() and bool(path.stat().st_mode & 0o077)


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o027, 0o077])
def test_a_plants_folder_is_private_whatever_writes_into_it_first(umask: int, tmp_path: Path) -> None:
    ways: dict[str, Callable[[PlantFolder], object]] = {
        "event": lambda folder: folder.event("damaged"),
        "reply": lambda folder: folder.remember_reply("a", b"x"),
        "briefing": lambda folder: folder.save_briefing("a", b"x"),
        "round": lambda folder: folder.count_round(date(2026, 1, 2)),
        "model": lambda folder: folder.accept(folder.new_model_folder()),
        "notes": _note,
        "log": lambda folder: Log(folder.path / "logs" / "x.log").open().close(),
    }
    before = os.umask(umask)
    try:
        for name, write in ways.items():
            folder = PlantFolder(tmp_path / name / "state")
            write(folder)
            written = [folder.path, *folder.path.rglob("*")]
            assert len(written) > 1
            assert not [(path, oct(path.stat().st_mode)) for path in written if _is_open(path)], name
        old = tmp_path / "old" / "state"
        old.mkdir(parents=True)
        old.chmod(0o755)
        PlantFolder(old).event("answer")
        assert not _is_open(old)
    finally:
        os.umask(before)


def _note(folder: PlantFolder) -> None:
    store = folder.notes.open("run", 1, True)
    store.put("x", np.array([0]), np.ones((1, 2)))
    store.save()


def _secrets(folder: Path) -> list[Path]:
    return [path for name in ("*.key", "executor.secret", "secret") for path in folder.rglob(name)]
