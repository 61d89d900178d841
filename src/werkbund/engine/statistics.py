"""Statistics over all clients: each answers with sums, the server adds them; no row leaves a client."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays, Int64Array
from werkbund.core.errors import ClientError
from werkbund.core.kinds import Kind
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine.asking import Check, ask, check_quorum
from werkbund.engine.grid import Grid


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
        Each named array added over clients; numbers with a fraction as if without rounding, and then rounded once.
    clear
        What clients answered in clear, by name.
    clients
        (answers,), numbers of the clients that answered, ascending.
    missing
        Why each other client is missing, by name.
    each
        Each named array with one row a client that answered; nothing where answers came added over several clients.
    refused
        Names of those of the missing that did answer, and what they said cannot be used.
    """

    sums: Mapping[str, AnyArray]
    clear: Mapping[str, Said]
    clients: Int64Array
    missing: Mapping[str, str] = field(default_factory=dict)
    each: Arrays = field(default_factory=dict)
    refused: tuple[str, ...] = ()

    def check_left(self, later: Gathered) -> None:
        """Refuse to ask this again without clients that left before a later question, if their sums are all there is.

        Raises
        ------
        ClientError
            Names who left.
        """
        left = {name: why for name, why in later.missing.items() if name not in self.missing}
        if left and not self.each:
            raise ClientError(
                f"{', '.join(left)} answered the first question of two alone ({'; '.join(left.values())}): where sums "
                "are all that a server sees, to ask it again without a client tells that client's figures; mend it, "
                "or name it under data.without, and begin anew"
            )


Compare = Callable[[Arrays, Int64Array], Mapping[int, str]]
"""Given what all clients answered, (answers, ...) by name, and their numbers, say at which places it cannot be true."""


def gather(
    grid: Grid,
    kind: Kind,
    shared: Arrays,
    timeout_s: float,
    quorum: float = 1.0,
    absent: Mapping[str, str] | None = None,
    check: Check | None = None,
    compare: Compare | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
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
    compare
        Looks at all answers together before they are added; at nothing where they come added over several clients.
    shapes
        Shape of each sum of a client, by name, for a grid that must know.

    Raises
    ------
    QuorumError
        If too few answer usefully.
    """
    names, absent = grid.clients(), absent or {}
    asked = np.array([number for number, name in enumerate(names) if name not in absent], np.int64)
    tasks = Tasks(kind, 0, asked, shared, shapes=shapes or {})
    replies, failures = _alike(ask(grid, [tasks], timeout_s, check=check))
    clients, each = _rows(replies)
    far = {int(clients[place]): why for place, why in compare(each, clients).items()} if compare and each else {}
    reasons = {failure.client: failure.reason for failure in failures} | far
    missing = {name: absent.get(name) or reasons[i] for i, name in enumerate(names) if name in absent or i in reasons}
    check_quorum(len(names), len(names) - len(missing), quorum, 0, missing)
    there = ~np.isin(clients, list(far))
    each = {name: rows[there] for name, rows in each.items()}
    sums = {name: _added(rows) for name, rows in each.items()} or _total(replies)
    clear = {name: _said(replies, name, far) for reply in replies for name in reply.clear}
    refused = {failure.client for failure in failures if failure.answered} | far.keys()
    said = tuple(names[client] for client in sorted(refused))
    return Gathered(sums, clear, clients[there], missing, each, said)


def _rows(replies: list[Replies]) -> tuple[Int64Array, dict[str, AnyArray]]:
    """Return the numbers of the clients that answered, ascending, and their sums, one row a client."""
    if not replies:
        return np.empty(0, np.int64), {}
    clients = np.concatenate([reply.clients for reply in replies])
    order = np.argsort(clients, kind="stable")
    names = () if any(reply.pooled for reply in replies) else replies[0].sums
    return clients[order], {name: np.concatenate([reply.sums[name] for reply in replies])[order] for name in names}


def _added(rows: AnyArray) -> AnyArray:
    """Return the sum of rows, (clients, ...): the same bits in any order, and added under masks."""
    if rows.dtype.kind != "f":
        return np.asarray(rows.sum(axis=0))
    columns = rows.reshape(len(rows), math.prod(rows.shape[1:])).T.tolist()
    return np.array([math.fsum(column) for column in columns]).reshape(rows.shape[1:])


def _total(replies: list[Replies]) -> dict[str, AnyArray]:
    """Return the sums of answers of which some came added over several clients."""
    total: dict[str, AnyArray] = {}
    for reply in replies:
        for name, rows in reply.figures.items():
            total[name] = total[name] + _added(rows) if name in total else _added(rows)
    return total


def _alike(arrivals: Iterable[Replies | Failure]) -> tuple[list[Replies], list[Failure]]:
    """Return the answers whose sums have the form of the first one's, and a failure for each other client."""
    replies: list[Replies] = []
    failures: list[Failure] = []
    for arrival in arrivals:
        if isinstance(arrival, Failure):
            failures.append(arrival)
        elif replies and _signature(arrival) != _signature(replies[0]):
            why = f"its sums {_signature(arrival)} are not those of the other clients, {_signature(replies[0])}"
            failures += [Failure(client, arrival.round, why, answered=True) for client in arrival.clients.tolist()]
        else:
            replies.append(arrival)
    return replies, failures


def _said(replies: list[Replies], name: str, without: Container[int]) -> Said:
    """Return what clients answered in clear, but for those without whom the statistic is made."""
    telling = [reply for reply in replies if name in reply.clear]
    clients = np.concatenate([reply.clients for reply in telling])
    order = np.argsort(clients, kind="stable")
    order = order[[client not in without for client in clients[order].tolist()]]
    return Said(clients[order], np.concatenate([reply.clear[name] for reply in telling])[order])


def _signature(replies: Replies) -> dict[str, tuple[int, ...]]:
    return {name: array.shape[1:] for name, array in replies.figures.items()}
