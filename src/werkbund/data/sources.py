"""Where rows come from: anything with one method that reads a frame and says what it read.

A plant's own store (a historian, a database) becomes a source by implementing `Source`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from werkbund.core.errors import ConfigError, DataError
from werkbund.data import delimited
from werkbund.data.table import Origin
from werkbund.data.tidying import refuse_decimal_commas, tidy

CLIENT_COLUMN = "client"
"""The column that says which client's file a row came from, where there is one file a client."""


class Source(Protocol):
    """Read rows from somewhere."""

    def read(self) -> tuple[pl.DataFrame, Origin]:
        """Return the rows, missing readings as nulls, and where they came from.

        Raises
        ------
        DataError
            If there is nothing to read, or it cannot be read.
        """
        ...


@dataclass(frozen=True)
class CsvSource:
    """Read a delimited text file in UTF-8, with or without byte order mark, with any line ends.

    Parameters
    ----------
    path
        The file; its first line is the header.
    separator
        One character between fields.
    decimal_comma
        Whether decimals are written with a comma, as in files from much of Europe.
    """

    path: Path
    separator: str = ","
    decimal_comma: bool = False

    def __post_init__(self) -> None:
        if len(self.separator) != 1 or not self.separator.isascii() or self.separator in '"\n\r':
            raise ConfigError(f"separator must be one ASCII character other than a quote, got {self.separator!r}")
        if self.decimal_comma and self.separator == ",":
            raise ConfigError("separator must not be ',' where decimals have commas; use ';' or a tab")

    def read(self) -> tuple[pl.DataFrame, Origin]:
        """Return the rows and their origin; see `Source`."""
        data = _existing(self.path).read_bytes()
        text = delimited.decode(data, self.path)
        frame = tidy(delimited.parse(text, self.separator, self.decimal_comma, self.path))
        refuse_decimal_commas(frame, self.path)
        return frame, _file_origin("csv", self.path, hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class ParquetSource:
    """Read a Parquet file."""

    path: Path

    def read(self) -> tuple[pl.DataFrame, Origin]:
        """Return the rows and their origin; see `Source`."""
        path = _existing(self.path)
        try:
            frame = pl.read_parquet(path, use_pyarrow=False)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{path} must be a Parquet file, but cannot be read: {error}") from error
        if frame.height == 0:
            raise DataError(f"{path} must have rows, but has none")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return tidy(frame), _file_origin("parquet", path, digest)


@dataclass(frozen=True)
class ClientFiles:
    """Read one file a client and note each row's client.

    Parameters
    ----------
    files
        Each client's file, by client name.
    client_column
        The column to add; no file may have it.
    separator, decimal_comma
        As for `source_for`, the same for all files.
    """

    files: Mapping[str, Path]
    client_column: str = CLIENT_COLUMN
    separator: str | None = None
    decimal_comma: bool = False

    def __post_init__(self) -> None:
        if not self.files:
            raise ConfigError("data.clients must name at least one file, got none; write name = path")

    def read(self) -> tuple[pl.DataFrame, Origin]:
        """Return the rows of all clients, in order of their mention, and their origin; see `Source`."""
        sources = {name: source_for(path, self.separator, self.decimal_comma) for name, path in self.files.items()}
        parts = {name: source.read() for name, source in sources.items()}
        frames = {name: frame for name, (frame, _) in parts.items()}
        self._check_columns(frames)
        digests = "".join(f"{name}:{origin.sha256}\n" for name, (_, origin) in parts.items())
        note = f"Real data from {len(parts)} files, one a client."
        folder = os.path.commonpath([Path(path).absolute().parent for path in self.files.values()])
        digest = hashlib.sha256(digests.encode()).hexdigest()
        return _stack(frames, self.client_column), Origin("clients", folder, digest, note=note)

    def _check_columns(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Refuse files whose columns differ, or that have the client column already."""
        first, expected = next((name, set(frame.columns)) for name, frame in frames.items())
        for name, frame in frames.items():
            if self.client_column in frame.columns:
                raise DataError(
                    f"the file of client {name!r} must not have the column {self.client_column!r}, which is added; "
                    "rename it or choose another client column"
                )
            lacking, extra = sorted(expected - set(frame.columns)), sorted(set(frame.columns) - expected)
            if lacking or extra:
                raise DataError(
                    f"the file of client {name!r} must have the columns of {first!r}: missing {lacking}, extra {extra}"
                )


def _stack(frames: Mapping[str, pl.DataFrame], client_column: str) -> pl.DataFrame:
    """Return all rows; a column that is text at one client is text at all, one without a value fits any type."""
    order = next(iter(frames.values())).columns
    parts = []
    for name, frame in frames.items():
        empty = [pl.col(c).cast(pl.Null) for c in order if frame[c].null_count() == frame.height]
        parts.append(frame.select(order).with_columns(empty).with_columns(pl.lit(name).alias(client_column)))
    return pl.concat(parts, how="vertical_relaxed")


SUFFIXES = {".csv": ",", ".txt": ",", ".tsv": "\t"}


def source_for(path: Path, separator: str | None = None, decimal_comma: bool = False) -> Source:
    """Return the source for a file, by its suffix: .csv, .txt, .tsv, .parquet or .pq.

    Parameters
    ----------
    separator
        Between the fields of a delimited file; None for what its suffix says, a comma or a tab.
    decimal_comma
        Whether a delimited file writes decimals with a comma.

    Raises
    ------
    DataError
        If the suffix is another one.
    """
    suffix = Path(path).suffix.lower()
    if suffix in SUFFIXES:
        return CsvSource(Path(path), separator or SUFFIXES[suffix], decimal_comma)
    if suffix in (".parquet", ".pq"):
        return ParquetSource(Path(path))
    known = ", ".join((*SUFFIXES, ".parquet"))
    raise DataError(f"{path} must end in {known} or .pq, got {suffix!r}; convert or rename it")


def _existing(path: Path) -> Path:
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} must be a file, but is a folder; name a file in it")
    if not path.exists():
        raise DataError(f"{path} must exist, but there is no such file; check the path (from {Path.cwd()})")
    return path


def _file_origin(source: str, path: Path, digest: str) -> Origin:
    return Origin(source, str(path), digest, note=f"Real data from {path.name}.")
