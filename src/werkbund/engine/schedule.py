"""How the clients' learning rate goes over the rounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from werkbund.core.errors import ConfigError


@dataclass(frozen=True)
class RateSchedule:
    """Give the factor of the clients' learning rate in each round.

    Parameters
    ----------
    kind
        `constant`, or `cosine`: from 1 in the first round along half a cosine towards 0 after the last.
    rounds
        Number of rounds that the cosine spans.

    References
    ----------
    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, equation 5, without
    restart; here it moves once a round, not once a step.

    Examples
    --------
    >>> [round(RateSchedule("cosine", 4).factor(number), 3) for number in (1, 2, 3, 4)]
    [1.0, 0.854, 0.5, 0.146]
    """

    kind: Literal["constant", "cosine"] = "constant"
    rounds: int = 1

    def __post_init__(self) -> None:
        if self.kind not in ("constant", "cosine"):
            raise ConfigError(f"training.schedule must be constant or cosine, got {self.kind!r}")
        if self.rounds < 1:
            raise ConfigError(f"federation.rounds must be >= 1, got {self.rounds}")

    def factor(self, round: int) -> float:
        """Return the factor of this round, counted from 1; a round beyond the last gets the last one's."""
        if self.kind == "constant":
            return 1.0
        done = min(max(round, 1), self.rounds) - 1
        return 0.5 * (1.0 + math.cos(math.pi * done / self.rounds))
