"""Statistics over all clients: each answers with sums, the server adds them; no row leaves a client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from werkbund.core.errors import QuorumError
from werkbund.core.types import Arrays, Failure, Replies, Tasks
from werkbund.engine.grid import Grid


@dataclass(frozen=True)
class Gathered:
    """Hold a statistic over clients.

    Parameters
    ----------
    sums
        Each named array added over clients, in client order, in double precision.
    clear
        What clients answered in clear: one row a client.
    """

    sums: Mapping[str, npt.NDArray[Any]]
    clear: Mapping[str, npt.NDArray[Any]]


def gather(grid: Grid, kind: str, shared: Arrays, timeout_s: float) -> Gathered:
    """Ask every client for sums and add them.

    Parameters
    ----------
    grid
        Reaches the clients.
    kind
        Kind of the task.
    shared
        What every client needs for it.
    timeout_s
        Seconds to wait.

    Raises
    ------
    QuorumError
        If a client does not answer: what is learnt here is built into every later round.
    """
    names = grid.clients()
    grid.send(Tasks(kind, 0, np.arange(len(names)), shared))
    replies: list[Replies] = []
    reasons: dict[str, str] = {}
    for arrival in grid.receive(timeout_s):
        if isinstance(arrival, Failure):
            reasons[names[arrival.client]] = arrival.reason
        else:
            replies.append(arrival)
    answered = {client for reply in replies for client in reply.clients.tolist()}
    for client, name in enumerate(names):
        if client not in answered:
            reasons.setdefault(name, "no answer in time")
    if reasons:
        raise QuorumError(0, len(names), len(answered), reasons)
    order = np.argsort(np.concatenate([reply.clients for reply in replies]), kind="stable")
    rows = {name: np.concatenate([reply.sums[name] for reply in replies])[order] for name in replies[0].sums}
    clear = {name: np.concatenate([reply.clear[name] for reply in replies])[order] for name in replies[0].clear}
    return Gathered({name: row.sum(axis=0) for name, row in rows.items()}, clear)
