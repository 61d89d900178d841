"""Which client each row of a table belongs to, and how much the clients of such a partition differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, FloatingArray, Int64Array
from werkbund.core.errors import ConfigError, DataError


@dataclass(frozen=True)
class Partition:
    """Assign rows to clients.

    Parameters
    ----------
    kind
        Name of the partitioner.
    names
        One a client, all different.
    assignment
        (rows,), number of each row's client, -1 where a row is not used. Every client has at least one row.
    """

    kind: str
    names: tuple[str, ...]
    assignment: Int64Array

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names) or not self.names:
            raise DataError(f"{self.kind}: a partition needs clients with different names, got {len(self.names)} names")
        if self.assignment.ndim != 1 or self.assignment.dtype != np.int64:
            raise DataError(f"{self.kind}: assignment must be (rows,) int64, got {self.assignment.dtype}")
        low, high = (self.assignment.min(), self.assignment.max()) if len(self.assignment) else (-1, -1)
        if low < -1 or high >= len(self.names):
            raise DataError(f"{self.kind}: assignment must lie in -1..{len(self.names) - 1}, got {low}..{high}")
        empty = np.flatnonzero(self.sizes == 0)
        if len(empty):
            raise DataError(
                f"{self.kind}: every client must have a row, {self.names[empty[0]]!r} has none; ask for fewer clients"
            )

    @property
    def num_clients(self) -> int:
        """Number of clients."""
        return len(self.names)

    @cached_property
    def sizes(self) -> Int64Array:
        """Number of rows of each client: (clients,)."""
        used = self.assignment[self.assignment >= 0]
        return np.bincount(used, minlength=len(self.names)).astype(np.int64)

    @cached_property
    def offsets(self) -> Int64Array:
        """Where each client's rows lie once they are in client order: (clients + 1,)."""
        return np.concatenate(([0], np.cumsum(self.sizes)))

    @cached_property
    def order(self) -> Int64Array:
        """Row numbers in client order, each client's as in the table, unused ones left out: (used rows,)."""
        order = np.argsort(self.assignment, kind="stable")
        return order[len(self.assignment) - int(self.offsets[-1]) :]

    def rows(self, client: int) -> Int64Array:
        """Return the numbers of the client's rows in the table's order."""
        return self.order[self.offsets[client] : self.offsets[client + 1]]


def client_names(num_clients: int) -> tuple[str, ...]:
    """Return names numbered from 1 with leading zeros, for clients that the data does not name.

    Examples
    --------
    >>> client_names(10)[:2]
    ('client-01', 'client-02')
    """
    width = len(str(num_clients))
    return tuple(f"client-{number:0{width}d}" for number in range(1, num_clients + 1))


def check_num_clients(num_clients: int, available: int, units: str, remedy: str = "") -> None:
    """Refuse a number of clients that is below 1 or above the number of units to deal out.

    Parameters
    ----------
    units
        What is dealt out, in the plural.
    remedy
        What else helps beside fewer clients.
    """
    if not 1 <= num_clients <= available:
        raise ConfigError(
            f"number of clients must be in 1..{available} (number of {units}), got {num_clients}; "
            f"change clients.count{remedy}"
        )


def check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse an option that is none of the allowed words."""
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {value!r}; choose one of these")


def check_positive(name: str, value: float) -> None:
    """Refuse an option that is not a finite number above 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and np.isfinite(value) and value > 0.0):
        raise ConfigError(f"{name} must be a finite number above 0, got {value!r}; choose such as 0.5")


def check_column(name: object) -> None:
    """Refuse an option that should name a column and is no text."""
    if not isinstance(name, str):
        raise ConfigError(f"column must be the name of a column, got {name!r}; write it as in the table's header")


def apportion(num_rows: int, shares: Float64Array) -> Int64Array:
    """Divide rows by shares in whole rows, at least one a client: (clients,), summing to `num_rows`.

    The rows left after one each are divided by the method of largest remainders.

    Parameters
    ----------
    num_rows
        At least one a client.
    shares
        (clients,), none negative; need not sum to 1.

    Examples
    --------
    >>> apportion(11, np.array([6.0, 1.0, 1.0])).tolist()
    [7, 2, 2]
    """
    exact = shares / shares.sum() * (num_rows - len(shares))
    sizes: Int64Array = np.floor(exact).astype(np.int64)
    missing = num_rows - len(shares) - int(sizes.sum())
    sizes[np.argsort(sizes - exact, kind="stable")[:missing]] += 1
    return sizes + 1


def deal(order: Int64Array, sizes: Int64Array) -> Int64Array:
    """Give the first rows of an order to the first client, the next to the second and so on: (rows,)."""
    assignment = np.empty(len(order), dtype=np.int64)
    assignment[order] = np.repeat(np.arange(len(sizes)), sizes)
    return assignment


