"""The worker's process: asked, killed, timed out and found again."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flower.federations import ECHO, wait_for
from werkbund.core.errors import ClientError
from werkbund.flower.machine.processes import environment
from werkbund.flower.plant.worker import WorkerProcess
from werkbund.flower.wire.parcel import Parcel


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(ECHO, tmp_path / "worker.log", environment(tmp_path))
    yield worker
    worker.stop()


def _pid(worker: WorkerProcess) -> int:
    return int(worker.ask(Parcel(b"pid"), 30).body)


def test_it_stays_from_one_question_to_the_next(worker: WorkerProcess) -> None:
    vector = os.urandom(4_000_000)
    assert worker.ask(Parcel(b"one", b"body", vector), 30) == Parcel(b"answer to one", b"body", vector)
    assert _pid(worker) == _pid(worker) == worker.pid


def test_one_that_dies_in_a_task_is_replaced(worker: WorkerProcess) -> None:
    first = _pid(worker)
    with pytest.raises(ClientError, match=r"died in the middle of the task \(exit code 3\); it is started anew"):
        worker.ask(Parcel(b"die"), 30)
    assert _pid(worker) != first


def test_one_that_is_killed_in_a_task_is_replaced(worker: WorkerProcess) -> None:
    first = _pid(worker)
    threading.Timer(0.3, os.kill, (first, signal.SIGKILL)).start()
    with pytest.raises(ClientError, match=r"\(signal 9\)"):
        worker.ask(Parcel(b"hang"), 30)
    assert _pid(worker) != first


def test_one_that_hangs_is_replaced(worker: WorkerProcess) -> None:
    first = _pid(worker)
    with pytest.raises(ClientError, match=r"did not answer within 0\.3 s; it was ended and is started anew"):
        worker.ask(Parcel(b"hang"), 0.3)
    assert _pid(worker) != first


def test_one_that_dies_is_replaced_once_though_two_see_to_it(
    worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_PAUSE_S", "LONGEST_PAUSE_S"):
        monkeypatch.setattr(f"werkbund.flower.plant.worker.{name}", 0.0)
    _pid(worker)
    started: list[int] = []
    start, over = worker._start, threading.Event()

    def counted() -> Any:
        process = start()
        started.append(process.pid)
        return process

    monkeypatch.setattr(worker, "_start", counted)
    worker._pause_s = 0.0
    keeper = threading.Thread(target=lambda: [worker.keep() for _ in iter(over.is_set, True)])
    keeper.start()
    for deaths in range(1, 6):
        with pytest.raises(ClientError, match="exit code 3"):
            worker.ask(Parcel(b"die"), 30)
        assert len(started) == deaths
    over.set()
    keeper.join()


def test_one_that_dies_between_tasks_is_replaced(worker: WorkerProcess) -> None:
    first = _pid(worker)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: worker.pid is None)
    assert _pid(worker) != first
    second = worker.pid
    assert second is not None
    os.kill(second, signal.SIGKILL)
    wait_for(worker.keep)
    assert worker.pid not in (None, second)


def test_one_that_cannot_start_is_tried_with_growing_pauses(tmp_path: Path) -> None:
    broken = WorkerProcess(
        [sys.executable, "-c", "raise SystemExit('no data')"], tmp_path / "worker.log", environment(tmp_path)
    )
    assert broken.keep()
    wait_for(lambda: broken.pid is None)
    assert not broken.keep()
    with pytest.raises(ClientError, match=r"died in the middle of the task \(exit code 1\).*state/logs/worker.log"):
        broken.ask(Parcel(b"one"), 30)
    broken.stop()
    assert "no data" in (tmp_path / "worker.log").read_text()


def test_stopping_ends_a_question_at_once_and_for_good(worker: WorkerProcess) -> None:
    _pid(worker)
    threading.Timer(0.3, worker.stop).start()
    began = time.monotonic()
    with pytest.raises(ClientError, match="was stopped in the middle of the task"):
        worker.ask(Parcel(b"hang"), 300)
    assert time.monotonic() - began < 60
    assert not worker.keep()
    with pytest.raises(ClientError, match="is being stopped"):
        worker.ask(Parcel(b"one"), 30)


def test_an_answer_cut_short_is_an_error(tmp_path: Path) -> None:
    code = "import sys; sys.stdin.buffer.read(24); sys.stdout.buffer.write(b'12345'); sys.stdout.flush()"
    worker = WorkerProcess([sys.executable, "-c", code], tmp_path / "worker.log", environment(tmp_path))
    with pytest.raises(ClientError, match="died in the middle of the task"):
        worker.ask(Parcel(b"one"), 30)
    worker.stop()
