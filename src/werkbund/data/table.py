"""A table of machine readings together with its meaning and where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from werkbund.core.errors import ConfigError, DataError
from werkbund.data.dialect import Reading
from werkbund.data.names import require
from werkbund.data.schema import Schema
from werkbund.data.times import moments


@dataclass(frozen=True)
class Origin:
    """Say where rows came from.

    Parameters
    ----------
    source
        Kind of source, such as "csv", "parquet", "clients", "generator" or "ai4i2020".
    path
        The file that was read; None for generated rows.
    sha256
        Of the file's bytes, hexadecimal; None for generated rows.
    generated
        The generator's arguments; None for a file.
    note
        One plain sentence for people: a real file, or generated.
    made
        What was counted where rows were made of readings; None where the file holds the rows.
    reading
        How a file was read.
    """

    source: str
    path: str | None = None
    sha256: str | None = None
    generated: Mapping[str, object] | None = None
    note: str = ""
    made: Mapping[str, Any] | None = None
    reading: Reading = field(default_factory=Reading)

    def to_json(self) -> dict[str, object]:
        """Return the origin as a JSON object, for the run's folder."""
        generated = None if self.generated is None else dict(self.generated)
        return {
            "source": self.source,
            "path": self.path,
            "sha256": self.sha256,
            "generated": generated,
            "note": self.note,
            "reading": self.reading.to_json(),
            **({} if self.made is None else {"made": dict(self.made)}),
        }


@dataclass(frozen=True)
class Table:
    """Hold raw rows that have every column which the schema names.

    Parameters
    ----------
    frame
        (rows, columns), in raw units.
    schema
        What the columns mean.
    origin
        Where the rows came from.
    """

    frame: pl.DataFrame
    schema: Schema
    origin: Origin

    def __post_init__(self) -> None:
        if self.frame.height == 0:
            raise DataError(f"a table must have at least one row, got none ({self.origin.source})")
        require(self.frame, self.schema.used, "its schema")

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return self.frame.height

    @property
    def clients(self) -> pl.Series:
        """Name of each row's client, (rows,), a text; null where none is known."""
        name = self.schema.client
        return pl.Series([None] * self.num_rows, dtype=pl.String) if name is None else self.frame[name].cast(pl.String)

    def without(self, names: Sequence[str]) -> Table:
        """Return the table without the rows of some clients.

        Raises
        ------
        ConfigError
            If it has no row of one, or of no other.
        """
        clients = self.clients
        for name in names:
            if not clients.eq_missing(pl.Series([name])).any():
                raise ConfigError(f"data.without must name clients of the table, got {name!r}; drop it")
        left = clients.is_in(list(names)).fill_null(value=False).not_()
        if not left.any():
            raise ConfigError(f"data.without must leave a client, got all: {', '.join(names)}; drop one")
        return replace(self, frame=self.frame.filter(left))


def in_time_order(table: Table) -> Table:
    """Return a table whose rows are sorted by the time column where there is one; rows without a time come last."""
    name = table.schema.time
    if name is None:
        return table
    order = np.argsort(moments(table.frame[name]), kind="stable")
    return table if (order == np.arange(len(order))).all() else replace(table, frame=table.frame[order])
