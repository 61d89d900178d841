"""Processes that run until they are told to stop."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Protocol


class Host(Protocol):
    """Keep something running."""

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set."""


def run_until_stopped(host: Host) -> None:
    """Run a host until Ctrl-C, or until the system ends it."""
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        host.run(stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