def even_sizes(num_items: int, num_clients: int) -> Int64Array:
    """Divide items evenly; the first clients get one more where they do not divide: (clients,)."""
    sizes = np.full(num_clients, num_items // num_clients, dtype=np.int64)
    sizes[: num_items % num_clients] += 1
    return sizes


LABEL_MEASURE = "total variation distance of the label's distribution from that of all rows"
FEATURE_MEASURE = "Kolmogorov-Smirnov distance from all rows, mean over features"


@dataclass(frozen=True)
class PartitionSkew:
    """Say what each client has, and how far it is from all clients together.

    Parameters
    ----------
    kind
        Name of the partitioner.
    names
        One a client.
    rows, positives
        (clients,), numbers of rows.
    modes
        (clients, modes), number of rows of each failure mode.
    mode_names
        One a column of `modes`.
    label_distance
        (clients,), in [0, 1], see `LABEL_MEASURE`; for two classes the difference of the failure rates.
    feature_distance
        (clients,), in [0, 1], see `FEATURE_MEASURE`; 0 where there are no features.
    """

    kind: str
    names: tuple[str, ...]
    rows: Int64Array
    positives: Int64Array
    modes: Int64Array
    mode_names: tuple[str, ...]
    label_distance: Float64Array
    feature_distance: Float64Array

    def to_json(self) -> dict[str, object]:
        """Return the skew as a JSON object with one object a client."""
        columns = (self.rows, self.positives, self.modes, self.label_distance, self.feature_distance)
        keys = ("rows", "positives", "modes", "label_distance", "feature_distance")
        clients = []
        for name, *values in zip(self.names, *(column.tolist() for column in columns), strict=True):
            figures = dict(zip(keys, values, strict=True))
            figures["modes"] = dict(zip(self.mode_names, figures["modes"], strict=True))
            clients.append({"name": name, **figures})
        return {
            "kind": self.kind,
            "label_measure": LABEL_MEASURE,
            "feature_measure": FEATURE_MEASURE,
            "clients": clients,
        }


def skew(
    partition: Partition,
    labels: FloatingArray,
    features: FloatingArray,
    modes: BoolArray,
    mode_names: tuple[str, ...],
) -> PartitionSkew:
    """Measure how far each client's rows are from those of all clients together.

    Rows that the partition does not use are left out everywhere.

    Parameters
    ----------
    labels
        (rows,), 0 or 1.
    features
        (rows, features); a missing value counts as infinite.
    modes
        (rows, modes).
    """
    rows = len(partition.assignment)
    if len(labels) != rows or len(features) != rows or modes.shape != (rows, len(mode_names)):
        raise DataError(
            f"labels, features and modes must have {rows} rows, one mode a name, "
            f"got {len(labels)}, {features.shape}, {modes.shape} and {len(mode_names)} names"
        )
    order, sizes = partition.order, partition.sizes
    positives = _sums(labels[order] > 0.5, partition)
    mode_counts = [_sums(modes[order, mode], partition) for mode in range(len(mode_names))]
    rate = positives.sum() / len(order)
    distances = [_ks_distances(features[order, feature], partition) for feature in range(features.shape[1])]
    none = np.zeros(partition.num_clients)
    return PartitionSkew(
        kind=partition.kind,
        names=partition.names,
        rows=sizes,
        positives=positives,
        modes=np.stack(mode_counts, axis=1) if mode_counts else np.zeros((len(sizes), 0), np.int64),
        mode_names=mode_names,
        label_distance=np.abs(positives / sizes - rate),
        feature_distance=np.mean(distances, axis=0) if distances else none,
    )


def _sums(flags: BoolArray, partition: Partition) -> Int64Array:
    """Count true flags, given in client order, for each client: (clients,)."""
    return np.add.reduceat(flags.astype(np.int64), partition.offsets[:-1])


def _ks_distances(values: FloatingArray, partition: Partition) -> Float64Array:
    """Return each client's largest difference of distribution functions to all rows: (clients,).

    Both functions are steps, so the largest difference lies at, or just before, one of the client's own
    values.

    Parameters
    ----------
    values
        (used rows,), one feature in client order.
    """
    num_rows = len(values)
    known = np.where(np.isnan(values), np.inf, values)
    by_value = np.argsort(known, kind="stable")
    ranked = known[by_value]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))  # of each run of equal values
    counts = np.diff(np.append(starts, num_rows))
    client = np.repeat(np.arange(partition.num_clients, dtype=np.int32), partition.sizes)
    by_client = np.argsort(client[by_value], kind="stable")  # by client, then by value
    upto = np.repeat((starts + counts) / num_rows, counts)[by_client]
    below = np.repeat(starts / num_rows, counts)[by_client]
    place = np.arange(num_rows) - np.repeat(partition.offsets[:-1], partition.sizes)
    size = np.repeat(partition.sizes, partition.sizes)
    gap = np.maximum((place + 1) / size - upto, below - place / size)
    return np.maximum.reduceat(gap, partition.offsets[:-1])
