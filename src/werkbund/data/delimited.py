"""The text of a delimited file before it becomes a table: encoding, header and delimiter, each refused by name."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import polars as pl

from werkbund.core.errors import DataError

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null")

_FOREIGN = (
    (b"PAR1", "a Parquet file; name it .parquet"),
    (b"PK\x03\x04", "an Excel or zip file; save it as CSV (UTF-8)"),
    (b"\x1f\x8b", "a gzip file; unpack it"),
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8"),
)


def decode(data: bytes, path: Path) -> str:
    """Return the text of a UTF-8 file, without byte order mark and with line feeds alone at line ends.

    Raises
    ------
    DataError
        If the file is empty, of another encoding or no text at all.
    """
    for magic, kind in _FOREIGN:
        if data.startswith(magic):
            raise DataError(f"{path} must be delimited text in UTF-8, but looks like {kind}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} must be UTF-8, line {line} holds the byte 0x{data[error.start]:02x}; save it as UTF-8"
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\n")
    if not text.strip():
        raise DataError(f"{path} must have a header and rows, but is empty")
    return text


def header(text: str, separator: str, path: Path) -> list[str]:
    """Return the column names, without blanks around them; a nameless column is called column_<position>.

    Raises
    ------
    DataError
        If the line is delimited otherwise, or a name occurs twice.
    """
    _check_delimiter(text.split("\n", 1)[0], separator, path)
    fields = next(csv.reader(io.StringIO(text), delimiter=separator))
    # A saved index has no name; any other nameless column could not be declared either.
    names = [name.strip() or f"column_{position}" for position, name in enumerate(fields, 1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        listed = ", ".join(map(repr, twice))
        raise DataError(f"{path}: column names must differ, got {listed} more than once; rename them")
    return names


def _check_delimiter(first: str, separator: str, path: Path) -> None:
    """Refuse a header line that holds another delimiter than the one that was asked for."""
    bare = re.sub(r'"[^"]*"', "", first)
    counts = {mark: bare.count(mark) for mark in DELIMITERS if mark != separator}
    likely = max(counts, key=lambda mark: counts[mark])
    if separator not in bare and counts[likely]:
        raise DataError(
            f"{path}: columns must be separated by {_named(separator)}, but the header holds none; it looks "
            f"separated by {_named(likely)}: set the separator to {likely!r}"
        )


def _named(mark: str) -> str:
    return DELIMITERS.get(mark, repr(mark))


def parse(text: str, separator: str, decimal_comma: bool, path: Path) -> pl.DataFrame:
    """Return the rows below the header; lines without any value are left out.

    Raises
    ------
    DataError
        If there is no row, or a line has more fields than the header.
    """
    names = header(text, separator, path)
    try:
        frame = pl.read_csv(
            io.BytesIO(text.encode()),
            separator=separator,
            decimal_comma=decimal_comma,
            infer_schema_length=None,
            null_values=list(MISSING),
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(_unreadable(text, separator, len(names), path)) from error
    if frame.width != len(names):
        raise DataError(_unreadable(text, separator, len(names), path))
    frame.columns = names
    frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    if frame.height == 0:
        raise DataError(f"{path} must have rows below its header, but has none")
    return frame


def _unreadable(text: str, separator: str, num_columns: int, path: Path) -> str:
    """Return what is wrong with a file whose lines do not fit its header."""
    reader = csv.reader(io.StringIO(text), delimiter=separator)
    for row in reader:
        if len(row) > num_columns:
            return (
                f"{path}: line {reader.line_num} must have {num_columns} fields as the header has, got {len(row)}; "
                "quote texts that hold the separator, and write decimals with a point"
            )
    return f"{path}: lines must be separated by {_named(separator)} and quotes closed; look for an unclosed quote"
