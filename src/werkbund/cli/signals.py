"""How Ctrl-C, SIGTERM and the end of the terminal stop what runs: in order, and once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from werkbund.core.files import FOR_OTHERS

STOPPED = 130
"""Exit status after Ctrl-C, as shells have it."""


class Host(Protocol):
    """Keep something running."""

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set."""


def run_until_stopped(host: Host) -> None:
    """Run a host until Ctrl-C, or until the system ends it; what it and its processes write is for its owner alone."""
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    umask = os.umask(FOR_OTHERS)
    try:
        host.run(stop)
    finally:
        os.umask(umask)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stoppable_once() -> Iterator[None]:
    """Have Ctrl-C, SIGTERM and the end of the terminal stop what runs, once: a second one must not disturb that.

    Raises
    ------
    KeyboardInterrupt
        At the first of them.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, frame: FrameType | None) -> None:
        for ignored in numbers:
            signal.signal(ignored, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
