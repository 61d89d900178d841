"""The clients of a simulated federation, in raw units: who they are, and each one's train, validation and test rows.

A client's rows are split by whole machines where it has several, else by blocks of time: neighbouring rows of a
machine are nearly alike, and a random split would put copies of training rows into the test set. Some clients may note
failures wrongly: a share of their labels is turned over before anybody learns from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from werkbund.config.sections import ClientsSection, Config
from werkbund.core.arrays import AnyArray, BoolArray, Float32Array, Int8Array, Int64Array
from werkbund.core.clients import ClientSplits, ClientTable
from werkbund.core.defaults import NUM_CLIENTS
from werkbund.core.errors import ConfigError, DataError
from werkbund.core.rng import generator
from werkbund.data import Preparation, Schema, Table
from werkbund.partition import Partition, partition_table

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
"""Numbers of the splits, as `split_rows` gives them."""

_ROWS_A_PIECE = 500_000


@dataclass(frozen=True)
class RawTable:
    """Hold raw rows in client order: as numbers of rows of one table, so that very many are not held twice.

    Parameters
    ----------
    frame
        (all rows, columns)
    rows
        (rows,), which of them these are.
    offsets
        (clients + 1,), client i owns `rows[offsets[i]:offsets[i + 1]]`.
    modes
        (all rows, modes), which failure modes a row of the frame has.
    """

    frame: pl.DataFrame
    rows: Int64Array
    offsets: Int64Array
    modes: BoolArray

    def pieces(self, clients: Int64Array) -> Iterator[tuple[pl.DataFrame, Int64Array]]:
        """Yield the rows of some clients, in this order, a bounded number at a time, each piece with its offsets."""
        sizes = np.diff(self.offsets)[clients]
        cuts = np.flatnonzero(np.diff(np.cumsum(sizes) // _ROWS_A_PIECE)) + 1
        for chosen in np.split(clients, cuts):
            counts = np.diff(self.offsets)[chosen]
            ends = np.cumsum(counts)
            places = np.arange(int(counts.sum())) + np.repeat(self.offsets[chosen] - (ends - counts), counts)
            yield self.frame[self.rows[places]], np.concatenate(([0], ends))

    def prepared(self, names: tuple[str, ...], schema: Schema, modes: tuple[str, ...], how: Preparation) -> ClientTable:
        """Return the rows as networks read them: features (rows, features) in float32, scaled and filled."""
        features = np.empty((len(self.rows), how.num_features), np.float32)
        labels = self.read_into(features, schema, how.transform)
        return ClientTable(names, self.offsets, features, labels, self.modes[self.rows], modes)

    def read_into(self, features: AnyArray, schema: Schema, read: Callable[[pl.DataFrame], AnyArray]) -> Float32Array:
        """Fill (rows, features) with what `read` makes of the rows, a bounded number at a time; return the labels."""
        labels = np.empty(len(self.rows), np.float32)
        for first in range(0, len(self.rows), _ROWS_A_PIECE):
            piece = slice(first, first + _ROWS_A_PIECE)
            frame = self.frame[self.rows[piece]]
            features[piece], labels[piece] = read(frame), schema.labels(frame)
        return labels


@dataclass(frozen=True)
class Population:
    """Hold the raw rows of all clients, by split.

    Parameters
    ----------
    names
        One a client.
    schema
        The same for all.
    mode_names
        Names of the failure modes.
    splits
        `train`, `validation` and `test`.
    """

    names: tuple[str, ...]
    schema: Schema
    mode_names: tuple[str, ...]
    splits: Mapping[str, RawTable]

    def prepared(self, preparation: Preparation) -> ClientSplits:
        """Return all clients' rows as networks read them, by split."""
        train, validation, test = (
            self.splits[split].prepared(self.names, self.schema, self.mode_names, preparation) for split in SPLITS
        )
        return ClientSplits(train, validation, test)


@dataclass(frozen=True)
class Division:
    """Hold a table that was divided: its rows in time order, the partition of these, and the clients it gave."""

    table: Table
    partition: Partition
    population: Population


