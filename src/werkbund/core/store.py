"""What clients keep from task to task: rows of arrays by name and client. Nothing else at a client remembers.

In process one store holds the rows of all clients that were touched, and travels in the checkpoint. At a plant it is a
folder of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from werkbund.core.arrays import AnyArray, BoolArray, Int64Array


class Store(Protocol):
    """Keep named rows, one a client."""

    def knows(self, name: str, clients: Int64Array) -> BoolArray:
        """Say which of these clients keep a row under a name: (clients,)."""

    def rows(self, name: str, clients: Int64Array, missing: AnyArray) -> AnyArray:
        """Return a row of each of these clients, (clients, ...); `missing` for those that keep none."""

    def put(self, name: str, clients: Int64Array, rows: AnyArray, lasting: bool = True) -> None:
        """Keep rows, (clients, ...); those that do not last are for this round alone."""

    def forget(self, name: str, clients: Int64Array) -> None:
        """Keep these clients' rows under a name no longer."""

    def move(self, name: str, to: str, clients: Int64Array) -> None:
        """Keep the rows of those of these clients that keep one under a name under another one."""

    def names(self) -> tuple[str, ...]:
        """Return the names under which a client keeps a row."""


@dataclass
class RowStore:
    """Keep rows in memory, of the clients that were touched.

    Rows are never changed in place: who holds one may read it for ever.
    """

    _rows: dict[str, dict[int, AnyArray]] = field(default_factory=dict)
    _passing: set[str] = field(default_factory=set)

    def knows(self, name: str, clients: Int64Array) -> BoolArray:
        """Say which of these clients keep a row under a name: (clients,)."""
        kept = self._rows.get(name, {})
        return np.array([client in kept for client in clients.tolist()], np.bool_)

    def rows(self, name: str, clients: Int64Array, missing: AnyArray) -> AnyArray:
        """Return a row of each of these clients, (clients, ...); `missing` for those that keep none."""
        kept = self._rows.get(name, {})
        return np.stack([kept.get(client, missing) for client in clients.tolist()])

    def put(self, name: str, clients: Int64Array, rows: AnyArray, lasting: bool = True) -> None:
        """Keep rows, (clients, ...); those that do not last are in no checkpoint."""
        own = np.array(rows)
        own.flags.writeable = False
        self._rows.setdefault(name, {}).update(zip(clients.tolist(), own, strict=True))
        (self._passing.discard if lasting else self._passing.add)(name)

    def forget(self, name: str, clients: Int64Array) -> None:
        """Keep these clients' rows under a name no longer."""
        for client in clients.tolist():
            self._rows.get(name, {}).pop(client, None)

    def move(self, name: str, to: str, clients: Int64Array) -> None:
        """Keep the rows of those of these clients that keep one under a name under another one."""
        kept, moved = self._rows.get(name, {}), self._rows.setdefault(to, {})
        moved.update((client, kept.pop(client)) for client in clients.tolist() if client in kept)
        (self._passing.add if name in self._passing else self._passing.discard)(to)

    def names(self) -> tuple[str, ...]:
        """Return the names under which a client keeps a row."""
        return tuple(name for name, kept in self._rows.items() if kept)

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Keep what was kept before if what is done within fails, as at a plant, which then saves nothing."""
        rows, passing = {name: dict(kept) for name, kept in self._rows.items()}, set(self._passing)
        try:
            yield
        except BaseException:
            self._rows, self._passing = rows, passing
            raise

    def arrays(self) -> dict[str, AnyArray]:
        """Return what lasts as named arrays: for each name its clients, ascending, and their rows."""
        arrays: dict[str, AnyArray] = {}
        for name, kept in self._rows.items():
            clients = sorted(kept)
            if clients and name not in self._passing:
                arrays[f"{name}.clients"] = np.array(clients, np.int64)
                arrays[f"{name}.rows"] = np.stack([kept[client] for client in clients])
        return arrays

    def go_back(self, arrays: Mapping[str, Any]) -> None:
        """Keep what `arrays` returned at some time, and nothing else."""
        self._rows, self._passing = {}, set()
        for name in [key.removesuffix(".rows") for key in arrays if key.endswith(".rows")]:
            self.put(name, arrays[f"{name}.clients"], arrays[f"{name}.rows"])


_PENDING, _SINCE = "pending.", "pending since"


@dataclass(frozen=True)
class PendingStore:
    """Keep rows that count from when the server has taken the answer to the task that they were put in.

    Until then the rows from before are read. So a client whose answer was lost, late or refused stands where the server
    believes it to stand.

    Parameters
    ----------
    store
        Where the rows lie: pending ones beside those that count.
    round
        Of the task, from 1.
    """

    store: Store
    round: int

    def settle(self, clients: Int64Array, taken: Int64Array, is_last: bool) -> None:
        """Let what was put in earlier rounds count from now on if the answer was taken, and else give it up.

        Parameters
        ----------
        clients
            (clients,)
        taken
            (clients,), the round of the last task whose answer was taken; 0 for none.
        is_last
            Whether an answer that was not taken so far will not be: it is given up. Else it stays pending.
        """
        since = self.store.rows(_SINCE, clients, np.array(self.round))
        is_over, counts = since < self.round, (since == taken) & (since > 0)
        self._let_count(clients[is_over & counts])
        self._give_up(clients[is_over & (counts | is_last)])

    def _let_count(self, clients: Int64Array) -> None:
        for name in self._pending() if len(clients) else ():
            self.store.move(name, name.removeprefix(_PENDING), clients)

    def _give_up(self, clients: Int64Array) -> None:
        for name in (*self._pending(), _SINCE):
            self.store.forget(name, clients)

    def _pending(self) -> list[str]:
        return [name for name in self.store.names() if name.startswith(_PENDING)]

    def knows(self, name: str, clients: Int64Array) -> BoolArray:
        """Say which of these clients keep a row that counts under a name: (clients,)."""
        return self.store.knows(name, clients)

    def rows(self, name: str, clients: Int64Array, missing: AnyArray) -> AnyArray:
        """Return a row that counts of each of these clients, (clients, ...); `missing` for those that keep none."""
        return self.store.rows(name, clients, missing)

    def put(self, name: str, clients: Int64Array, rows: AnyArray, lasting: bool = True) -> None:
        """Keep rows, (clients, ...), pending; those that do not last are for this round alone, and count at once."""
        if lasting:
            self.store.put(f"{_PENDING}{name}", clients, rows)
            self.store.put(_SINCE, clients, np.full(len(clients), self.round))
        else:
            self.store.put(name, clients, rows, lasting)

    def forget(self, name: str, clients: Int64Array) -> None:
        """Keep these clients' rows under a name no longer, whether they count or are pending."""
        self.store.forget(name, clients)
        self.store.forget(f"{_PENDING}{name}", clients)

    def move(self, name: str, to: str, clients: Int64Array) -> None:
        """Keep the rows that count of those of these clients that keep one under a name under another one."""
        self.store.move(name, to, clients)

    def names(self) -> tuple[str, ...]:
        """Return the names under which a client keeps a row that counts."""
        return tuple(name for name in self.store.names() if not name.startswith(_PENDING) and name != _SINCE)
