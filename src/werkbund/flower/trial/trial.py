"""`werkbund up`: a whole federation on this machine is laid out, started, run and stopped.

Its processes are real and speak over loopback, with TLS and keys.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from werkbund.config import Config, changed, to_toml
from werkbund.core.errors import ClientError, ConfigError
from werkbund.core.files import make_private
from werkbund.evaluation import Watcher
from werkbund.flower.machine.connection import free_port
from werkbund.flower.provision import provision, with_columns
from werkbund.flower.server.control import connect
from werkbund.flower.server.kit import ServerSettings, load_server_settings
from werkbund.flower.server.submission import ShowChecks, run_summary, submit
from werkbund.plant.shares import write_parts

_START_S = 60.0
_STOP_S = 20.0
_PAUSE_S = 0.2

_POLICY: dict[str, Any] = {"draws": "federation", "minimum_bin_rows": 1}
"""Of plants on one machine, whose rows are its user's: the run gives the bits and figures of a simulation."""


@dataclass(frozen=True)
class LocalFederation:
    """Hold a federation on this machine that is ready to be started.

    Parameters
    ----------
    folder
        Where data files, kits and logs lie.
    config
        The federation's file, in which each client has a file of rows.
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


def lay_out(config: Config, folder: Path, count: int | None, insecure: bool = False) -> LocalFederation:
    """Write the data files and kits of a federation on this machine.

    Parameters
    ----------
    config
        If it names one file a client, these are used; else its table is divided over `count` clients.
    folder
        Where they go; it must not be there yet.
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
    folder.parent.mkdir(parents=True, exist_ok=True)
    make_private(folder)  # it will hold rows and keys
    files = _files(config, folder, count)
    absolute = {name: str(path.resolve()) for name, path in files.items()}
    config = changed(with_columns(config), data={"path": None, "clients": absolute})
    path = folder / "federation.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    kits, port = folder / "kits", free_port()
    provision(config, kits, list(files), ["localhost"], port=port)
    for name, data in files.items():
        _point_to_rows(kits / name / "client.toml", config, data, insecure)
    _listen_here(kits / "server" / "server.toml", insecure)
    return LocalFederation(folder, path, kits / "server", {name: kits / name for name in files})


@contextmanager
def running(trial: LocalFederation, say: Callable[[str], None]) -> Iterator[None]:
    """Start server and clients as processes, and stop them in the end; `say` is given each stage in words."""
    logs = trial.folder / "logs"
    logs.mkdir(exist_ok=True)
    variables = _with_shared_processors(len(trial.clients))
    children = [_start(["server", "start", str(trial.server)], logs / "server.log", variables)]
    try:
        say("starting the SuperLink")
        _await_server(trial, children[0], logs)
        say(f"starting {len(trial.clients)} SuperNodes")
        for name, kit in trial.clients.items():
            children.append(_start(["client", "start", str(kit)], logs / f"{name}.log", variables))
        yield
    finally:
        say("stopping the processes")
        _stop(children)


@dataclass(frozen=True)
class FinishedTrial:
    """Hold a run of a federation on this machine that is over.

    Parameters
    ----------
    folder
        The run's, as `werkbund run` writes one.
    trial
        Its data files, kits and logs.
    """

    folder: Path
    trial: LocalFederation

    def summary(self) -> dict[str, Any]:
        """Return the run's summary and the folder of the kits, as values that JSON can hold."""
        return run_summary(self.folder) | {"kits": str(self.trial.folder / "kits")}


def up(
    config: Config,
    count: int | None,
    out: Path | None,
    watcher: Watcher,
    seen: ShowChecks,
    insecure: bool = False,
) -> FinishedTrial:
    """Run a federation of real processes on this machine.

    Parameters
    ----------
    config
        The federation's; with a file for each client, or a table that is divided.
    count
        Number of clients; None for as many as the configuration names, or 4.
    out
        The run's folder, new; None is a fresh one under `runs/`. What belongs to the plants goes to a folder of the
        same name with `.plants` behind it.
    watcher
        Is told how the run goes.
    seen
        Is given the checks of what the clients said about themselves.
    insecure
        Without TLS and keys.

    Raises
    ------
    FederationError
        One of its kinds, with what to do. All processes are stopped then too.
    """
    folder = out if out is not None else _fresh_folder(config.federation.name)
    watcher.stage("writing data files, certificates and kits")
    trial = lay_out(config, folder.with_name(f"{folder.name}.plants"), count, insecure)
    with running(trial, watcher.stage):
        submit(trial.settings, trial.config, out=folder).follow(watcher, seen)
    return FinishedTrial(folder, trial)


def _files(config: Config, folder: Path, count: int | None) -> dict[str, Path]:
    named = config.data.clients
    if named and count not in (None, len(named)):
        raise ConfigError(f"--clients must be {len(named)}, the number of files in data.clients, got {count}")
    if named:
        return {name: Path(path) for name, path in named.items()}
    if config.data.windows.step is not None:
        raise ConfigError("data.clients must name a file a plant where data.windows.step is set, got one table")
    data = folder / "data"
    make_private(data)
    return dict(write_parts(data, count or 4, config))


def _point_to_rows(path: Path, config: Config, data: Path, insecure: bool) -> None:
    """Say in a client's file where its rows lie."""
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    section = tomlkit.table()
    section["path"] = str(data.resolve())
    if config.data.separator is not None:
        section["separator"] = config.data.separator
    if config.data.decimal_comma:
        section["decimal_comma"] = True
    if config.data.events.path is not None:
        section["events"] = config.data.events.model_dump(exclude_unset=True)
    document["data"] = section
    server = document["server"]
    server["insecure"] = insecure
    document["policy"].update(_POLICY)
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


def _listen_here(path: Path, insecure: bool) -> None:
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    document["server"]["host"] = "127.0.0.1"
    document["server"]["insecure"] = insecure
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


def _with_shared_processors(num_clients: int) -> Mapping[str, str]:
    """Return variables by which each client of this machine uses its share of the processors: more would only wait."""
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // num_clients)), **os.environ}


def _start(arguments: Sequence[str], log: Path, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "werkbund", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=variables,
        )


def _await_server(trial: LocalFederation, server: subprocess.Popen[bytes], logs: Path) -> None:
    """Wait until the SuperLink answers and knows all clients."""
    settings, deadline = trial.settings, time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            with connect(settings) as control:
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


def _fresh_folder(name: str) -> Path:
    """Return a folder of a run that is free, as is that of its plants."""
    number = 1
    while True:
        path = Path("runs") / (name if number == 1 else f"{name}-{number}")
        if not path.exists() and not path.with_name(f"{path.name}.plants").exists():
            return path
        number += 1
