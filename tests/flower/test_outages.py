"""What is killed or goes away, and comes back: each with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.flower.federations import ECHO, Driver, Running, join, make_kits, serve, wait_for
from werkbund.flower.machine.pidfile import identity
from werkbund.flower.plant.host import ClientHost, stop_client
from werkbund.flower.server.control import connect
from werkbund.flower.server.host import ServerHost, server_record, stop_server
from werkbund.flower.server.kit import load_server_settings

pytestmark = pytest.mark.faults

HOST = """
import signal, sys, threading
from pathlib import Path
from werkbund.flower.plant.host import ClientHost
from werkbund.flower.server.host import ServerHost
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
kit, worker = Path(sys.argv[1]), sys.argv[2:]
say = lambda line: print(line, flush=True)
host = ClientHost(kit, say, lambda bundle: None, worker) if worker else ServerHost(kit, say)
host.run(stop)
"""


@pytest.fixture
def kits(tmp_path: Path) -> Path:
    return make_kits(tmp_path / "kits", "plant-a")


@contextmanager
def _process(kit: Path, *worker: str) -> Iterator[subprocess.Popen[str]]:
    """Run a host as a process of its own."""
    command = [sys.executable, "-c", HOST, str(kit), *worker]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def _say(process: subprocess.Popen[str], part: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if part in line:
            return
    raise AssertionError(f"{part!r} was not said")


def _superlink(server: Running) -> int:
    assert isinstance(server.host, ServerHost)
    return server.host.superlink.pid or 0


def _is_back(server: Running, before: int) -> bool:
    return _superlink(server) not in (0, before)


def test_a_superlink_that_is_killed_comes_back_with_its_run_and_its_clients(kits: Path, tmp_path: Path) -> None:
    with serve(kits) as server, join(kits / "plant-a") as client:
        wait_for(lambda: server.heard("listens"))
        driver = Driver(kits, tmp_path / "drive")
        driver.await_client()
        assert driver.ask("hello")["head"] == "answer to hello"
        before = _superlink(server)
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: _is_back(server, before) and server.said[-1].startswith("the server listens"))
        assert server.heard("the SuperLink ended with code -9")
        assert driver.ask("again", ttl=120)["head"] == "answer to again"
        assert not client.heard("not registered")
        with connect(load_server_settings(kits / "server")) as control:
            assert [(node.name, node.status) for node in control.nodes()] == [("plant-a", "online")]
            assert [run.status for run in control.runs()] == ["running"]


def test_a_message_is_answered_that_was_in_work_while_the_superlink_was_away(kits: Path, tmp_path: Path) -> None:
    with serve(kits) as server, join(kits / "plant-a") as client:
        wait_for(lambda: server.heard("listens"))
        driver = Driver(kits, tmp_path / "drive")
        driver.await_client()
        number = driver.send("hang", ttl=240)
        assert isinstance(client.host, ClientHost)
        log = client.host.worker.log.path
        wait_for(lambda: log.exists() and "hangs" in log.read_text())
        before = _superlink(server)
        os.kill(before, signal.SIGKILL)
        os.kill(client.host.worker.pid or 0, signal.SIGKILL)
        wait_for(lambda: _is_back(server, before))
        assert "(signal 9)" in driver.receive(number, 120)["error"]


def test_nothing_is_left_when_the_hosts_are_killed_and_all_comes_back(kits: Path) -> None:
    with _process(kits / "server") as server, _process(kits / "plant-a", *ECHO) as client:
        _say(server, "may join")
        _say(client, "connected to")
        record = server_record(kits / "server")
        assert record is not None
        children = record["children"]
        assert isinstance(children, dict)
        assert len(children) == 2
        assert all(identity(pid) is not None for pid in children.values())
        client.kill()
        server.kill()
        wait_for(lambda: all(identity(pid) is None for pid in children.values()), 30)
        assert server_record(kits / "server") is None
    began = time.monotonic()
    with _process(kits / "server") as server, _process(kits / "plant-a", *ECHO) as client:
        _say(client, "connected to")
        print(f"back after {time.monotonic() - began:.1f} s")
        assert stop_client(kits / "plant-a")
        assert stop_server(kits / "server")
        assert (client.wait(), server.wait()) == (0, 0)
        assert not stop_server(kits / "server")


def test_a_client_waits_for_a_server_that_is_away(kits: Path) -> None:
    with join(kits / "plant-a") as client:
        wait_for(lambda: client.heard("is not reachable (connection refused); trying again"))
        with serve(kits):
            wait_for(lambda: client.heard("connected to"))
        wait_for(lambda: client.heard("is lost; trying again"))
        with serve(kits):
            wait_for(lambda: client.said[-1].endswith("again") and client.said[-1].startswith("connected to"), 90)


def test_a_client_that_is_removed_is_reported_and_comes_back_with_a_new_key(kits: Path) -> None:
    with serve(kits) as server, join(kits / "plant-a") as client:
        wait_for(lambda: client.heard("connected to"))
        (kits / "server" / "clients" / "plant-a.pub").unlink()
        wait_for(lambda: server.heard("plant-a may no longer join"))
        wait_for(lambda: client.heard("the operator has removed it"), 90)
        with connect(load_server_settings(kits / "server")) as control:
            assert control.nodes() == []
