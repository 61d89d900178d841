"""How a delimited file is written that nobody described: its separator and its decimal mark."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from werkbund.data.delimited import DELIMITERS, MISSING, decode

PARQUET = (".parquet", ".pq")

_SAMPLE = 5000  # lines
_NUMBER = {mark: re.compile(rf"[+-]?\d+(?:{re.escape(mark)}\d+)?(?:[eE][+-]?\d+)?") for mark in ",."}
_MOST = 0.9  # share of a column's values that must be numbers: a sensor also writes texts when it fails


@dataclass(frozen=True)
class Dialect:
    """Say how a delimited file is written.

    Parameters
    ----------
    separator
        One character between fields.
    decimal_comma
        Whether decimals are written with a comma.
    """

    separator: str = ","
    decimal_comma: bool = False


def dialect_of(path: Path) -> Dialect:
    """Return how a file is written; the usual dialect for Parquet, and for a file that is not there.

    Raises
    ------
    DataError
        If the file is empty or no UTF-8 text.
    """
    if path.suffix.lower() in PARQUET or not path.is_file():
        return Dialect()
    lines = decode(path.read_bytes(), path).split("\n", _SAMPLE)[:_SAMPLE]
    separator = max(DELIMITERS, key=lambda mark: _fit(lines, mark))
    return Dialect(separator, separator != "," and _has_decimal_commas(lines, separator))


def _fit(lines: Sequence[str], separator: str) -> tuple[bool, float, int]:
    """Return how well a separator fits: whether the header holds it, the share of lines like it, its fields."""
    widths = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
    header = widths[0]
    alike = sum(width == header for width in widths) / len(widths)
    return header > 1, alike, header


def _has_decimal_commas(lines: Sequence[str], separator: str) -> bool:
    rows = [row for row in csv.reader(lines, delimiter=separator) if row]
    body = [row for row in rows[1:] if len(row) == len(rows[0])]
    columns = list(zip(*body, strict=True))
    with_commas, with_points = (sum(_has_decimals(column, mark) for column in columns) for mark in ",.")
    return with_commas > with_points


def _has_decimals(column: Sequence[str], mark: str) -> bool:
    """Return whether a column holds numbers, some of them with decimals behind this mark."""
    known = [value.strip() for value in column if value.strip() not in MISSING]
    numbers = [value for value in known if _NUMBER[mark].fullmatch(value)]
    return len(numbers) >= _MOST * max(len(known), 1) and any(mark in value for value in numbers)
