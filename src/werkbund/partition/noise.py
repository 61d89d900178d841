"""Wrong labels: some clients, drawn by chance, note a share of their failures wrongly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from werkbund.core.arrays import BoolArray, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.rng import generator
from werkbund.data import Table
from werkbund.partition.assignment import Partition


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
