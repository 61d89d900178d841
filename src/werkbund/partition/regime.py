"""Clients as operating regimes: each has the rows in which a column lies between two quantiles."""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.errors import ConfigError, DataError
from werkbund.data.features import clean, number_matrix
from werkbund.data.table import Table
from werkbund.partition.assignment import Partition, check_column, check_num_clients, client_names


def regime(table: Table, num_clients: int, rng: np.random.Generator, *, column: str | None = None) -> Partition:
    """Give the lowest values of a column to the first client, and so on, as evenly many rows as can be.

    Equal values stay together, so sizes are uneven where one value is frequent.

    Parameters
    ----------
    num_clients
        At most the number of different values.
    rng
        Not used.
    column
        A column of numbers or a derived feature.
    """
    del rng
    if column is None:
        raise ConfigError(
            "regime needs a column: set clients.options.column to one of numbers, or to a derived feature"
        )
    check_column(column)
    values = _values(table, column)
    num_missing = int(np.isnan(values).sum())
    if num_missing:
        raise DataError(
            f"column {column!r} must have a number in every row, {num_missing} of {len(values)} are missing; "
            "drop these rows, fill them in or choose another column"
        )
    distinct, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    check_num_clients(num_clients, len(distinct), f"different values of {column!r}", ", or choose another column")
    blocks = _cut(counts, num_clients)
    return Partition("regime", client_names(num_clients), blocks[place])


def _values(table: Table, column: str) -> Float64Array:
    """Return a raw or derived column as numbers, NaN where missing: (rows,)."""
    schema = table.schema
    derived = [feature for feature in schema.derived if feature.name == column]
    if not derived:
        cleaned = clean(table.frame, (column,), ())
        return number_matrix(cleaned, (column,), ())[:, 0]
    numbers = [feature.name for feature in schema.features if feature.kind == "number"]
    categories = [feature.name for feature in schema.features if feature.kind == "category"]
    return number_matrix(clean(table.frame, numbers, categories), (), derived)[:, 0]


def _cut(counts: Int64Array, num_blocks: int) -> Int64Array:
    """Cut sorted values into consecutive blocks of nearly equal row counts, none empty.

    Parameters
    ----------
    counts
        (values,), number of rows of each value; at least as many values as blocks.

    Returns
    -------
    block
        (values,), not falling, from 0 to `num_blocks` - 1.
    """
    middle = np.cumsum(counts) - counts / 2.0
    wanted = np.floor(middle * num_blocks / counts.sum()).astype(np.int64)
    place = np.arange(len(counts))
    late_enough = np.maximum(wanted, num_blocks - len(counts) + place)  # leaves a value for every later block
    late_enough[0] = 0
    return place + np.minimum.accumulate(late_enough - place)  # no block is skipped
