"""How many clients must answer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from werkbund.core.errors import QuorumError


def check_quorum(asked: int, answered: int, quorum: float, round: int, reasons: Mapping[str, str]) -> None:
    """Raise if too few of those asked answered usefully.

    Parameters
    ----------
    asked, answered
        Numbers of clients.
    quorum
        Share of those asked that is needed, rounded up; one at least.
    round
        Its number; 0 before the first.
    reasons
        Why each other client is missing, by name.

    Raises
    ------
    QuorumError
        Then; it names each that is missing.
    """
    needed = max(1, int(np.ceil(quorum * asked - 1e-9)))
    if answered < needed:
        raise QuorumError(round, needed, answered, reasons)
