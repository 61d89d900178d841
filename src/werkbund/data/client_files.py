"""One file, folder or pattern a client: rows under common names and units, each with its client."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from werkbund.core.errors import ConfigError, DataError
from werkbund.data.dialect import Dialect
from werkbund.data.mapping import OwnColumn, in_units, mapped, own_name
from werkbund.data.names import nearest
from werkbund.data.sources import source_for
from werkbund.data.stacking import joined, stacked
from werkbund.data.table import Origin

CLIENT_COLUMN = "client"
"""The column that says which client's file a row came from, where there is one file a client."""


@dataclass(frozen=True)
class ClientFiles:
    """Read one file a client, or one folder, and note each row's client.

    Parameters
    ----------
    files
        Each client's file, by client name.
    client_column
        The column to add; no file may have it.
    dialect
        As for `source_for`, the same for all files.
    columns
        By client: which of its columns is which of ours; see `data.mapping`.
    units
        By our column, the unit that is declared.
    """

    files: Mapping[str, Path]
    client_column: str = CLIENT_COLUMN
    dialect: Dialect = field(default_factory=Dialect)
    columns: Mapping[str, Mapping[str, OwnColumn]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.files:
            raise ConfigError("data.clients must name at least one file, got none; write name = path")
        for name in self.columns:
            if name not in self.files:
                raise ConfigError(
                    f"data.map must name clients of data.clients, got {name!r}{nearest(name, self.files)}"
                )

    def read(self) -> tuple[pl.DataFrame, Origin]:
        """Return the rows of all clients, in order of their mention, and their origin; see `Source`.

        A column that a client has not is empty there.
        """
        parts = {name: self._part(name, path) for name, path in self.files.items()}
        frames = {name: frame for name, (frame, _) in parts.items()}
        for name, frame in frames.items():
            if self.client_column in frame.columns:
                raise DataError(
                    f"the file of client {name!r} must not have the column {self.client_column!r}, which is added; "
                    "rename it or choose another client column"
                )
        marked = {name: frame.with_columns(pl.lit(name).alias(self.client_column)) for name, frame in frames.items()}
        digests = "".join(f"{name}:{origin.sha256}\n" for name, (_, origin) in parts.items())
        note = f"Real data from {len(parts)} files, one a client."
        folder = os.path.commonpath([Path(path).absolute().parent for path in self.files.values()])
        digest = hashlib.sha256(digests.encode()).hexdigest()
        reading = joined(frames, {name: origin.reading for name, (_, origin) in parts.items()})
        return stacked(marked), Origin("clients", folder, digest, note=note, reading=reading)

    def _part(self, name: str, path: Path) -> tuple[pl.DataFrame, Origin]:
        """Return a client's rows under our names and in our units."""
        frame, origin = source_for(path, self.dialect).read()
        columns = self.columns.get(name, {})
        said = {own for own, mapping in columns.items() if mapping.unit is not None}
        frame, origin = in_units(
            frame, origin, {own_name(own, columns): unit for own, unit in self.units.items() if own not in said}
        )
        return mapped(frame, columns, self.units, name), origin
