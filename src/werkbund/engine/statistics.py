"""Statistics over all clients: each answers with sums, the server adds them; no row leaves a client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays, BoolArray, Int64Array
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine.answers import Form, Missing, claim, finite_rows, flaw, kept
from werkbund.engine.grid import Grid
from werkbund.engine.quorum import check_quorum


@dataclass(frozen=True)
class Said:
    """Hold what clients answered in clear under one name; a client may keep it to itself.

    Parameters
    ----------
    clients
        (answers,), their numbers.
    values
        (answers, ...), one row a client.
    """

    clients: Int64Array
    values: AnyArray


@dataclass(frozen=True)
class Gathered:
    """Hold a statistic over clients.

    Parameters
    ----------
    sums
        Each named array added over clients, in client order, in double precision.
    clear
        What clients answered in clear, by name.
    clients
        (answers,), numbers of the clients that answered, ascending.
    missing
        Why each other client is missing, by name.
    """

    sums: Mapping[str, AnyArray]
    clear: Mapping[str, Said]
    clients: Int64Array
    missing: Mapping[str, str] = field(default_factory=dict)


Check = Callable[[Replies], str | None]
"""Says why an answer of the right kind cannot be used all the same, or None."""


def gather(
    grid: Grid,
    kind: str,
    shared: Arrays,
    timeout_s: float,
    quorum: float = 1.0,
    absent: Mapping[str, str] | None = None,
    check: Check | None = None,
) -> Gathered:
    """Ask clients for sums and add them.

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
    quorum
        Share of the clients that must answer usefully. All must unless told otherwise: what is learnt here is built
        into every later round.
    absent
        Clients that are not asked, by name, each with why; they are missing too.
    check
        Looks at each answer before it is added.

    Raises
    ------
    QuorumError
        If too few answer usefully.
    """
    names, absent = grid.clients(), absent or {}
    asked = np.array([number for number, name in enumerate(names) if name not in absent], np.int64)
    grid.send(Tasks(kind, 0, asked, shared))
    replies, reasons = _answers(grid, dict.fromkeys(asked.tolist(), kind), timeout_s, check)
    missing = {name: absent.get(name) or reasons[i] for i, name in enumerate(names) if name in absent or i in reasons}
    check_quorum(len(names), len(names) - len(missing), quorum, 0, missing)
    clients = np.concatenate([reply.clients for reply in replies])
    order = np.argsort(clients, kind="stable")
    rows = {name: np.concatenate([reply.sums[name] for reply in replies])[order] for name in replies[0].sums}
    clear = {name: _said(replies, name) for reply in replies for name in reply.clear}
    return Gathered({name: row.sum(axis=0) for name, row in rows.items()}, clear, clients[order], missing)


def _answers(
    grid: Grid, missing: Missing, timeout_s: float, check: Check | None
) -> tuple[list[Replies], dict[int, str]]:
    """Return the usable answers, and why each other client has none."""
    replies: list[Replies] = []
    reasons: dict[int, str] = {}
    for arrival in grid.receive(timeout_s):
        if arrival.round != 0:
            continue
        if isinstance(arrival, Failure):
            if missing.pop(arrival.client, None) is not None:
                reasons[arrival.client] = arrival.reason
            continue
        owed = claim(arrival, missing)
        reason = flaw(arrival, Form()) or (check and check(arrival)) or _otherwise(arrival, replies)
        usable = owed & _finite(arrival) if reason is None else np.zeros_like(owed)
        why = reason or "its sums hold NaN or infinite numbers"
        reasons |= dict.fromkeys(arrival.clients[owed & ~usable].tolist(), why)
        if usable.any():
            replies.append(kept(arrival, usable))
    return replies, reasons | dict.fromkeys(missing, "no answer in time")


def _said(replies: list[Replies], name: str) -> Said:
    telling = [reply for reply in replies if name in reply.clear]
    clients = np.concatenate([reply.clients for reply in telling])
    order = np.argsort(clients, kind="stable")
    return Said(clients[order], np.concatenate([reply.clear[name] for reply in telling])[order])


def _otherwise(arrival: Replies, replies: list[Replies]) -> str | None:
    """Return why an answer cannot be added to those that came before, or None."""
    if not replies or _signature(arrival) == _signature(replies[0]):
        return None
    return f"its sums {_signature(arrival)} are not those of the other clients, {_signature(replies[0])}"


def _signature(replies: Replies) -> dict[str, tuple[int, ...]]:
    return {name: array.shape[1:] for name, array in replies.sums.items()}


def _finite(replies: Replies) -> BoolArray:
    finite = np.ones(len(replies), np.bool_)
    for array in replies.sums.values():
        if array.dtype.kind == "f":
            finite &= finite_rows(array)
    return finite
