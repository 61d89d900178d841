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
