"""Child processes that come back: started anew with growing pauses, each with its log, ended with all they started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from werkbund.core.files import make_private, open_private, write_privately
from werkbund.flower.machine.way import spare_loopback

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
STEADY_S = 30.0
"""A process that has run so long has started well: after its end the pauses begin anew with the first."""

LARGEST_LOG = 20 * 2**20
"""Bytes after which a log becomes `NAME.1` and begins anew."""

_PARENT = "WERKBUND_PARENT"
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LOOK_S = 0.05


@dataclass(frozen=True)
class Ended:
    """Describe a process that has ended.

    Parameters
    ----------
    code
        Its exit code; below 0, minus the signal that ended it.
    lines
        Lines of its log since it was started, the last 500.
    """

    code: int
    lines: list[str]


class Log:
    """Read what a process adds to its log file, and keep the file from growing without end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = path.stat().st_size if path.exists() else 0

    def open(self) -> IO[bytes]:
        """Open the file for a process to append to; what it says may quote rows, so its owner alone may read it."""
        make_private(self.path.parent)
        return open_private(self.path, "ab")

    def new_lines(self) -> list[str]:
        """Return the whole lines that were added since the last call, without colours."""
        size = self.path.stat().st_size if self.path.exists() else 0
        self._read = self._read if self._read <= size else 0
        if size == self._read:
            return []
        with self.path.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]
        self._read += len(whole) + bool(whole)
        return [_COLOURS.sub("", line) for line in whole.decode(errors="replace").splitlines()]

    def turn(self) -> None:
        """Move the content to `NAME.1` if the file is too large. Writers append, so they go on at the beginning."""
        if self.path.exists() and self.path.stat().st_size > LARGEST_LOG:
            write_privately(self.path.with_name(f"{self.path.name}.1"), self.path.read_bytes())
            os.truncate(self.path, 0)
            self._read = 0


class Supervised:
    """Keep one child process running. Whoever owns it calls `tick` a few times a second.

    Parameters
    ----------
    command
        Returns the program and its arguments, asked before each start.
    log
        Where its output goes.
    environment
        Its variables, as they are at each start.
    ready
        Asked before each start; while it says no, it is asked again with growing pauses.
    on_end
        Called after each end that `stop` did not ask for.
    """

    def __init__(
        self,
        command: Callable[[], Sequence[str]],
        log: Path,
        environment: Mapping[str, str],
        ready: Callable[[], bool] = lambda: True,
        on_end: Callable[[Ended], None] = lambda ended: None,
    ) -> None:
        self._command, self._environment, self._ready, self._on_end = command, environment, ready, on_end
        self.log = Log(log)
        self.longest_pause_s = LONGEST_PAUSE_S
        self._process: subprocess.Popen[bytes] | None = None
        self._pause_s, self._due, self._started = FIRST_PAUSE_S, 0.0, 0.0
        self._lines: list[str] = []

    @property
    def pid(self) -> int | None:
        """Id of the process; None while it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def tick(self) -> list[str]:
        """Start the process if its pause is over; return the lines of its log since the last call."""
        lines = self.log.new_lines()
        if self._process is not None:
            self._lines = [*self._lines, *lines][-500:]
            if self._process.poll() is not None:
                self._note_end()
        elif time.monotonic() >= self._due:
            self._start()
        self.log.turn()
        return lines

    def steady(self) -> None:
        """Note that the process works: after its end the pauses begin anew with the first."""
        self._pause_s = FIRST_PAUSE_S

    def hurry(self) -> None:
        """Start the process at once if it does not run."""
        self._due = 0.0

    def stop(self, grace_s: float = 10.0) -> None:
        """End the process and all that it started."""
        if self._process is not None:
            end_group(self._process, grace_s)
            self._process = None
        self._due = 0.0

    def _start(self) -> None:
        if not self._ready():
            self._wait()
            return
        self._lines = []
        self._process = spawn(self._command(), self._environment, self.log)
        self._started = time.monotonic()

    def _note_end(self) -> None:
        process = self._process
        if process is None:
            return
        end_group(process, 0.0)
        self._process = None
        if time.monotonic() - self._started > STEADY_S:
            self.steady()
        self._on_end(Ended(process.returncode, [*self._lines, *self.log.new_lines()]))
        self._wait()

    def _wait(self) -> None:
        pause_s = min(self._pause_s, self.longest_pause_s)
        self._due = time.monotonic() + pause_s
        self._pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


class Persistent:
    """Do something again and again, whatever the operating system refuses of it.

    Parameters
    ----------
    act
        What is done.
    say
        Takes a line for people about each trouble, once while it lasts.
    """

    def __init__(self, act: Callable[[], None], say: Callable[[str], None]) -> None:
        self._act, self._say, self._trouble = act, say, ""

    def __call__(self) -> None:
        """Do it once; what the operating system refuses, such as to write on a full disk, is told and let be."""
        try:
            self._act()
            self._trouble = ""
        except OSError as error:
            trouble = (
                f"{error.filename or 'a file'} cannot be used ({error.strerror or error}); mend that, it goes on then"
            )
            if trouble != self._trouble:
                self._say(trouble)
            self._trouble = trouble


def spawn(command: Sequence[str], environment: Mapping[str, str], log: Log) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own, with its output in a log."""
    with log.open() as output:
        return subprocess.Popen(  # noqa: S603 - our own programs, with arguments as a list
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )


def end_group(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """End a process and its group: ask, wait at most `grace_s` seconds, then kill."""
    if grace_s > 0:
        _signal_group(process.pid, signal.SIGTERM)
        until = time.monotonic() + grace_s
        while (process.poll() is None or _signal_group(process.pid, 0)) and time.monotonic() < until:
            time.sleep(_LOOK_S)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def environment(kit: Path) -> dict[str, str]:
    """Return the variables for a kit's processes: nothing is installed, state stays in the kit.

    The process that calls this is the one that `follow_parent` follows.
    """
    scripts = sysconfig.get_path("scripts")
    return {
        **spare_loopback(os.environ),
        "PATH": os.pathsep.join((scripts, os.environ.get("PATH", os.defpath))),
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_HOME": str(kit / "state" / "flwr"),
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
        "FORWARDED_ALLOW_IPS": "127.0.0.1",  # no stranger may say that he is this machine
        "WERKBUND_KIT": str(kit),
        _PARENT: str(os.getpid()),
    }


def follow_parent() -> None:
    """End this process when the one that started it has ended, however that happened. Called first by our programs."""
    parent = os.environ.pop(_PARENT, "")
    if not parent:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, int(signal.SIGTERM), 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(int(parent),), daemon=True).start()
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)


def follow_starter() -> None:
    """End this process when the one that started it has ended, also where that is no program of ours.

    Flower's own look at its parent takes one that has died and that nobody has asked after for one that is alive.
    """
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


def _signal_group(pid: int, kind: int) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, kind)
        return True
    return False
