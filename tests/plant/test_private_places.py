"""Whatever writes into a plant's folder first, and under whatever umask: nobody else reads there."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from werkbund.flower.machine.processes import Log
from werkbund.plant import PlantFolder


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
