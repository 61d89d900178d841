"""Statistics over all clients: each answers with sums, the server adds them; no row leaves a client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from werkbund.core.errors import QuorumError
from werkbund.core.types import Arrays, Failure, Replies, Tasks
from werkbund.engine.answers import BoolArray, claim, finite_rows, flaw, kept
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
        If a client does not answer usefully: what is learnt here is built into every later round.
    """
    names = grid.clients()
    grid.send(Tasks(kind, 0, np.arange(len(names)), shared))
    replies, reasons = _answers(grid, kind, timeout_s)
    if reasons:
        raise QuorumError(0, len(names), len(names) - len(reasons), {names[i]: reasons[i] for i in sorted(reasons)})
    order = np.argsort(np.concatenate([reply.clients for reply in replies]), kind="stable")
    rows = {name: np.concatenate([reply.sums[name] for reply in replies])[order] for name in replies[0].sums}
    clear = {name: np.concatenate([reply.clear[name] for reply in replies])[order] for name in replies[0].clear}
    return Gathered({name: row.sum(axis=0) for name, row in rows.items()}, clear)


def _answers(grid: Grid, kind: str, timeout_s: float) -> tuple[list[Replies], dict[int, str]]:
    """Return the usable answers, and why each other client has none."""
    replies: list[Replies] = []
    reasons: dict[int, str] = {}
    missing = dict.fromkeys(range(len(grid.clients())), kind)
    for arrival in grid.receive(timeout_s):
        if arrival.round != 0:
            continue
        if isinstance(arrival, Failure):
            if missing.pop(arrival.client, None) is not None:
                reasons[arrival.client] = arrival.reason
            continue
        owed = claim(arrival, missing)
        reason = flaw(arrival, 0, "")
        usable = owed & _finite(arrival) if reason is None else np.zeros_like(owed)
        why = reason or "its sums hold NaN or infinite numbers"
        reasons |= dict.fromkeys(arrival.clients[owed & ~usable].tolist(), why)
        if usable.any():
            replies.append(kept(arrival, usable))
    return replies, reasons | dict.fromkeys(missing, "no answer in time")


def _finite(replies: Replies) -> BoolArray:
    finite = np.ones(len(replies), np.bool_)
    for array in replies.sums.values():
        if array.dtype.kind == "f":
            finite &= finite_rows(array)
    return finite
