"""Start Flower's SuperNode: `python -m werkbund.flower.plant.supernode --poll-s 0.5 <arguments of flower-supernode>`.

Five things differ from `flower-supernode`: its pauses (Flower fixes the one between two questions for work at three
seconds); that it ends when one of its threads has, so that whoever supervises it can start it anew; that it lets go of
a message whose run has ended; that it waits for a network that swallows everything; and that its requests bear the
server's time, of which `--ahead-s` says by how much this machine's clock is ahead.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
from flwr.supercore.retry import RetryInvoker
from flwr.supercore.run import RunNotRunningException
from flwr.supernode import fleet_http_connection, start_client_internal
from flwr.supernode.cli import flower_supernode

from werkbund.core.errors import ConfigError
from werkbund.flower.machine.clock import ServerClock, use_clock
from werkbund.flower.machine.processes import follow_parent
from werkbund.flower.wire.records import look_again_soon

OPTION, AHEAD = "--poll-s", "--ahead-s"
ASKING_S = 3
"""Seconds that Flower pauses when there is no work."""

READY_S = 0.02
"""Seconds between two looks whether an answer is ready to be sent, where Flower pauses half a second."""


class Pauses:
    """Stand for the module `time` in Flower's loop: its pauses are as long as they were configured.

    Parameters
    ----------
    poll_s
        Seconds between two questions for work.
    """

    def __init__(self, poll_s: float) -> None:
        self._poll_s = poll_s

    def sleep(self, seconds: float) -> None:
        """Pause, for `poll_s` where Flower would pause three seconds."""
        time.sleep(self._poll_s if seconds == ASKING_S else min(seconds, READY_S))


def take_poll_s(arguments: list[str]) -> float:
    """Take `--poll-s FLOAT` out of the arguments.

    Raises
    ------
    ConfigError
        If it is not a positive number.
    """
    poll_s = _take(arguments, OPTION, ASKING_S, "above 0, got {text!r}; 0.5 is usual")
    if poll_s <= 0:
        raise ConfigError(f"{OPTION} must be a number of seconds above 0, got {poll_s:g}; 0.5 is usual")
    return poll_s


def take_ahead_s(arguments: list[str]) -> float:
    """Take `--ahead-s FLOAT` out of the arguments.

    Raises
    ------
    ConfigError
        If it is no finite number.
    """
    return _take(arguments, AHEAD, 0.0, "by which this machine's clock is ahead of the server's, got {text!r}")


def _take(arguments: list[str], option: str, otherwise: float, rule: str) -> float:
    if option not in arguments:
        return otherwise
    at = arguments.index(option)
    text = arguments[at + 1] if at + 1 < len(arguments) else ""
    del arguments[at : at + 2]
    try:
        seconds = float(text)
        if not math.isfinite(seconds):
            raise ValueError
    except ValueError as error:
        raise ConfigError(f"{option} must be a number of seconds {rule.format(text=text)}") from error
    return seconds


def give_up_with_the_run() -> None:
    """Let a message go whose run has ended before all of its content had arrived.

    Flower's own code leaves it among those to be answered, and whoever is to answer it waits for its content for
    hours. An error of the usual kind makes Flower remove it.
    """
    pull: Callable[..., dict[str, bytes]] = start_client_internal.pull_objects

    def pull_objects(*arguments: Any, **options: Any) -> dict[str, bytes]:
        try:
            return pull(*arguments, **options)
        except RunNotRunningException as error:
            raise RuntimeError("its run has ended") from error

    start_client_internal.pull_objects = pull_objects


def wait_out_silence() -> None:
    """Let a connection that takes too long be tried again.

    Flower gives up for good where the text of an error speaks of TLS, as that of a handshake does that was never
    answered, because the network swallows everything.
    """
    make = fleet_http_connection.make_simple_http_retry_invoker

    def patient() -> RetryInvoker:
        invoker: RetryInvoker = make()
        gives_up: Callable[[Exception], bool] = invoker.should_giveup or (lambda error: False)
        invoker.should_giveup = lambda error: not isinstance(error, httpx.TimeoutException) and gives_up(error)
        return invoker

    fleet_http_connection.make_simple_http_retry_invoker = patient


def main() -> None:
    """Run the SuperNode."""
    follow_parent()
    look_again_soon()
    give_up_with_the_run()
    wait_out_silence()
    use_clock(ServerClock(take_ahead_s(sys.argv)))
    start_client_internal.time = Pauses(take_poll_s(sys.argv))
    threading.excepthook = _end
    flower_supernode()
    sys.stderr.flush()
    os._exit(os.EX_SOFTWARE)  # it has given up the server, and its other threads would go on without it


def _end(died: threading.ExceptHookArgs) -> None:
    """End the process: without its heartbeat a node is taken for dead, though it still asks for work."""
    sys.__excepthook__(died.exc_type, died.exc_value or died.exc_type(), died.exc_traceback)
    sys.stderr.flush()
    os._exit(os.EX_SOFTWARE)


if __name__ == "__main__":
    main()
