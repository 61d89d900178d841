"""Real servers and clients on loopback, and what a run's process does: send a message, wait for its answer."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit
from flwr.cli.build import build_fab_from_files

from werkbund.config import Config
from werkbund.flower.machine.connection import free_port
from werkbund.flower.plant.host import ClientHost
from werkbund.flower.provision import provision
from werkbund.flower.server.control import Node, connect
from werkbund.flower.server.host import ServerHost
from werkbund.flower.server.kit import load_server_settings

ECHO = [sys.executable, str(Path(__file__).with_name("echo_worker.py"))]
PATIENCE_S = 120.0
PROJECT = """
[project]
name = "echo"
version = "1.0.0"
description = "Sends what a test asks"
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "tests"
[tool.flwr.app.components]
serverapp = "driver_app:app"
clientapp = "driver_app:app"
[tool.flwr.app.config]
folder = ""
"""


def wait_for(what: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait until something is so."""
    until = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def make_kits(folder: Path, *names: str, insecure: bool = False) -> Path:
    """Write the kits of a federation on this machine; clients ask for work ten times a second."""
    provision(Config(), folder, names, ["127.0.0.1"], free_port())
    change(folder / "server" / "server.toml", "server", insecure=insecure)
    for name in names:
        change(folder / name / "client.toml", "server", poll_s=0.1, insecure=insecure)
    return folder


def change(path: Path, section: str, **values: object) -> None:
    """Change keys of a file."""
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    document[section].update(values)
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


@dataclass
class Running:
    """Hold a host that runs in a thread, and what it said."""

    host: ServerHost | ClientHost
    said: list[str]
    stop: threading.Event = field(default_factory=threading.Event)

    def heard(self, part: str) -> bool:
        """Return whether it has said something like this."""
        return any(part in line for line in self.said)


@contextlib.contextmanager
def running(make: Callable[[Callable[[str], None]], ServerHost | ClientHost]) -> Iterator[Running]:
    """Run a host in a thread until the end of the `with` statement."""
    said: list[str] = []
    held = Running(make(said.append), said)
    thread = threading.Thread(target=held.host.run, args=(held.stop,))
    thread.start()
    try:
        yield held
    finally:
        held.stop.set()
        thread.join(timeout=60)
        assert not thread.is_alive()


def serve(kits: Path) -> contextlib.AbstractContextManager[Running]:
    """Run the server."""
    return running(lambda say: ServerHost(kits / "server", say))


def join(
    kit: Path, approve: Callable[[str], str | None] = lambda bundle: None
) -> contextlib.AbstractContextManager[Running]:
    """Run a client with the worker that echoes."""
    return running(lambda say: ClientHost(kit, say, approve, ECHO))


def driver_bundle(client: str = "") -> bytes:
    """Return the app that a `Driver` runs; `client` is the code of its ClientApp."""
    project = PROJECT.replace('clientapp = "driver_app:app"', 'clientapp = "client_code:app"') if client else PROJECT
    code = Path(__file__).with_name("driver_app.py").read_bytes()
    files = {"pyproject.toml": project.encode(), "driver_app.py": code}
    files |= {"client_code.py": client.encode()} if client else {}
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # Flower's own, of a library
        built: bytes = build_fab_from_files(files)[0]
    return built


class Driver:
    """Stand for a run: a ServerApp in the server's executor, steered through files.

    Parameters
    ----------
    kits
        Of the server that runs.
    folder
        A new folder for the files.
    bundle
        The app that is run; see `driver_bundle`.
    """

    def __init__(self, kits: Path, folder: Path, bundle: bytes | None = None) -> None:
        folder.mkdir()
        self._kit, self._folder, self._number = kits / "server", folder, 0
        self.bundle = driver_bundle() if bundle is None else bundle
        with connect(load_server_settings(self._kit)) as control:
            self.run_id = control.start_run(self.bundle, {"folder": str(folder)})
        wait_for((folder / "begun").exists)

    def node(self, name: str = "plant-a") -> Node | None:
        """Return a client as the server sees it; the only one if it is nameless."""
        with connect(load_server_settings(self._kit)) as control:
            return next((node for node in control.nodes() if node.name in (name, "")), None)

    def await_client(self, name: str = "plant-a", patience_s: float = PATIENCE_S) -> None:
        """Wait until a client is online."""
        wait_for(lambda: (node := self.node(name)) is not None and node.status == "online", patience_s)

    def send(self, head: str, ttl: float = 60.0, parameters: int = 0, name: str = "plant-a") -> int:
        """Send a parcel; return the number of the question."""
        node = self.node(name)
        assert node is not None
        question = {"node_id": str(node.node_id), "head": head, "ttl": ttl, "parameters": parameters}
        beside = self._folder / ".ask.json"
        beside.write_text(json.dumps(question), encoding="utf-8")
        beside.replace(self._folder / f"ask-{self._number}.json")
        self._number += 1
        return self._number - 1

    def receive(self, number: int, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for an answer: `head`, `body`, `parameters` and `seconds`, or `error` and `seconds`."""
        path = self._folder / f"answer-{number}.json"
        wait_for(path.exists, patience_s)
        answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return answer

    def ask(self, head: str, ttl: float = 60.0, parameters: int = 0, name: str = "plant-a") -> dict[str, Any]:
        """Send a parcel and wait for its answer."""
        return self.receive(self.send(head, ttl, parameters, name))
