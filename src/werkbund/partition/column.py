"""Clients that the table itself names: one for each value of a column."""

from __future__ import annotations

import numpy as np
import polars as pl

from werkbund.core.errors import ConfigError, DataError
from werkbund.data.names import require
from werkbund.data.table import Table
from werkbund.partition.assignment import Partition, check_column


def by_column(table: Table, num_clients: int, rng: np.random.Generator, *, column: str | None = None) -> Partition:
    """Make a client of each value of a column, in order of appearance; the values become the names.

    Parameters
    ----------
    num_clients
        Number of values that the column has, or 0 to take as many as there are.
    rng
        Not used.
    column
        Name of the column; None for the schema's client column.
    """
    del rng
    name = table.schema.client if column is None else column
    if name is None:
        raise ConfigError("by-column needs a column: set data.client or clients.options.column to the site's column")
    check_column(name)
    require(table.frame, (name,), "by-column")
    values = table.frame[name].cast(pl.String)
    if values.null_count():
        raise DataError(
            f"column {name!r} must name a client in every row, {values.null_count()} of {len(values)} are missing; "
            "drop these rows or fill them in"
        )
    names = values.unique(maintain_order=True)
    if num_clients not in (0, len(names)):
        raise ConfigError(
            f"number of clients must be {len(names)} (values of column {name!r}) or 0 for as many as "
            f"there are, got {num_clients}; leave clients.count out"
        )
    numbers = pl.Series(np.arange(len(names)))
    assignment = values.replace_strict(names, numbers, return_dtype=pl.Int64).to_numpy()
    return Partition("by-column", tuple(names.to_list()), assignment)
