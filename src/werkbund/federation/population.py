"""A table divided into the clients of a simulated federation, and each client's rows into parts.

A client's rows are split by whole machines where it has several, or by time: neighbouring rows of a machine are nearly
alike, and a random split would put copies of training rows into the test set. Some clients may note
failures wrongly: a share of their labels is turned over before anybody learns from them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from werkbund.attack.population import judged_by_others
from werkbund.config.rows import ClientsSection
from werkbund.config.sections import Config
from werkbund.core.arrays import Int8Array, Int64Array
from werkbund.core.defaults import NUM_CLIENTS
from werkbund.core.errors import DataError
from werkbund.core.rng import generator
from werkbund.data import Table
from werkbund.data.table import in_time_order
from werkbund.data.time.rows import purge_of
from werkbund.federation.wiring import scenario_of
from werkbund.partition import Partition, partition_table
from werkbund.partition.population import Population, RawTable, outer_rows, with_noise
from werkbund.partition.split import LEFT_OUT, PARTS, TEST, RowTraits, Split


@dataclass(frozen=True)
class Division:
    """Hold a table that was divided: its rows in time order, the partition of these, and the clients it gave."""

    table: Table
    partition: Partition
    population: Population


def divide(table: Table, config: Config) -> Division:
    """Divide a table into clients, and each client's rows into train, validation, test and a later period.

    Raises
    ------
    ConfigError
        If the partition does not fit the table.
    """
    seed = config.federation.seed
    table = in_time_order(table)
    kind, count = partition_of(table, config.clients)
    partition = partition_table(kind, table, count, generator(seed, "partition"), config.clients.options)
    part = _parts(table, partition, config, seed)
    table = with_noise(table, partition, part >= TEST, config.clients.noisy, config.clients.noise, seed)
    modes, mode_names = table.schema.mode_flags(table.frame)
    splits = {}
    for number, split in enumerate(PARTS):
        rows = partition.order[part[partition.order] == number]
        sizes = np.bincount(partition.assignment[rows], minlength=partition.num_clients)
        splits[split] = RawTable(table.frame, rows, np.concatenate(([0], np.cumsum(sizes))), modes)
    _check_labels(table, splits["train"].rows)
    population = Population(partition.names, table.schema, mode_names, splits)
    scenario = scenario_of(config, partition.names)
    return Division(table, partition, judged_by_others(population, scenario.clients) if scenario else population)


def partition_of(table: Table, clients: ClientsSection) -> tuple[str, int]:
    """Return the kind of partition of a table, and its number of clients."""
    schema = table.schema
    if clients.partition is not None:
        kind = clients.partition
    elif schema.client is not None:
        kind = "by-column"
    else:
        kind = "tool-blocks" if schema.machine or schema.machine_reset else "iid"
    # By column there are as many clients as the column has values; 0 asks for all of them.
    return kind, clients.count or (0 if kind == "by-column" else NUM_CLIENTS)


def split_of(config: Config) -> Split:
    """Return how a client's rows are split; around a border of time as far as labels and windows of readings reach."""
    clients, windows = config.clients, config.data.windows
    shares = (clients.split, clients.test, clients.validation, clients.later)
    if windows.step is None:
        return Split(*shares, clients.gap)
    ahead, back = purge_of(windows.model_dump())
    return Split(*shares, max(clients.gap, ahead), back, whole=True)


def _parts(table: Table, partition: Partition, config: Config, seed: int) -> Int8Array:
    """Return the part of each row by its number in `PARTS`: (rows,)."""
    clients, split = config.clients, split_of(config)
    traits, outer = RowTraits.of(table), np.zeros(table.num_rows, np.bool_)
    named, reported = table.schema.part, clients.outer == "report"
    if clients.outer != "none":
        outer = outer_rows(table)
    if named is not None:
        outer, reported = outer | table.frame[named].eq_missing("test").to_numpy(), True
    if reported:
        split = replace(split, test=0.0)
    part = np.where(outer & reported, TEST, LEFT_OUT).astype(np.int8)
    for client in range(partition.num_clients):
        rows = partition.rows(client)
        inner = rows[~outer[rows]]
        part[inner] = split.parts(traits.take(inner), generator(seed, "split", 0, client))
    return part


def _check_labels(table: Table, rows: Int64Array) -> None:
    train = table.schema.labels(table.frame)[rows]
    if len(np.unique(train)) < 2:
        value = int(train[0]) if len(train) else "nothing"
        raise DataError(
            f"label {table.schema.label!r} must have failures and rows without among the training rows of all clients, "
            f"got {value} in all {len(train)}; there is nothing to learn. Check data.label and data.positive"
        )
