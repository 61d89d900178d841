"""A run whose process is killed goes on to the same weights."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from werkbund import TrainedModel, check_config, resume, run

SECTIONS = {
    "federation": {"rounds": 60, "seed": 2},
    "data": {"source": "generator", "rows": 1200, "plants": 3},
    "model": {"hidden": [8]},
    "strategy": {"selection": {"name": "uniform", "count": 2}},
}


def overrides() -> list[str]:
    settings = ["federation.rounds=60", "data.source=generator", "data.rows=1200", "data.plants=3", "model.hidden=[8]"]
    settings += ["strategy.selection.name=uniform", "strategy.selection.count=2"]
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    done = run(check_config(SECTIONS), out=tmp_path_factory.mktemp("whole") / "run", compare=False)
    return TrainedModel.load(done.folder / "model").weights


def kill_after(lines: int, folder: Path) -> None:
    """Start a run in a process, and kill it once it has written that many rounds."""
    command = [
        sys.executable,
        "-m",
        "werkbund",
        "run",
        *overrides(),
        "--seed",
        "2",
        "--no-compare",
        "--out",
        str(folder),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        rounds, deadline = folder / "rounds.jsonl", time.monotonic() + 120
        while not (rounds.exists() and rounds.read_bytes().count(b"\n") >= lines):
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("lines", [1, 20, 45])
def test_a_killed_run_resumes_to_the_same_bits(
    lines: int, uninterrupted: np.ndarray[tuple[int], np.dtype[np.float32]], tmp_path: Path
) -> None:
    kill_after(lines, tmp_path / "run")
    done = resume(tmp_path / "run")
    np.testing.assert_array_equal(TrainedModel.load(done.folder / "model").weights, uninterrupted)
