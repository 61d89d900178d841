"""The rows of all clients as one table with offsets.

Clients are not objects: 100,000 simulated clients are three arrays and a list of names, and the cost of a round
follows its cohort, not the population.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from werkbund.core.arrays import BoolArray, Float32Array, Int64Array
from werkbund.core.errors import DataError
from werkbund.core.target import FAILURE, Target


@dataclass(frozen=True)
class ClientTable:
    """Hold prepared rows, those of client `i` at `offsets[i]:offsets[i + 1]`.

    Parameters
    ----------
    names
        One a client.
    offsets
        (clients + 1,), rising from 0 to the number of rows. A client may have no row.
    features
        (rows, features), float32, scaled.
    labels
        (rows,), float32, 0 or 1.
    modes
        (rows, modes), bool: which failure modes a row has. For evaluation alone.
    mode_names
        One a column of `modes`.
    machines
        (rows,), the number of each row's machine; empty where nobody asked for it.
    target
        What is foretold.
    risks
        (rows,), float32, the true risk of each row, where a number is foretold; empty where it is the label.
    """

    names: tuple[str, ...]
    offsets: Int64Array
    features: Float32Array
    labels: Float32Array
    modes: BoolArray
    mode_names: tuple[str, ...] = ()
    machines: Int64Array = field(default_factory=lambda: np.empty(0, np.int64))
    target: Target = FAILURE
    risks: Float32Array = field(default_factory=lambda: np.empty(0, np.float32))

    def __post_init__(self) -> None:
        rows, ends = len(self.features), self.offsets
        if len(ends) != len(self.names) + 1 or ends[0] != 0 or ends[-1] != rows or (np.diff(ends) < 0).any():
            raise DataError(f"offsets must rise from 0 to {rows} in {len(self.names) + 1} steps")
        if len(self.labels) != rows or self.modes.shape != (rows, len(self.mode_names)):
            raise DataError(f"labels and modes must have {rows} rows, got {len(self.labels)}, {self.modes.shape}")
        for name, given in (("machines", self.machines), ("risks", self.risks)):
            if len(given) not in (0, rows):
                raise DataError(f"{name} must be those of {rows} rows, or left out, got {len(given)}")

    @property
    def followed(self) -> Float32Array:
        """What training follows: the risks where there are such, else the labels, (rows,)."""
        return self.risks if len(self.risks) else self.labels

    @cached_property
    def sizes(self) -> Int64Array:
        """Number of rows of each client: (clients,)."""
        return np.diff(self.offsets)

    @property
    def num_clients(self) -> int:
        """Number of clients, those without a row included."""
        return len(self.names)

    @property
    def num_features(self) -> int:
        """Number of feature columns."""
        return int(self.features.shape[1])

    def rows(self, client: int) -> slice:
        """Return where the client's rows lie."""
        return slice(int(self.offsets[client]), int(self.offsets[client + 1]))

    def positives(self) -> Int64Array:
        """Return the number of positive rows of each client: (clients,)."""
        running = np.concatenate(([0.0], np.cumsum(self.labels, dtype=np.float64)))
        return np.diff(running[self.offsets]).astype(np.int64)

    def row_numbers(self, clients: Int64Array) -> Int64Array:
        """Return the numbers of these clients' rows, client after client."""
        sizes = self.sizes[clients]
        ends = np.cumsum(sizes)
        rows: Int64Array = np.arange(int(sizes.sum())) + np.repeat(self.offsets[clients] - (ends - sizes), sizes)
        return rows

    def take(self, clients: Int64Array) -> ClientTable:
        """Return the table of some clients alone, in this order."""
        offsets = np.concatenate(([0], np.cumsum(self.sizes[clients])))
        return self._of(tuple(self.names[client] for client in clients), offsets, self.row_numbers(clients))

    def only(self, client: int) -> ClientTable:
        """Return the table of one client alone."""
        rows = self.rows(client)
        return self._of((self.names[client],), np.array([0, rows.stop - rows.start]), rows)

    def pooled(self, name: str = "pooled") -> ClientTable:
        """Return the same rows as one client."""
        return replace(self, names=(name,), offsets=self.offsets[[0, -1]])

    def _of(self, names: tuple[str, ...], offsets: Int64Array, rows: Int64Array | slice) -> ClientTable:
        """Return some rows as the table of clients of these names."""
        by_row = {name: getattr(self, name) for name in ("features", "labels", "modes", "machines", "risks")}
        taken = {name: array[rows] if len(array) == len(self.features) else array for name, array in by_row.items()}
        return replace(self, names=names, offsets=offsets, **taken)


@dataclass(frozen=True)
class ClientSplits:
    """Hold each client's train, validation and test rows; the three tables name the same clients."""

    train: ClientTable
    validation: ClientTable
    test: ClientTable

    def __post_init__(self) -> None:
        if not self.train.names == self.validation.names == self.test.names:
            raise DataError("train, validation and test rows must belong to the same clients in the same order")

    def pooled(self) -> ClientSplits:
        """Return the same rows as one client."""
        return ClientSplits(self.train.pooled(), self.validation.pooled(), self.test.pooled())

    def only(self, client: int) -> ClientSplits:
        """Return the rows of one client alone."""
        return ClientSplits(self.train.only(client), self.validation.only(client), self.test.only(client))
