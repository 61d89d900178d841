"""PID files: which process runs a kit or a run, told from any later process with the same number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from werkbund.core.errors import CheckpointError, ConfigError
from werkbund.core.files import held, write_atomically
from werkbund.core.stored import read_stored

_LOOK_S = 0.05


class RunningProcess(BaseModel):
    """Hold what a PID file says at least."""

    pid: int
    identity: str


def identity(pid: int) -> str | None:
    """Return the moment at which a process was started, as the operating system writes it; None if it does not run.

    Together with its number it names a process: numbers are given again.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _identity_by_ps(pid)
    except ProcessLookupError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def write_record(path: Path, facts: Mapping[str, Any]) -> None:
    """Write facts about this process to its PID file, with its number and start; whole or not at all."""
    record = {**facts, "pid": os.getpid(), "identity": identity(os.getpid())}
    write_atomically(path, json.dumps(record, indent=2).encode())


def read_record(path: Path) -> dict[str, Any] | None:
    """Return what `write_record` wrote, with `pid` and `identity`, if that process still runs; else None."""
    try:
        record: dict[str, Any] = read_stored(path, RunningProcess, "remove it")
    except CheckpointError:
        return None
    return record if identity(record["pid"]) == record["identity"] else None


@contextmanager
def claimed(path: Path, what: str, facts: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Be the only process that runs `what`, with a PID file that says so, while the context lasts.

    Parameters
    ----------
    path
        The PID file; a lock lies beside it.
    what
        What is run, in words for the message.
    facts
        As for `write_record`.

    Raises
    ------
    ConfigError
        If another process runs it already.
    """
    check_is_over(path, what)
    with held(path.with_name(f".{path.stem}.lock"), what):
        write_record(path, facts or {})
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def check_is_over(path: Path, what: str) -> None:
    """Check that the process of a PID file has ended; `what` says in words what it runs.

    Raises
    ------
    ConfigError
        If it has not.
    """
    record = read_record(path)
    if record is not None:
        raise ConfigError(f"{what} must run once, but process {record['pid']} runs it already; stop that one first")


def stop_recorded(path: Path, grace_s: float = 30.0) -> bool:
    """Ask the process of a PID file to end, and kill it if it has not within `grace_s` seconds.

    Returns
    -------
    bool
        Whether it was running.
    """
    record = read_record(path)
    if record is None:
        return False
    pid, known = int(record["pid"]), record["identity"]
    for kind, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        try:
            os.kill(pid, kind)
        except ProcessLookupError:
            return True
        until = time.monotonic() + patience_s
        while identity(pid) == known and time.monotonic() < until:
            time.sleep(_LOOK_S)
        if identity(pid) != known:
            return True
    return True


def _identity_by_ps(pid: int) -> str | None:
    command = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
    columns = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split(maxsplit=1)  # noqa: S603
    return None if len(columns) < 2 or columns[0].startswith("Z") else columns[1].strip()
