"""What one client's rows need before they stand beside others': its readings in the units of all, or to be left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from werkbund.core.errors import ConfigError
from werkbund.core.text import did_you_mean
from werkbund.data.conversion import Measure, convert_as
from werkbund.data.table import Table


def in_declared_units(table: Table, measures: Mapping[str, Mapping[str, Measure]]) -> Table:
    """Return a table in which each client's readings are in the units that are declared for all.

    Parameters
    ----------
    table
        In the units that clients measure in; its schema names the column with the client.
    measures
        By client and column, as for `convert_as`; what is not mentioned is in the declared unit.

    Raises
    ------
    ConfigError
        If a client or column is not known, or cannot be converted.
    """
    clients = _clients(table)
    units = {column.name: column.unit for column in table.schema.features if column.kind == "number"}
    _require_known("data.units must name clients", measures, clients.unique().drop_nulls())
    frame = table.frame
    for name, columns in measures.items():
        _require_known(f"data.units.{name} must name number columns", columns, units)
        rows = clients.eq_missing(pl.Series([name]))
        for column, measure in columns.items():
            values = frame[column].cast(pl.Float64).to_numpy(writable=True)
            values[rows.to_numpy()] = convert_as(frame[column].filter(rows), measure, units[column]).to_numpy()
            frame = frame.with_columns(pl.Series(column, values).fill_nan(None))
    return replace(table, frame=frame)


def without_clients(table: Table, names: Sequence[str]) -> Table:
    """Return a table without the rows of some clients.

    Raises
    ------
    ConfigError
        If the table has no row of one, or of no other.
    """
    if not names:
        return table
    clients = _clients(table)
    _require_known("data.without must name clients", names, clients.unique().drop_nulls())
    frame = table.frame.filter(~clients.is_in(list(names)).fill_null(value=False))
    if frame.height == 0:
        raise ConfigError(f"data.without must leave a client, got all: {', '.join(names)}; drop one")
    return replace(table, frame=frame)


def _clients(table: Table) -> pl.Series:
    """Return the client of each row, as a text."""
    name = table.schema.client
    return pl.Series([None] * table.num_rows, dtype=pl.String) if name is None else table.frame[name].cast(pl.String)


def _require_known(rule: str, names: Iterable[str], known: Iterable[str]) -> None:
    there = list(known)
    for name in names:
        if name not in there:
            raise ConfigError(f"{rule} of the table, got {name!r}{did_you_mean(name, there)}")
