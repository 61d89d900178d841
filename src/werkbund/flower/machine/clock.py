"""The server's time at a plant whose own clock is another.

Flower refuses a request that is signed with a time more than 5 seconds ahead of the server's, or 300 behind it. So a
plant looks at the server's clock when it connects, and its requests and messages bear the server's time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from flwr.app.message import message
from flwr.supernode import node_auth_http_interceptor

NOTICEABLE_S = 2.0
"""A server tells its time in whole seconds: clocks that differ by less are taken for alike."""


@dataclass
class ServerClock:
    """Tell the server's time.

    Parameters
    ----------
    ahead_s
        Seconds by which this machine's clock is ahead of the server's; below 0 it is behind.
    """

    ahead_s: float = 0.0

    def time(self) -> float:
        """Return the seconds since 1970 by the server's clock."""
        return time.time() - self.ahead_s

    def now(self) -> datetime:
        """Return the server's time, in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def set_by(self, date: str | None, asked: float) -> None:
        """Set the clock by the header `Date` of an answer of the server.

        Parameters
        ----------
        date
            As HTTP has it, in whole seconds; None where there is none, and then nothing is set.
        asked
            Seconds since 1970 by this machine's clock when the server was asked.
        """
        try:
            told = parsedate_to_datetime(date or "").timestamp() + 0.5
        except ValueError:
            return
        ahead_s = (asked + time.time()) / 2 - told
        self.ahead_s = ahead_s if abs(ahead_s) >= NOTICEABLE_S else 0.0


def use_clock(clock: ServerClock) -> None:
    """Have all requests that this process signs, and all messages that it makes, bear a clock's time."""
    for module in (node_auth_http_interceptor, message):
        module.now = clock.now