def divide(table: Table, config: Config) -> Division:
    """Divide a table into clients, and each client's rows by whole machines into train, validation and test.

    Raises
    ------
    ConfigError
        If the partition does not fit the table.
    """
    seed = config.federation.seed
    table = in_time_order(table)
    kind, count = _partition_of(table, config.clients)
    partition = partition_table(kind, table, count, generator(seed, "partition"), config.clients.options)
    part = _split(table, partition, config.clients, seed)
    table = with_noise(table, partition, part == SPLITS.index("test"), config.clients, seed)
    modes, mode_names = table.schema.mode_flags(table.frame)
    splits = {}
    for number, split in enumerate(SPLITS):
        rows = partition.order[part[partition.order] == number]
        sizes = np.bincount(partition.assignment[rows], minlength=partition.num_clients)
        splits[split] = RawTable(table.frame, rows, np.concatenate(([0], np.cumsum(sizes))), modes)
    _check_labels(table, splits["train"].rows)
    return Division(table, partition, Population(partition.names, table.schema, mode_names, splits))


def one_client(
    table: Table, name: str, mode_names: tuple[str, ...], part: Int8Array, least_rows_of_mode: int = 1
) -> Population:
    """Return one client by itself, whose table this is.

    Parameters
    ----------
    table
        Its rows.
    name
        Of the client.
    mode_names
        The failure modes that the federation counts, in its order; the client's other modes are left out.
    part
        (rows,), the split of each row by its number in `SPLITS`; a row of another number is in none.
    least_rows_of_mode
        A mode that is a text of rows, and of fewer rows than this, is counted as none: its name is not to be guessed.
    """
    flags, names = table.schema.mode_flags(table.frame)
    if table.schema.mode is not None:
        flags = flags & (flags.sum(axis=0) >= least_rows_of_mode)
    modes = _in_columns(flags, names, mode_names)
    splits = {}
    for place, split in enumerate(SPLITS):
        rows = np.flatnonzero(part == place)
        splits[split] = RawTable(table.frame, rows, np.array([0, len(rows)]), modes)
    return Population((name,), table.schema, mode_names, splits)


def _in_columns(flags: BoolArray, names: tuple[str, ...], wanted: tuple[str, ...]) -> BoolArray:
    """Return the flags (rows, wanted) under other columns; a mode that does not occur is no row's."""
    columns = np.zeros((len(flags), len(wanted)), np.bool_)
    for column, name in enumerate(wanted):
        if name in names:
            columns[:, column] = flags[:, names.index(name)]
    return columns


def _partition_of(table: Table, clients: ClientsSection) -> tuple[str, int]:
    schema = table.schema
    if clients.partition is not None:
        kind = clients.partition
    elif schema.client is not None:
        kind = "by-column"
    else:
        kind = "tool-blocks" if schema.machine or schema.machine_reset else "iid"
    # By column there are as many clients as the column has values; 0 asks for all of them.
    return kind, clients.count or (0 if kind == "by-column" else NUM_CLIENTS)


def in_time_order(table: Table) -> Table:
    """Sort by the time column where there is one: partitions and splits go by the order of rows."""
    if table.schema.time is None:
        return table
    return replace(table, frame=table.frame.sort(table.schema.time, maintain_order=True, nulls_last=True))


def _split(table: Table, partition: Partition, clients: ClientsSection, seed: int) -> Int8Array:
    machines = table.schema.machines(table.frame)
    part = np.zeros(len(machines), np.int8)
    for client in range(partition.num_clients):
        rows = partition.rows(client)
        rng = generator(seed, "split", 0, client)
        part[rows] = split_rows(machines[rows], clients.test, clients.validation, rng)
    return part


def _check_labels(table: Table, rows: Int64Array) -> None:
    train = table.schema.labels(table.frame)[rows]
    if len(np.unique(train)) < 2:
        value = int(train[0]) if len(train) else "nothing"
        raise DataError(
            f"label {table.schema.label!r} must have failures and rows without among the training rows of all clients, "
            f"got {value} in all {len(train)}; there is nothing to learn. Check data.label and data.positive"
        )


