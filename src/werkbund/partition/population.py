"""The clients of a table in raw units, each with its rows by part, and what is made of them.

Some may note failures wrongly: a share of their labels is turned over before anybody learns from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from werkbund.core.arrays import AnyArray, BoolArray, Float32Array, Float64Array, Int8Array, Int64Array
from werkbund.core.clients import ClientSplits, ClientTable
from werkbund.core.errors import ConfigError
from werkbund.core.rng import generator
from werkbund.data import Preparation, Schema, Table
from werkbund.partition.assignment import Partition
from werkbund.partition.split import PARTS, SPLITS, is_outer

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

    def of(self, clients: Int64Array) -> RawTable:
        """Return the rows of some clients, in this order."""
        counts = np.diff(self.offsets)[clients]
        ends = np.cumsum(counts)
        places = np.arange(int(counts.sum())) + np.repeat(self.offsets[clients] - (ends - counts), counts)
        return RawTable(self.frame, self.rows[places], np.concatenate(([0], ends)), self.modes)

    def pieces(self, clients: Int64Array) -> Iterator[tuple[pl.DataFrame, Int64Array]]:
        """Yield the rows of some clients, in this order, a bounded number at a time, each piece with its offsets."""
        sizes = np.diff(self.offsets)[clients]
        cuts = np.flatnonzero(np.diff(np.cumsum(sizes) // _ROWS_A_PIECE)) + 1
        for chosen in np.split(clients, cuts):
            piece = self.of(chosen)
            yield self.frame[piece.rows], piece.offsets

    def prepared(
        self, names: tuple[str, ...], schema: Schema, modes: tuple[str, ...], how: Preparation, machines: bool = False
    ) -> ClientTable:
        """Return the rows as networks read them: features (rows, features) in float32, scaled and filled."""
        features = np.empty((len(self.rows), how.num_features), np.float32)
        labels, risks = self.read_into(features, schema, how.transform)
        own = schema.machines(self.frame)[self.rows] if machines else np.empty(0, np.int64)
        flags, low = self.modes[self.rows], risks.astype(np.float32)
        return ClientTable(names, self.offsets, features, labels, flags, modes, own, schema.target, low)

    def read_into(
        self, features: AnyArray, schema: Schema, read: Callable[[pl.DataFrame], AnyArray]
    ) -> tuple[Float32Array, Float64Array]:
        """Fill (rows, features) with what `read` makes of the rows, a bounded number at a time.

        Returns
        -------
        labels, risks
            (rows,) each; no risks where none are foretold but the labels.
        """
        labels = np.empty(len(self.rows), np.float32)
        risks = [np.empty(0)]
        for first in range(0, len(self.rows), _ROWS_A_PIECE):
            piece = slice(first, first + _ROWS_A_PIECE)
            frame = self.frame[self.rows[piece]]
            features[piece], labels[piece] = read(frame), schema.labels(frame)
            risks.append(schema.risks(frame))
        return labels, np.concatenate(risks)


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
        `train`, `validation`, `test`, and `later`, the rows of a later period than all these.
    """

    names: tuple[str, ...]
    schema: Schema
    mode_names: tuple[str, ...]
    splits: Mapping[str, RawTable]

    def prepared(self, preparation: Preparation, machines: bool = False) -> ClientSplits:
        """Return all clients' rows as networks read them, by split; if so asked with the machine of each row.

        Raises
        ------
        ConfigError
            If the machines are asked for and the table tells none apart.
        """
        if machines and self.schema.machine is None and self.schema.machine_reset is None:
            raise ConfigError(
                "privacy.unit = 'machine' needs a table that tells machines apart; set data.machine or "
                "data.machine_reset, or protect rows"
            )
        train, validation, test = (
            self.splits[split].prepared(self.names, self.schema, self.mode_names, preparation, machines)
            for split in SPLITS
        )
        return ClientSplits(train, validation, test)


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
        (rows,), the part of each row by its number in `PARTS`; a row of another number is in none.
    least_rows_of_mode
        A mode that is a text of rows, and of fewer rows than this, is counted as none: its name is not to be guessed.
    """
    flags, names = table.schema.mode_flags(table.frame)
    if table.schema.mode is not None:
        flags = flags & (flags.sum(axis=0) >= least_rows_of_mode)
    modes = _in_columns(flags, names, mode_names)
    splits = {}
    for place, split in enumerate(PARTS):
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


def noisy_clients(num_clients: int, noisy: int, seed: int) -> Int64Array:
    """Return which clients note labels wrongly, so many drawn by the run's seed: ascending.

    Raises
    ------
    ConfigError
        If `clients.noisy` is more than the number of clients.
    """
    if noisy > num_clients:
        raise ConfigError(f"clients.noisy must be at most the number of clients, {num_clients}, got {noisy}")
    drawn = generator(seed, "noisy clients").choice(num_clients, noisy, replace=False)
    return np.sort(drawn)


def with_noise(table: Table, partition: Partition, kept: BoolArray, noisy: int, share: float, seed: int) -> Table:
    """Return the table with a share of the noisy clients' labels turned over.

    Parameters
    ----------
    table
        With the true labels.
    partition
        Whose rows they are.
    kept
        (rows,), rows whose labels stay true: those that a model is judged by in the end.
    noisy
        How many clients.
    share
        Which share of their labels.
    seed
        Of the run.
    """
    if not noisy:
        return table
    labels = table.schema.labels(table.frame) > 0
    if labels.all() or not labels.any():
        return table
    clients = noisy_clients(partition.num_clients, noisy, seed)
    at_noisy = np.isin(partition.assignment, clients)
    drawn = generator(seed, "label noise").random(len(labels)) < share
    turned = at_noisy & drawn & ~kept
    opposite = np.where(labels, np.flatnonzero(~labels)[0], np.flatnonzero(labels)[0])  # a row of the other label
    source = np.where(turned, opposite, np.arange(len(labels)))
    column = table.frame[table.schema.label].gather(source)
    return replace(table, frame=table.frame.with_columns(column))


def outer_rows(table: Table) -> BoolArray:
    """Return which rows are of outer machines, see `partition.split.is_outer`: (rows,).

    A machine's id is its text in the column `data.machine`, or its number from 0 in order of time.

    Raises
    ------
    ConfigError
        If the table tells no machines apart.
    """
    schema = table.schema
    if schema.machine is None and schema.machine_reset is None:
        raise ConfigError(
            "clients.outer must be none where the table tells no machines apart; set data.machine or data.machine_reset"
        )
    numbers = pl.Series(schema.machines(table.frame))
    names = (numbers if schema.machine is None else table.frame[schema.machine]).cast(pl.String).fill_null("")
    outer = [name for name in names.unique().to_list() if is_outer(name)]
    return names.is_in(outer).to_numpy()
