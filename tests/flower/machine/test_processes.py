"""Child processes that are kept, restarted and ended, for real."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flower.federations import wait_for
from werkbund._silence import SILENCE
from werkbund.flower.machine import processes
from werkbund.flower.machine.pidfile import identity
from werkbund.flower.machine.processes import Ended, Log, Persistent, Supervised, end_group, environment, spawn

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
FAMILY = (
    "import subprocess, sys, time; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); time.sleep(600)"
)


def _ticking(child: Supervised, until: Callable[[], object]) -> None:
    def so() -> object:
        child.tick()
        return until()

    wait_for(so, 20)


def test_a_process_comes_back_with_growing_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FIRST_PAUSE_S", 0.05)
    ends: list[Ended] = []
    command = [sys.executable, "-c", "print('bye'); raise SystemExit(7)"]
    child = Supervised(lambda: command, tmp_path / "logs" / "x.log", environment(tmp_path), on_end=ends.append)
    child.steady()
    pauses = []
    for count in (1, 2, 3):
        _ticking(child, lambda count=count: len(ends) == count)  # type: ignore[misc]
        pauses.append(child._pause_s)
    assert pauses == [0.1, 0.2, 0.4]
    assert ends == [Ended(7, ["bye"])] * 3
    child.steady()
    assert child._pause_s == 0.05
    child.stop()


def test_what_is_killed_comes_back_as_another_process(tmp_path: Path) -> None:
    ends: list[Ended] = []
    child = Supervised(lambda: SLEEP, tmp_path / "x.log", environment(tmp_path), on_end=ends.append)
    _ticking(child, lambda: child.pid)
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    _ticking(child, lambda: child.pid not in (None, first))
    assert [ended.code for ended in ends] == [-9]
    child.stop()
    assert child.pid is None
    assert len(ends) == 1  # an end that was asked for is none to be told of


def test_nothing_is_started_before_it_is_ready(tmp_path: Path) -> None:
    asked: list[float] = []

    def ready() -> bool:
        asked.append(time.monotonic())
        return len(asked) > 1

    child = Supervised(lambda: SLEEP, tmp_path / "x.log", environment(tmp_path), ready)
    child.tick()
    child.tick()
    assert (child.pid, len(asked)) == (None, 1)
    _ticking(child, lambda: child.pid)
    assert len(asked) == 2
    child.stop()


def test_the_whole_group_is_ended(tmp_path: Path) -> None:
    log = Log(tmp_path / "x.log")
    process = spawn([sys.executable, "-c", FAMILY], environment(tmp_path), log)
    wait_for(lambda: log.path.read_text().strip())
    grandchild = int(log.path.read_text())
    assert identity(grandchild) is not None
    end_group(process, 5.0)
    wait_for(lambda: identity(grandchild) is None, 5)


def test_who_does_not_listen_is_killed(tmp_path: Path) -> None:
    log = Log(tmp_path / "x.log")
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    process = spawn([sys.executable, "-c", deaf], environment(tmp_path), log)
    wait_for(lambda: log.path.read_text().strip())
    end_group(process, 0.2)
    assert process.returncode == -9


def test_a_log_is_read_line_by_line_and_begins_anew_when_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.log"
    path.write_text("old\n")
    log = Log(path)
    with log.open() as file:
        file.write(b"\x1b[92mINFO\x1b[0m : one\ntw")
        file.flush()
        assert log.new_lines() == ["INFO : one"]
        file.write(b"o\n")
        file.flush()
        assert log.new_lines() == ["two"]
        assert log.new_lines() == []
        monkeypatch.setattr(processes, "LARGEST_LOG", 10)
        log.turn()
        assert path.stat().st_size == 0
        assert (tmp_path / "x.log.1").read_text().endswith("two\n")
        file.write(b"three\n")
        file.flush()
        assert log.new_lines() == ["three"]


def test_nothing_is_sent_home_or_installed(tmp_path: Path) -> None:
    variables = environment(tmp_path)
    assert {name: variables[name] for name in SILENCE} == SILENCE
    assert variables["FLWR_HOME"] == str(tmp_path / "state" / "flwr")
    assert variables["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"
    assert variables["FORWARDED_ALLOW_IPS"] == "127.0.0.1"


PARENT = """
import sys, time
from pathlib import Path
from werkbund.flower.machine.processes import Log, environment, spawn
code = "from werkbund.flower.machine.processes import follow_parent; follow_parent(); print('up', flush=True); "
code += "import time; time.sleep(600)"
log = Log(Path(sys.argv[1]) / "x.log")
print(spawn([sys.executable, "-c", code], environment(Path(sys.argv[1])), log).pid, flush=True)
time.sleep(600)
"""


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_for((tmp_path / "x.log").read_text, 20)
        assert identity(child) is not None
        parent.kill()
    wait_for(lambda: identity(child) is None, 10)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EMFILE, errno.EACCES, errno.EIO, errno.ENOENT])
def test_what_is_done_again_and_again_outlives_a_full_disk_and_tells_it_once(number: int) -> None:
    said: list[str] = []
    outcomes = [OSError(number, os.strerror(number), "state/node.json")] * 3 + [None] + [OSError(number, "again", "x")]

    def act() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    tick = Persistent(act, said.append)
    for _ in range(5):
        tick()
    told, again = said
    assert os.strerror(number) in told
    assert "state/node.json" in told
    assert "again" in again


def test_what_is_wrong_with_the_program_ends_it() -> None:
    def act() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        Persistent(act, print)()
