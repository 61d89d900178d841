"""What clients told in clear, side by side: for the selector that asked for it, and for the record."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from werkbund.core.arrays import Arrays
from werkbund.core.types import Replies
from werkbund.selection.contract import SIGNALS

NUMBERS = frozenset(SIGNALS) - {"update", "score"}
"""Signals that are one number a client."""


def told(answers: Iterable[Replies], signals: Collection[str]) -> Arrays:
    """Return `clients`, (answered,) and ascending, and each of these signals that any of them told, (answered,).

    Parameters
    ----------
    answers
        No client twice.
    signals
        Names of `NUMBERS`. A client that does not tell one, by its policy or because it cannot, has NaN there.
    """
    given = [reply for reply in answers if len(reply)]
    clients = np.concatenate([np.empty(0, np.int64), *(reply.clients for reply in given)])
    order = np.argsort(clients, kind="stable")
    found = {name for reply in given for name in reply.clear} & set(signals)
    columns = {name: np.concatenate([_column(reply, name) for reply in given])[order] for name in sorted(found)}
    return {"clients": clients[order], **columns}


def _column(reply: Replies, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(reply.clear.get(name, np.full(len(reply), np.nan)), dtype=np.float64)
