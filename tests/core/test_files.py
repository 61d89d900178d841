"""Files appear whole whoever else writes them, and a place has one that works in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from werkbund.core.errors import ConfigError
from werkbund.core.files import held, write_atomically

NAMES = ["counters.json", "checkpoint.npz", "model.onnx", ".hidden", "a b.toml", "run.json.new"]

WRITE = """
import sys
from pathlib import Path
from werkbund.core.files import write_atomically

path, letter, times = Path(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3])
print("begins", flush=True)
for number in range(times):
    write_atomically(path, letter * (50_000 + number))
"""

HOLD = """
import sys
from pathlib import Path
from werkbund.core.files import held

with held(Path(sys.argv[1]), "the run"):
    print("holds", flush=True)
    sys.stdin.read()
"""


def run_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> int:
    process.communicate()
    return process.returncode


def begun(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


@pytest.mark.parametrize("name", NAMES)
def test_what_two_processes_write_at_once_is_whole(name: str, tmp_path: Path) -> None:
    writers = [run_python(WRITE, tmp_path / name, letter, 40) for letter in "ab"]
    for writer in writers:
        begun(writer)
    while any(writer.poll() is None for writer in writers):
        content = (tmp_path / name).read_bytes() if (tmp_path / name).exists() else b"a" * 50_000
        assert len(set(content)) == 1
        assert len(content) >= 50_000
    assert [ended(writer) for writer in writers] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("delay_s", [0.0, 0.002, 0.005, 0.01, 0.02])
def test_a_killed_writer_leaves_the_old_file_or_the_new_one_and_no_draft_for_long(
    delay_s: float, tmp_path: Path
) -> None:
    path = tmp_path / "counters.json"
    path.write_bytes(b"a" * 50_000)
    with begun(run_python(WRITE, path, "a", 100_000)) as writer:
        time.sleep(delay_s)
        writer.send_signal(signal.SIGKILL)
    assert set(path.read_bytes()) == {ord("a")}
    write_atomically(tmp_path / "another.json", b"x")
    assert {entry.name for entry in tmp_path.iterdir()} == {"counters.json", "another.json"}


def test_a_draft_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    path, stop = tmp_path / "run.json", threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            write_atomically(tmp_path / "other.json", b"x")

    disturber = threading.Thread(target=disturb)
    disturber.start()
    for number in range(100):
        write_atomically(path, str(number).encode())
        assert path.read_bytes() == str(number).encode()
    stop.set()
    disturber.join()


@given(content=st.binary(max_size=300), before=st.binary(max_size=300))
@settings(deadline=None, max_examples=20)
def test_what_was_written_is_what_is_there(
    content: bytes, before: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("files") / "x"
    for one in (before, content):
        write_atomically(path, one)
        assert path.read_bytes() == one


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640, 0o755, 0o400])
def test_a_file_has_the_access_that_was_asked_for_whatever_the_umask(mode: int, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomically(tmp_path / "x", b"x", mode)
        write_atomically(tmp_path / "y", b"y")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == mode
    assert (tmp_path / "y").stat().st_mode & 0o777 == 0o600


def test_a_place_that_is_held_is_refused_to_others_with_the_process_that_holds_it(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with begun(run_python(HOLD, lock)) as holder:
        says = f"the run in x must run once, but process {holder.pid} runs it already; stop that one first"
        with pytest.raises(ConfigError, match=says), held(lock, "the run in x"):
            pass
        holder.communicate()
    with held(lock, "the run"), pytest.raises(ConfigError, match=f"process {os.getpid()}"), held(lock, "the run"):
        pass
    assert not lock.exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGABRT, signal.SIGSEGV])
def test_a_process_that_ended_however_holds_nothing(how: signal.Signals, tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with begun(run_python(HOLD, lock)) as holder:
        holder.send_signal(how)
        holder.wait()
    with held(lock, "the run"):
        assert lock.read_text() == str(os.getpid())


def test_of_many_that_begin_at_once_one_holds(tmp_path: Path) -> None:
    holders = [run_python(HOLD, tmp_path / ".lock") for _ in range(5)]
    for holder in holders:
        assert holder.stdout is not None
    lines = [holder.stdout.readline() for holder in holders if holder.stdout]
    assert sorted(lines) == ["", "", "", "", "holds\n"]
    assert sorted(map(ended, holders)) == [0, 1, 1, 1, 1]


def test_a_lock_is_taken_again_and_again_without_two_at_a_time(tmp_path: Path) -> None:
    lock, inside = tmp_path / ".lock", []

    def try_often() -> None:
        for _ in range(200):
            try:
                with held(lock, "it"):
                    inside.append(1)
                    assert len(inside) == 1
                    inside.pop()
            except ConfigError:
                time.sleep(0)

    threads = [threading.Thread(target=try_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not inside
    with held(lock, "it"):
        pass
