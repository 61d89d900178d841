"""A whole federation on this machine: real processes on loopback, with TLS and keys, started and stopped together."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tomlkit

from werkbund.config import Config, changed, to_toml
from werkbund.core.errors import ClientError, ConfigError
from werkbund.federation.plant_files import write_parts
from werkbund.federation.tables import with_columns
from werkbund.flower.provision import provision
from werkbund.flower.server.control import Control
from werkbund.flower.server.settings import ServerSettings, load_server_settings

_START_S = 60.0
_STOP_S = 20.0
_PAUSE_S = 0.2
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """Hold a federation that is ready to be started.

    Parameters
    ----------
    folder
        Where data files, kits and logs lie.
    config
        The federation's, in which each client has a file.
    server
        Kit of the server.
    clients
        Kits of the clients, by name, in their order.
    """

    folder: Path
    config: Path
    server: Path
    clients: dict[str, Path]

    @property
    def settings(self) -> ServerSettings:
        """The server's settings."""
        return load_server_settings(self.server)


def lay_out(config: Config, folder: Path, count: int | None, insecure: bool = False) -> Trial:
    """Write data files and kits.

    Parameters
    ----------
    config
        If it names one file a client, these are used; else its table is divided over `count` clients.
    folder
        Where to; made anew.
    count
        Number of clients; None where the configuration names them.
    insecure
        Without TLS and keys, so that what leaves can be recorded.

    Raises
    ------
    ConfigError
        If the folder is there already, or the number of clients does not fit.
    """
    if folder.exists():
        raise ConfigError(f"{folder} is there already; remove it, or choose another --out")
    folder.mkdir(parents=True)
    files = _files(config, folder, count)
    absolute = {name: str(path.resolve()) for name, path in files.items()}
    config = changed(with_columns(config), data={"path": None, "clients": absolute})
    path = folder / "federation.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    kits, port = folder / "kits", _free_port()
    provision(config, kits, list(files), ["localhost"], port=port)
    for name, data in files.items():
        _adjust(kits / name / "client.toml", config, data, insecure)
    _listen_here(kits / "server" / "server.toml", insecure)
    return Trial(folder, path, kits / "server", {name: kits / name for name in files})


@contextmanager
def running(trial: Trial, tell: Tell) -> Iterator[None]:
    """Start server and clients as processes, and stop them in the end, whatever happens."""
    logs = trial.folder / "logs"
    logs.mkdir(exist_ok=True)
    children = [_started(["server", "start", str(trial.server)], logs / "server.log")]
    try:
        tell("starting the SuperLink")
        _await_server(trial, children[0], logs)
        tell(f"starting {len(trial.clients)} SuperNodes")
        for name, kit in trial.clients.items():
            children.append(_started(["client", "start", str(kit)], logs / f"{name}.log"))
        yield
    finally:
        tell("stopping the processes")
        _stop(children)


def _files(config: Config, folder: Path, count: int | None) -> dict[str, Path]:
    named = config.data.clients
    if named and count not in (None, len(named)):
        raise ConfigError(f"--clients must be {len(named)}, the number of files in data.clients, got {count}")
    if named:
        return {name: Path(path) for name, path in named.items()}
    data = folder / "data"
    data.mkdir()
    return dict(write_parts(data, count or 4, config))


def _adjust(path: Path, config: Config, data: Path, insecure: bool) -> None:
    """Say in a client's file where its rows lie."""
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    section = tomlkit.table()
    section["path"] = str(data.resolve())
    if config.data.separator is not None:
        section["separator"] = config.data.separator
    if config.data.decimal_comma:
        section["decimal_comma"] = True
    document["data"] = section
    server = document["server"]
    server["insecure"] = insecure
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


def _listen_here(path: Path, insecure: bool) -> None:
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    document["server"]["host"] = "127.0.0.1"
    document["server"]["insecure"] = insecure
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _started(arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "werkbund", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _await_server(trial: Trial, server: subprocess.Popen[bytes], logs: Path) -> None:
    """Wait until the SuperLink answers and knows all clients."""
    settings, deadline = trial.settings, time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            with Control(settings.local_address, settings.root_certificates, settings.server.insecure) as control:
                if settings.server.insecure or {node.name for node in control.nodes()} >= set(trial.clients):
                    return
        except ClientError:
            pass
        time.sleep(_PAUSE_S)
    tail = "\n".join((logs / "server.log").read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
    raise ClientError(f"the server did not start within {_START_S:.0f} s; the end of its log says:\n{tail}")


def _stop(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """End the processes that were started, clients first, gently and then not."""
    for child in reversed(children):
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _STOP_S
    for child in children:
        try:
            child.wait(timeout=max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def tidy(trial: Trial) -> None:
    """Remove what only the processes needed; data files, kits and logs stay."""
    for kit in (trial.server, *trial.clients.values()):
        shutil.rmtree(kit / "state" / "flwr", ignore_errors=True)
