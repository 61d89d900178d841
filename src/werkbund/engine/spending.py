"""What a round costs in a simulated world: the time of its slowest part, and everybody's energy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from werkbund.core.types import Failure, Replies


@dataclass(frozen=True)
class Spent:
    """Hold seconds and joules; two stages one after the other add up.

    Parameters
    ----------
    seconds
        Simulated time.
    joules
        Energy of all who worked, in vain or not.
    """

    seconds: float = 0.0
    joules: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.seconds + other.seconds, self.joules + other.joules)


def spent_on(replies: Iterable[Replies], failures: Iterable[Failure]) -> Spent:
    """Return what one stage took: as long as the last of its clients, whether it answered or was given up."""
    seconds, joules = 0.0, 0.0
    for reply in replies:
        seconds = max(seconds, float(np.max(reply.clear.get("seconds", 0.0), initial=0.0)))
        joules += float(np.sum(reply.clear.get("joules", 0.0)))
    for failure in failures:
        seconds, joules = max(seconds, failure.seconds), joules + failure.joules
    return Spent(seconds, joules)
