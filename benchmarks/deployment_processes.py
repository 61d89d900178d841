"""Processes that a benchmark starts, and stops in the end, whatever happens in between."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

ROUND_TIMEOUT_S = 180.0
"""A round that lasts longer will not end any more."""

_GRACE_S, _LAST_LINES = 15.0, 15


class Processes:
    """Hold started processes; as a context manager, stop them in the end.

    Each has a Flower home and a log of its own, sends no telemetry, and asks no server for updates.

    Parameters
    ----------
    folder
        For homes and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop(*reversed(self._started))

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a command from this environment's `bin` as the leader of a process group of its own."""
        with self._log(name).open("wb") as log:
            self._started[name] = subprocess.Popen(
                [*command],
                env=environment(self.folder / name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self, *names: str) -> None:
        """End these processes by their ids: first all are asked to, then what is left of what they started is killed.

        Flower's executor leads a group of its own, and a ServerApp that it started outlives it.
        """
        ending = [self._started.pop(name) for name in names]
        below = _descendants({process.pid for process in ending})
        for process in ending:
            process.terminate()
        until = time.monotonic() + _GRACE_S
        for process in ending:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(until - time.monotonic(), 0.0))
            with contextlib.suppress(ProcessLookupError):  # nothing is left of the group
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        running = _table()
        for pid, (_, began) in below.items():
            if pid in running and running[pid][1] == began:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def check(self) -> None:
        """Raise if a process has ended.

        Raises
        ------
        RuntimeError
            With the last lines of its log.
        """
        for name, process in self._started.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with code {process.returncode}:\n{self.last_lines(name)}")

    def last_lines(self, name: str) -> str:
        """Return the end of a log."""
        return "\n".join(self._log(name).read_text(errors="replace").splitlines()[-_LAST_LINES:])

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def _table() -> dict[int, tuple[int, str]]:
    """Return (parent, moment of its start) of each process, where the system has `/proc`."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
            found[int(path.parent.name)] = int(fields[1]), fields[19]
    return found


def _descendants(pids: set[int]) -> dict[int, tuple[int, str]]:
    """Return the entries of all processes below these."""
    table, above = _table(), set(pids)
    while more := {pid for pid, (parent, _) in table.items() if parent in above} - above:
        above |= more
    return {pid: table[pid] for pid in above - pids}


def environment(home: Path) -> dict[str, str]:
    """Return the environment of one Flower process."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    }


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_health(address: str, processes: Processes, timeout_s: float = 60.0) -> None:
    """Wait until a SuperLink without TLS answers.

    Raises
    ------
    RuntimeError
        If a process ends meanwhile, or the time is over.
    """
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        processes.check()
        try:
            with urllib.request.urlopen(f"http://{address}/health", timeout=1.0):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"no SuperLink answered at {address} within {timeout_s:.0f} s")
