"""The rows of a delimited text as columns of numbers and texts."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import polars as pl

from werkbund.core.errors import DataError
from werkbund.data.cells import read_cells
from werkbund.data.dialect import Dialect, Reading, Remark, named
from werkbund.data.layout import SAMPLE, Outline, outline_of


def parse(text: str, asked: Dialect, usual: Dialect, path: Path) -> tuple[pl.DataFrame, Reading]:
    """Return the rows of a text, and how it is written; lines without any value are left out.

    Parameters
    ----------
    text
        With line feeds alone at line ends.
    asked, usual
        What is known of its dialect, and what is taken where the text does not tell.
    path
        For messages.

    Raises
    ------
    DataError
        If there is no row, or a line has more fields than the header.
    """
    text, mark = _without_mark(text)
    asked = replace(asked, separator=asked.separator or mark)
    outline = outline_of(text.split("\n", SAMPLE)[:SAMPLE], asked, usual, path)
    frame = _frame(_below(text, outline.first), outline, path)
    return taken(frame, outline, path)


def _without_mark(text: str) -> tuple[str, str | None]:
    """Return a text without a first line such as `sep=;`, and the separator that it names."""
    first, _, rest = text.partition("\n")
    bare = first.strip().strip('"')
    return (rest, bare[4]) if len(bare) == 5 and bare.lower().startswith("sep=") else (text, None)


def _below(text: str, lines: int) -> str:
    """Return a text without its first lines."""
    start = 0
    for _ in range(lines):
        found = text.find("\n", start)
        if found < 0:
            return ""
        start = found + 1
    return text[start:]


def _frame(body: str, outline: Outline, path: Path) -> pl.DataFrame:
    """Return the rows below the header, numbers as such where all of a column are plain ones."""
    dialect, names = outline.dialect, outline.names
    separator = str(dialect.separator)
    if separator == " ":
        body = "\n".join(" ".join(line.split()) for line in body.split("\n"))
    columns = [str(place) for place in range(max(len(names), outline.width))]
    try:
        frame = pl.read_csv(
            io.BytesIO((separator.join(columns) + "\n" + body).encode()),
            separator=separator,
            decimal_comma=bool(dialect.decimal_comma) and separator != ",",
            infer_schema_length=0 if dialect.decimal_comma and separator == "," else None,
            null_values="",
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(_unreadable(body, outline, len(columns), path)) from error
    if frame.width != len(columns):
        raise DataError(_unreadable(body, outline, len(columns), path))
    spare = frame.columns[len(names) :]
    if any(frame[name].null_count() < frame.height for name in spare):
        raise DataError(_unreadable(body, outline, len(names), path))
    frame = frame.drop(spare)
    frame.columns = list(names)
    return frame


def taken(frame: pl.DataFrame, outline: Outline, path: Path) -> tuple[pl.DataFrame, Reading]:
    """Return a frame with numbers where texts are such, without empty rows and nameless empty columns."""
    remarks: list[Remark] = []
    columns = []
    for column in frame.iter_columns():
        values, remark = _values(column, bool(outline.dialect.decimal_comma))
        columns.append(values)
        remarks += [remark] if remark else []
    read = pl.DataFrame(columns).filter(~pl.all_horizontal(pl.all().is_null())) if columns else frame
    if read.height == 0:
        raise DataError(f"{path} must have rows below its header, but has none")
    empty = [
        name
        for place, name in enumerate(read.columns, 1)
        if outline.dialect.header and name == f"column_{place}" and read[name].null_count() == read.height
    ]
    remarks += [Remark(name, "It has neither a name nor a value, and is left out.") for name in empty]
    return read.drop(empty), Reading(outline.dialect, outline.units, tuple(remarks))


def _values(column: pl.Series, decimal_comma: bool) -> tuple[pl.Series, Remark | None]:
    if column.dtype == pl.String:
        return read_cells(column, decimal_comma)
    odd = int((~column.is_finite()).sum()) if column.dtype.is_float() else 0
    message = f"{odd} of {len(column)} values are not finite (NaN, inf) and count as missing."
    return column, Remark(column.name, message, odd) if odd else None


def _unreadable(body: str, outline: Outline, num_columns: int, path: Path) -> str:
    """Return what is wrong with a file whose lines do not fit its header."""
    separator = str(outline.dialect.separator)
    reader = csv.reader(io.StringIO(body), delimiter=separator)
    for row in reader:
        if len(row) > num_columns:
            return (
                f"{path}: line {outline.first + reader.line_num} must have {num_columns} fields as the header has, got "
                f"{len(row)}; quote texts that hold the separator, and decimals that are written with a comma"
            )
    return f"{path}: fields must be separated by {named(separator)} and quotes closed; look for an unclosed quote"
