"""Where rows come from: anything with one method that reads a frame and says what it read.

A plant's own store (a historian, a database) becomes a source by implementing `Source`.
"""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import polars as pl

from werkbund.core.errors import DataError
from werkbund.data.delimited import parse
from werkbund.data.dialect import Dialect, Reading, Remark
from werkbund.data.encoding import OLE, ZIP, decode, unpacked
from werkbund.data.stacking import joined, stacked
from werkbund.data.table import Origin
from werkbund.data.tidying import tidy
from werkbund.data.workbook import grid_of, parse_grid

TEXTS = (".csv", ".txt", ".tsv", ".dat", ".asc")
WORKBOOKS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
PARQUETS = (".parquet", ".pq")
PACKED = ".gz"


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
class TextSource:
    """Read a delimited text or a sheet of a workbook, whichever the file holds, packed with gzip or not.

    Parameters
    ----------
    path
        The file.
    dialect
        What is known of how it is written; the rest is found out.
    usual
        What is taken where the file does not tell.
    """

    path: Path
    dialect: Dialect = field(default_factory=Dialect)
    usual: Dialect = field(default_factory=Dialect)

    def read(self) -> tuple[pl.DataFrame, Origin]:
        """Return the rows and their origin; see `Source`."""
        packed = _existing(self.path).read_bytes()
        data = unpacked(packed, self.path)
        workbook = data.startswith((OLE, ZIP))
        frame, reading = self._sheet(data) if workbook else self._text(data)
        kind = "workbook" if workbook else "csv"
        return tidy(frame), _file_origin(kind, self.path, hashlib.sha256(packed).hexdigest(), reading)

    def _text(self, data: bytes) -> tuple[pl.DataFrame, Reading]:
        text, encoding, zeros = decode(data, self.path, self.dialect.encoding)
        asked = replace(self.dialect, encoding=encoding, sheet=None)
        frame, reading = parse(text, asked, self.usual, self.path)
        if not zeros:
            return frame, reading
        remark = Remark("", f"{zeros} NUL characters are left out.", zeros)
        return frame, replace(reading, remarks=(remark, *reading.remarks))

    def _sheet(self, data: bytes) -> tuple[pl.DataFrame, Reading]:
        name, grid, remarks = grid_of(data, self.dialect.sheet, self.path)
        asked = replace(self.dialect, separator=None, encoding=None, sheet=name)
        frame, reading = parse_grid(grid, asked, self.usual, self.path)
        dialect = replace(reading.dialect, decimal_comma=self.dialect.decimal_comma)  # cells are numbers by themselves
        return frame, replace(reading, dialect=dialect, remarks=(*remarks, *reading.remarks))


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
            raise DataError(f"{path} must be a Parquet file, but cannot be read: {error}; write it anew") from error
        if frame.height == 0:
            raise DataError(f"{path} must have rows, but has none")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return tidy(frame), _file_origin("parquet", path, digest, Reading())


@dataclass(frozen=True)
class Files:
    """Read several files of one place, one below another: such as one a day.

    Parameters
    ----------
    paths
        In the order of their rows.
    place
        The folder or pattern that they were found by.
    dialect, usual
        As for `TextSource`, the same for all.
    """

    paths: tuple[Path, ...]
    place: Path
    dialect: Dialect = field(default_factory=Dialect)
    usual: Dialect = field(default_factory=Dialect)

    def read(self) -> tuple[pl.DataFrame, Origin]:
        """Return the rows and their origin; a column that a file has not is empty there; see `Source`."""
        parts = [source_for(path, self.dialect, self.usual).read() for path in self.paths]
        frames = {path.name: frame for path, (frame, _) in zip(self.paths, parts, strict=True)}
        origins = {path.name: origin for path, (_, origin) in zip(self.paths, parts, strict=True)}
        digest = hashlib.sha256("".join(f"{origin.sha256}\n" for origin in origins.values()).encode()).hexdigest()
        note = f"Real data from {len(parts)} files, {self.paths[0].name} to {self.paths[-1].name}."
        reading = joined(frames, {name: origin.reading for name, origin in origins.items()})
        return stacked(frames), Origin("files", str(self.place), digest, note=note, reading=reading)


def source_for(path: Path, dialect: Dialect | None = None, usual: Dialect | None = None) -> Source:
    """Return the source for a file by its suffix, or for all files of a folder or pattern.

    Parameters
    ----------
    path
        A text (.csv, .txt, .tsv, .dat, .asc, each also with .gz), a workbook (.xlsx, .xlsm, .xlsb, .xls, .ods), a
        Parquet file (.parquet, .pq), a folder of such, or a pattern such as `logs/*.csv`.
    dialect, usual
        As for `TextSource`.

    Raises
    ------
    DataError
        If the suffix is another one, or a folder or pattern has no file.
    """
    path, dialect, usual = Path(path), dialect or Dialect(), usual or Dialect()
    if path.is_dir() or (glob.has_magic(str(path)) and not path.exists()):
        return Files(files_of(path), path, dialect, usual)
    kind = _kind_of(path)
    if kind in PARQUETS:
        return ParquetSource(path)
    if kind in (*TEXTS, *WORKBOOKS):
        return TextSource(path, dialect, usual)
    known = ", ".join((*TEXTS, ".xlsx", ".parquet"))
    raise DataError(f"{path} must end in {known} or .gz behind one of a text, got {kind!r}; convert or rename it")


def _kind_of(path: Path) -> str:
    """Return a file's suffix in small letters, the one before .gz."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == PACKED else suffix


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the tables of a folder, or the files of a pattern, sorted by name."""
    if path.is_dir():
        known = (*TEXTS, *WORKBOOKS, *PARQUETS)
        found = [
            each for each in path.iterdir() if each.is_file() and _kind_of(each) in known and each.name[0] not in ".~"
        ]
    else:
        found = [Path(each) for each in glob.glob(str(path)) if Path(each).is_file()]
    if not found:
        raise DataError(f"{path} must have at least one file to read, such as .csv or .parquet, but has none")
    return tuple(sorted(found))


def _existing(path: Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} must exist, but there is no such file; check the path (from {Path.cwd()})")
    return path


def _file_origin(source: str, path: Path, digest: str, reading: Reading) -> Origin:
    return Origin(source, str(path), digest, note=f"Real data from {path.name}.", reading=reading)
