"""How a plant's agent keeps its worker: asks it through a pipe, and has it come back when it dies.

The worker is `python -m werkbund.flower.plant.answering KIT`, a process that holds the rows and the network. Nothing
here imports Flower, PyTorch, or anything else that the worker alone needs.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from werkbund.core.errors import ClientError
from werkbund.flower.machine.processes import FIRST_PAUSE_S, LONGEST_PAUSE_S, STEADY_S, Log, end_group
from werkbund.flower.wire.parcel import Parcel, read_parcel, write_parcel


class WorkerProcess:
    """Ask the worker's process, and start it anew when it has died or has not answered in time.

    Parameters
    ----------
    command
        Program and arguments.
    log
        Where its standard error goes.
    environment
        Its variables.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._command, self._environment = list(command), dict(environment)
        self.log = Log(log)
        self._process: subprocess.Popen[bytes] | None = None
        self._asking, self._changing = threading.Lock(), threading.Lock()
        self._stopped = False
        self._pause_s, self._started = FIRST_PAUSE_S, 0.0

    @property
    def pid(self) -> int | None:
        """Id of its process; None while it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def keep(self) -> bool:
        """Start the process if it does not run and its pause is over; return whether it was started."""
        with self._changing:
            if self._stopped or self.pid is not None:
                return False
            if self._process is not None and time.monotonic() < self._started + self._pause_s:
                return False
            self._pause_s = FIRST_PAUSE_S if self._was_steady() else min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._start()
            return True

    def ask(self, parcel: Parcel, timeout_s: float) -> Parcel:
        """Return the worker's answer to a parcel.

        Parameters
        ----------
        parcel
            What is asked.
        timeout_s
            Seconds after which the process is ended and started anew.

        Raises
        ------
        ClientError
            If the process dies or does not answer in time. Either way the next question finds a new one.
        """
        with self._asking:
            process = self._running()
            expired = threading.Event()
            timer = threading.Timer(max(timeout_s, 0.0), self._expire, (process, expired))
            timer.start()
            try:
                return _exchange(process, parcel)
            except (ClientError, OSError) as error:
                end_group(process, 0.0)
                raise ClientError(self._reason(process, expired.is_set(), timeout_s)) from error
            finally:
                timer.cancel()
                if process.poll() is not None:
                    self._replace(process)

    def stop(self) -> None:
        """End the process for good; a question in progress fails."""
        with self._changing:
            self._stopped = True
            process = self._process
        if process is not None:
            end_group(process, 2.0)
            _close(process)

    def _running(self) -> subprocess.Popen[bytes]:
        with self._changing:
            if self._stopped:
                raise ClientError("the plant's client is being stopped")
            if self.pid is None or self._process is None:
                return self._start()
            return self._process

    def _replace(self, ended: subprocess.Popen[bytes]) -> None:
        """Start a new process, unless `keep` has replaced the ended one already."""
        with self._changing:
            if not self._stopped and self._process is ended:
                self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self.log.turn()
        if self._process is not None:
            _close(self._process)
        with self.log.open() as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, with arguments as a list
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self._environment,
                start_new_session=True,
            )
        self._started = time.monotonic()
        return self._process

    def _was_steady(self) -> bool:
        return self._process is None or time.monotonic() - self._started > STEADY_S

    def _expire(self, process: subprocess.Popen[bytes], expired: threading.Event) -> None:
        expired.set()
        end_group(process, 0.0)

    def _reason(self, process: subprocess.Popen[bytes], expired: bool, timeout_s: float) -> str:
        if self._stopped:
            return "the plant's client was stopped in the middle of the task"
        if expired:
            return f"the plant's worker did not answer within {timeout_s:.1f} s; it was ended and is started anew"
        return (
            f"the plant's worker died in the middle of the task ({_ending(process.returncode)}); "
            f"it is started anew, and the plant's state/logs/{self.log.path.name} says more"
        )


def _exchange(process: subprocess.Popen[bytes], parcel: Parcel) -> Parcel:
    write_parcel(cast(BinaryIO, process.stdin), parcel)
    answer = read_parcel(cast(BinaryIO, process.stdout))
    if answer is None:
        raise ClientError("the plant's worker closed its pipe")
    return answer


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was not yet written has nobody to read it
                pipe.close()


def _ending(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
