from __future__ import annotations

import io
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_disk
from rich.console import Console

from benchmarks import deployment_flower
from benchmarks.deployment import table_of
from benchmarks.deployment_processes import Processes, environment
from benchmarks.deployment_werkbund import floor_config

SLEEPER = "import time; time.sleep(600)"
PARENT = f"""
import os, subprocess, sys
children = [subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], start_new_session=alone) for alone in (False, True)]
print(os.getpid(), *(child.pid for child in children), flush=True)
children[0].wait()
"""
STUBBORN = f"""
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
{SLEEPER}
"""


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + 20.0
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def is_running(number: int) -> bool:
    """Say whether a process does something; one that has ended may still wait for its parent to take note."""
    try:
        state = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux which processes there are")
def test_a_process_and_what_it_started_end_also_on_an_error(tmp_path: Path) -> None:
    numbers: list[int] = []
    with pytest.raises(ZeroDivisionError):
        _fail_beside_a_process(tmp_path, numbers)
    assert len(numbers) == 3
    wait_until(lambda: not any(map(is_running, numbers)))


def _fail_beside_a_process(folder: Path, numbers: list[int]) -> None:
    with Processes(folder) as processes:
        processes.start("parent", [sys.executable, "-c", PARENT])
        wait_until(lambda: processes.last_lines("parent"))
        numbers += [int(word) for word in processes.last_lines("parent").split()]
        assert all(map(is_running, numbers))
        raise ZeroDivisionError


def test_a_process_that_does_not_want_to_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.deployment_processes._GRACE_S", 0.2)
    with Processes(tmp_path) as processes:
        processes.start("stubborn", [sys.executable, "-c", STUBBORN])
        wait_until(lambda: processes.last_lines("stubborn") == "ready")


def test_a_process_that_ends_too_early_is_named_with_its_last_words(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start("short", [sys.executable, "-c", "import sys; print('no port'); sys.exit(3)"])
        with pytest.raises(RuntimeError, match=r"short ended with code 3:\nno port"):
            wait_until(processes.check)


def test_a_flower_process_is_alone_and_silent(tmp_path: Path) -> None:
    variables = environment(tmp_path)
    assert variables["FLWR_HOME"] == str(tmp_path)
    assert variables["FLWR_TELEMETRY_ENABLED"] == "0"
    assert variables["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_the_stock_app_is_one_that_flower_takes(tmp_path: Path) -> None:
    app = tmp_path / "app"
    shutil.copytree(deployment_flower._APP, app)
    shutil.copy(deployment_flower._LICENSE, app)
    assert build_fab_from_disk(app)


def test_the_first_round_is_one_more() -> None:
    assert floor_config(10).federation.rounds == 11


def test_the_table_says_what_share_of_stock_a_row_takes() -> None:
    rows = {
        "flower": {"title": "stock", "s": 12.0, "s_quartiles": [11.0, 13.0], "seconds": [11.0, 12.0, 13.0]},
        "werkbund": {"title": "ours", "s": 3.0, "s_quartiles": [2.0, 4.0], "seconds": [2.0, 3.0, 4.0]},
    }
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(table_of({"clients": 4, "parameters": 7, "rows": rows}))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert lines[2] == ["stock", "3", "12.00", "11.00,", "13.00", "11.00", "..", "13.00", "1.000"]
    assert lines[3] == ["ours", "3", "3.00", "2.00,", "4.00", "2.00", "..", "4.00", "0.250"]