def noisy_clients(num_clients: int, section: ClientsSection, seed: int) -> Int64Array:
    """Return which clients note labels wrongly, drawn by the run's seed: ascending.

    Raises
    ------
    ConfigError
        If `clients.noisy` is more than the number of clients.
    """
    if section.noisy > num_clients:
        raise ConfigError(f"clients.noisy must be at most the number of clients, {num_clients}, got {section.noisy}")
    drawn = generator(seed, "noisy clients").choice(num_clients, section.noisy, replace=False)
    return np.sort(drawn)


def with_noise(table: Table, partition: Partition, kept: BoolArray, section: ClientsSection, seed: int) -> Table:
    """Return the table with a share of the noisy clients' labels turned over.

    Parameters
    ----------
    table
        With the true labels.
    partition
        Whose rows they are.
    kept
        (rows,), rows whose labels stay true: those that a model is judged by in the end.
    section
        Says how many clients, and which share of their labels.
    seed
        Of the run.
    """
    if not section.noisy:
        return table
    labels = table.schema.labels(table.frame) > 0
    if labels.all() or not labels.any():
        return table
    clients = noisy_clients(partition.num_clients, section, seed)
    at_noisy = np.isin(partition.assignment, clients)
    drawn = generator(seed, "label noise").random(len(labels)) < section.noise
    turned = at_noisy & drawn & ~kept
    opposite = np.where(labels, np.flatnonzero(~labels)[0], np.flatnonzero(labels)[0])  # a row of the other label
    source = np.where(turned, opposite, np.arange(len(labels)))
    column = table.frame[table.schema.label].gather(source)
    return replace(table, frame=table.frame.with_columns(column))


def split_rows(machines: Int64Array, test: float, validation: float, rng: np.random.Generator) -> Int8Array:
    """Say which part each row of one client belongs to.

    Whole machines are held out at random until they hold about the wanted share of rows, test before
    validation. Where no machine can be spared the last rows are held out. So one machine alone gives train,
    validation and test rows in this order.

    Parameters
    ----------
    machines
        (rows,), each row's machine; rows in order of time.
    test, validation
        Wanted shares of rows, at least 0, together below 1.
    rng
        Chooses the machines.

    Returns
    -------
    part
        (rows,): 0 train, 1 validation, 2 test. Each part that is wanted has at least one row, and train
        always has, unless the client has fewer than 3 rows: these are all train.

    Examples
    --------
    >>> split_rows(np.zeros(10, np.int64), test=0.3, validation=0.2, rng=np.random.default_rng(0)).tolist()
    [0, 0, 0, 0, 0, 1, 1, 2, 2, 2]
    """
    for name, share in (("test", test), ("validation", validation)):
        if not 0.0 <= share < 1.0:
            raise ConfigError(f"{name} must be in [0, 1), a share of rows, got {share}; choose such as 0.2")
    if test + validation >= 1.0:
        raise ConfigError(f"test + validation must be below 1, got {test} + {validation}; leave rows to train on")
    rows = len(machines)
    part = np.zeros(rows, dtype=np.int8)
    if rows < 3:
        return part
    keep = 1 + (validation > 0.0)  # rows that must be left for the parts that come after
    for number, share in ((TEST, test), (VALIDATION, validation)):
        left = np.flatnonzero(part == TRAIN)
        if share > 0.0:
            part[left[_held_out(machines[left], share * rows, keep, rng)]] = number
        keep = 1
    return part


def _held_out(machines: Int64Array, wanted: float, keep: int, rng: np.random.Generator) -> BoolArray:
    """Choose about `wanted` of these rows, at least one, and leave at least `keep`: (rows,)."""
    rows = len(machines)
    known, number, sizes = np.unique(machines, return_inverse=True, return_counts=True)
    order = rng.permutation(len(known))
    reached = np.cumsum(sizes[order])  # rows of the first 1, 2, ... machines
    reached = reached[reached <= rows - keep]
    if len(reached) == 0:
        cut = rows - min(max(round(wanted), 1), rows - keep)
        return np.arange(rows) >= cut
    num_machines = int(np.argmin(np.abs(reached - wanted))) + 1
    return np.isin(number, order[:num_machines])
