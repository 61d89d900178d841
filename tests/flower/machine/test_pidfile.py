"""Who runs: recorded, found again, and told from a later process with the same number."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from werkbund.core.errors import ConfigError
from werkbund.flower.machine.pidfile import claimed, identity, read_record, stop_recorded, write_record


def _claimed(path: Path) -> AbstractContextManager[None]:
    return claimed(path, "the server")


CLAIM = """
import sys, time
from pathlib import Path
from werkbund.flower.machine.pidfile import claimed
with claimed(Path(sys.argv[1]), "it"):
    print("claimed", flush=True)
    time.sleep(600)
"""


def test_a_process_is_told_from_a_later_one() -> None:
    own = identity(os.getpid())
    assert own is not None
    assert own == identity(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert identity(child.pid) not in (None, own)
    assert identity(child.pid) is None


def test_a_record_counts_while_its_process_runs(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert read_record(path) is None
    write_record(path, {"address": "here"})
    record = read_record(path)
    assert record is not None
    assert (record["pid"], record["address"]) == (os.getpid(), "here")
    path.write_text(json.dumps({**record, "identity": "another time"}))
    assert read_record(path) is None
    path.write_text("not a record")
    assert read_record(path) is None
    assert not stop_recorded(path)


def test_a_place_is_claimed_once_and_given_back_by_stopping(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with subprocess.Popen([sys.executable, "-c", CLAIM, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "claimed\n"
        with (
            pytest.raises(ConfigError, match=f"the server must run once, but process {child.pid} runs it already"),
            _claimed(path),
        ):
            pass
        assert stop_recorded(path)
    assert child.returncode == -15
    with _claimed(path):
        assert read_record(path)
        with (
            pytest.raises(ConfigError, match=f"process {os.getpid()} runs it already; stop that one first"),
            _claimed(path),
        ):
            pass
    assert not list(tmp_path.iterdir())


def test_a_place_whose_record_is_lost_is_still_claimed_once(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for content in (None, "", "{", "[]", "null", '{"pid": "x"}', '{"pid": 1e400, "identity": 3}'):
        with _claimed(path):
            path.unlink() if content is None else path.write_text(content)
            with pytest.raises(ConfigError, match="must run once"), _claimed(path):
                pass
