from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ledger.conftest import KEY, Clock, checked, opened, written
from werkbund.core.errors import CheckpointError
from werkbund.core.files import write_privately
from werkbund.core.keys import ssh_private
from werkbund.ledger import INCIDENT, Ledger
from werkbund.ledger.writing import Entry


def test_each_process_says_first_what_is_at_work(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for version in ("1", "2"):
        ledger = Ledger(path, "a", KEY, Clock(), _begins(version))
        ledger.add("answer", {})
        ledger.add("answer", {})
    assert [entry["kind"] for entry in checked(path).entries] == ["start", "answer", "answer"] * 2


def _begins(version: str) -> Callable[[], Sequence[Entry]]:
    return lambda: [("start", {"software": version})]


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1))
def test_a_kill_at_any_byte_keeps_every_answer_before_it(share: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        written(path, 3)
        whole = path.read_bytes()
        kept = round(share * len(whole))
        path.write_bytes(whole[:kept])
        opened(path).add("answer", {"round": 9})
        found = checked(path)
    lines = whole[:kept].count(b"\n")
    was_cut = not whole[:kept].endswith(b"\n") and kept > 0
    assert found.fault == ""
    assert [entry["kind"] for entry in found.entries] == ["answer"] * lines + [INCIDENT] * was_cut + ["answer"]


def test_a_killed_writer_leaves_a_ledger_that_is_whole(tmp_path: Path) -> None:
    """Each line that the writer has told of is there, whenever it is killed."""
    program = (
        "import sys; from pathlib import Path; from tests.ledger.conftest import opened, KEY\n"
        "from werkbund.core.keys import read_private_key\n"
        "ledger = opened(Path(sys.argv[1]) / 'ledger.jsonl', read_private_key(Path(sys.argv[1]) / 'key'))\n"
        "while True: print(ledger.add('answer', {'left': ['x' * 3000]}).seq, flush=True)\n"
    )
    write_privately(tmp_path / "key", ssh_private(KEY))
    for _ in range(2):
        child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        told = [int(child.stdout.readline()) for _ in range(20)]
        child.kill()
        told += [int(line) for line in child.stdout.read().split(b"\n")[:-1]]
        child.wait()
        child.stdout.close()
        found = checked(tmp_path / "ledger.jsonl")
        assert found.fault in ("", "was cut short: it has no end")
        assert len(found.entries) > told[-1]


def test_two_processes_write_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first, second = opened(path), opened(path)
    for _ in range(3):
        first.add("answer", {})
        second.add("policy", {})
    assert checked(path).fault == ""
    assert len(checked(path).entries) == 6


def test_long_lines_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    opened(path).add("answer", {"left": ["x" * 200_000]})
    opened(path).add("answer", {"left": ["y" * 70_000]})
    opened(path).add("answer", {})
    assert (checked(path).fault, len(checked(path).entries)) == ("", 3)


def test_a_full_disk_writes_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        opened(tmp_path / "ledger.jsonl").add("answer", {})


def test_what_could_not_be_written_is_not_there_and_the_next_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = opened(path)
    ledger.add("answer", {})
    write = os.write

    def some(descriptor: int, content: bytes) -> int:
        write(descriptor, bytes(content)[:40])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("werkbund.ledger.writing.os.write", some)
    with pytest.raises(OSError, match="No space"):
        ledger.add("answer", {})
    monkeypatch.undo()
    ledger.add("answer", {})
    found = checked(path)
    assert (found.fault, [entry["kind"] for entry in found.entries]) == ("", ["answer", "answer"])


def test_a_clock_that_goes_back_is_said_once_and_times_do_not(tmp_path: Path) -> None:
    path, now = tmp_path / "ledger.jsonl", [datetime(2026, 11, 30, 12, tzinfo=UTC)]
    ledger = Ledger(path, "a", KEY, lambda: now[0])
    ledger.add("answer", {})
    now[0] -= timedelta(hours=3)
    ledger.add("answer", {})
    ledger.add("answer", {})
    now[0] += timedelta(hours=4)
    ledger.add("answer", {})
    entries = checked(path).entries
    assert checked(path).fault == ""
    assert [entry["kind"] for entry in entries] == ["answer", INCIDENT, "answer", "answer", "answer"]
    assert (entries[1]["clock"], entries[1]["time"]) == ("2026-11-30T09:00:00Z", "2026-11-30T12:00:00Z")
    assert entries[-1]["time"] == "2026-11-30T13:00:00Z"


def test_behind_a_last_line_that_was_damaged_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    written(path, 2)
    damaged = path.read_bytes().replace(b'"seq":1', b'"seq":x')
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match="move it away"):
        opened(path).add("answer", {})
    assert path.read_bytes() == damaged


def test_a_ledger_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        written(tmp_path / "state" / "ledger.jsonl", 1)
    finally:
        os.umask(before)
    assert (tmp_path / "state" / "ledger.jsonl").stat().st_mode & 0o077 == 0


def test_an_entry_costs_a_few_milliseconds(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "ledger.jsonl")
    left = [{"half": "sums", "name": f"field {n}", "shape": [10], "bytes": 80, "hmac": "0" * 96} for n in range(20)]
    took = []
    for _ in range(40):
        begin = time.perf_counter()
        ledger.add("answer", {"left": left})
        took.append(time.perf_counter() - begin)
    assert sorted(took)[len(took) // 2] < 0.02
    assert json.loads((tmp_path / "ledger.jsonl").read_bytes().splitlines()[-1])["seq"] == 39
