"""How the lines of a text, or the rows of a sheet, become a table: separator, header, units, first row."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from werkbund.core.errors import DataError
from werkbund.data.cells import MISSING, QUALITY, as_numbers, plain_numbers, shows_comma
from werkbund.data.dialect import SEPARATORS, Dialect, named
from werkbund.data.units import is_unit

SAMPLE = 5000  # lines
_MOSTLY = 0.9  # of a column's values that must be numbers
_NUMBER = re.compile(r"[+\-−]?(\d[\d.,'’\xa0\u202f ]*|[.,]\d+)([eE][+-]?\d+)?%?")
_TWO_NUMBERS = re.compile(r"\d\s+[+\-−]?\d")
_DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}")
_BRACKETS = re.compile(r"[\[(](.*)[\])]")
_NO_UNIT = {"", "-", "--", "–"}

Rows = Sequence[tuple[int, list[str]]]
"""Rows that are not blank: the number of lines above each, and its fields."""


@dataclass(frozen=True)
class Outline:
    """Say where in a text or sheet the columns are.

    Parameters
    ----------
    dialect
        How it is written, with nothing left open.
    names
        Of the columns.
    units
        By column, those that a line beneath the header names.
    first
        Lines above the first row.
    width
        Fields of most rows.
    """

    dialect: Dialect
    names: tuple[str, ...]
    units: dict[str, str]
    first: int
    width: int


def outline_of(lines: Sequence[str], asked: Dialect, usual: Dialect, path: Path) -> Outline:
    """Return how the first lines of a text are laid out.

    Parameters
    ----------
    lines
        Without line ends.
    asked
        What is known already.
    usual
        What is taken where the lines do not tell.
    path
        For messages.

    Raises
    ------
    DataError
        If header and rows do not fit together, or a name occurs twice.
    """
    marks = dict.fromkeys([asked.separator] if asked.separator else [usual.separator or ",", *SEPARATORS])
    candidates = {mark: rows_of(lines, mark, asked.skip or 0) for mark in marks}
    separator = max(candidates, key=lambda mark: _fit(candidates[mark], mark))
    if asked.separator and _width(candidates[separator]) < 2:
        _check_separator(lines, separator, path)
    return outline_of_rows(candidates[separator], replace(asked, separator=separator), usual, path)


def _check_separator(lines: Sequence[str], separator: str, path: Path) -> None:
    """Refuse a separator that was asked for and is in no line, where another one fits."""
    others = {mark: _fit(rows_of(lines, mark), mark) for mark in SEPARATORS if mark != separator}
    likely = max(others, key=lambda mark: others[mark])
    if others[likely][0]:
        raise DataError(
            f"{path}: columns must be separated by {named(separator)}, but no line holds it; they look separated by "
            f"{named(likely)}: set data.separator to {likely!r}, or leave it out"
        )


def outline_of_rows(rows: Rows, asked: Dialect, usual: Dialect, path: Path) -> Outline:
    """Return where header, units and first row are among rows of fields; see `outline_of`."""
    width = _width(rows)
    start = 0 if asked.skip is not None else _start(rows, width, path)
    body = [fields for _, fields in rows[start + 1 :]]
    numeric = _numeric(body, width)
    header = asked.header if asked.header is not None else not _is_row(rows[start][1], numeric)
    if not header and asked.skip is None:
        _check_above(rows, start, width, path)
    fields = rows[start][1] if header else []
    names = _names(fields, width, path)
    below = start + 1 if header else start
    units = {} if asked.units_row is False or below >= len(rows) else _units(rows[below][1], names, numeric, asked)
    has_units = bool(units) if asked.units_row is None else asked.units_row
    below += int(has_units)
    known = [fields for _, fields in rows[below:]]
    dialect = replace(
        asked,
        decimal_comma=asked.decimal_comma
        if asked.decimal_comma is not None
        else _decimal_comma(known, asked.separator, usual),
        skip=rows[start][0] if asked.skip is None else asked.skip,
        header=header,
        units_row=has_units,
    )
    first = rows[below][0] if below < len(rows) else rows[-1][0] + 1
    return Outline(dialect, names, {name: unit for name, unit in units.items() if unit}, first, width)


def rows_of(lines: Sequence[str], separator: str, skip: int = 0) -> Rows:
    """Return the rows of lines that are not blank, each with the number of lines above it."""
    if separator == " ":
        found = [(number, line.split()) for number, line in enumerate(lines[skip:], skip)]
        return [(number, fields) for number, fields in found if fields]
    reader = csv.reader([line + "\n" for line in lines[skip:]], delimiter=separator)
    rows, above = [], skip
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                rows.append((above, [field.strip() for field in fields]))
            above = skip + reader.line_num
    except csv.Error:  # an unclosed quote
        pass
    return rows


def _width(rows: Rows) -> int:
    """Return how many fields most rows have; of two numbers the larger."""
    counts = Counter(len(fields) for _, fields in rows)
    return max(counts, key=lambda width: (counts[width], width)) if counts else 0


def _fit(rows: Rows, separator: str) -> tuple[bool, float, int]:
    """Return how well a separator fits: by the share of rows that are alike, and of fields that hold no other."""
    width = _width(rows)
    if width < 2:
        return False, 0.0, 0
    alike = [fields for _, fields in rows if len(fields) == width]
    cells = [cell for fields in alike[:200] for cell in fields]
    clean = sum(_is_clean(cell, separator) for cell in cells) / len(cells)
    return True, round(clean * len(alike) / len(rows), 2), width


def _is_clean(cell: str, separator: str) -> bool:
    """Return whether a field looks like one: a number, or a text without another separator in it."""
    if _NUMBER.fullmatch(cell) and not _TWO_NUMBERS.search(cell):
        return True
    others = [mark for mark in SEPARATORS if mark not in (" ", separator)]
    return not any(mark in cell for mark in others) and (not _TWO_NUMBERS.search(cell) or bool(_DATE.match(cell)))


def _start(rows: Rows, width: int, path: Path) -> int:
    """Return the place of the header, or of the first row: the first that is as wide as most."""
    if not rows:
        raise DataError(f"{path} must have a header and rows, but is empty")
    if width < 2:
        return 0
    trailing = all(fields[-1] == "" for _, fields in rows if len(fields) == width)
    for place, (_, fields) in enumerate(rows):
        whole = len(fields) >= width or (trailing and len(fields) == width - 1)
        if whole and 2 * sum(field != "" for field in fields) >= width:
            return place
    return 0


def _numeric(body: Sequence[Sequence[str]], width: int) -> list[bool]:
    """Return which columns hold numbers in nearly all rows."""
    found = []
    for place in range(width):
        known = [row[place] for row in body if place < len(row) and row[place] not in MISSING]
        known = [cell for cell in known if cell.lower() not in QUALITY]
        numbers = sum(_NUMBER.fullmatch(cell) is not None for cell in known)
        found.append(bool(known) and numbers >= _MOSTLY * len(known))
    return found


def _is_row(fields: Sequence[str], numeric: Sequence[bool]) -> bool:
    """Return whether a line holds numbers where the lines below do, so that it is no header."""
    cells = [cell for cell, is_number in zip(fields, numeric, strict=False) if is_number and cell]
    numbers = [cell for cell in cells if _NUMBER.fullmatch(cell)]
    counted = all(cell.isdigit() for cell in fields) and [int(cell) for cell in fields] in (
        list(range(len(fields))),
        list(range(1, len(fields) + 1)),
    )
    return len(numbers) > len(cells) // 2 and not counted


def _check_above(rows: Rows, start: int, width: int, path: Path) -> None:
    """Refuse a line of names right above the rows that has another number of fields than they have."""
    if start == 0:
        return
    fields = rows[start - 1][1]
    if len(fields) > 1 and all(fields) and not any(_NUMBER.fullmatch(field) for field in fields):
        raise DataError(
            f"{path}: line {rows[start][0] + 1} must have {len(fields)} fields as the header has, got {width}; "
            "quote texts that hold the separator, and decimals that are written with a comma"
        )


def _names(fields: Sequence[str], width: int, path: Path) -> tuple[str, ...]:
    """Return the columns' names in one Unicode form; a nameless column is called column_<position>."""
    texts = pl.Series("name", fields, pl.String).str.normalize("NFC").to_list()
    names = [text.strip() or f"column_{place}" for place, text in enumerate(texts, 1)]
    names += [f"column_{place}" for place in range(len(names) + 1, width + 1)]
    if names:
        names[0] = names[0].lstrip("# ") or names[0]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        listed = ", ".join(map(repr, twice))
        raise DataError(f"{path}: column names must differ, got {listed} more than once; rename them")
    return tuple(names)


def _units(fields: Sequence[str], names: Sequence[str], numeric: Sequence[bool], asked: Dialect) -> dict[str, str]:
    """Return the units that a line beneath the header names; none where it is a row like others."""
    bare = [bracketed[1] if (bracketed := _BRACKETS.fullmatch(field)) else field for field in fields]
    units = {name: "" if unit.strip() in _NO_UNIT else unit.strip() for name, unit in zip(names, bare, strict=False)}
    if asked.units_row:
        return units
    of_numbers = [unit for unit, is_number in zip(bare, numeric, strict=False) if is_number and unit not in _NO_UNIT]
    known = [unit for unit in of_numbers if unit.lower() not in QUALITY and (unit == "1" or is_unit(unit))]
    plain = [unit for unit in known if unit != "1"]
    others = [field for field, is_number in zip(fields, numeric, strict=False) if not is_number]
    beside = all(field in _NO_UNIT or _BRACKETS.fullmatch(field) or is_unit(field) for field in others)
    return units if plain and 2 * len(known) > len(of_numbers) and beside else {}


def _decimal_comma(body: Sequence[Sequence[str]], separator: str | None, usual: Dialect) -> bool:
    """Return whether decimals are written with a comma: by the columns that show it, else as is usual."""
    width = max((len(row) for row in body), default=0)
    columns = [[row[place] if place < len(row) else "" for row in body] for place in range(width)]
    marked = [column for column in columns if any("," in cell or "." in cell for cell in column)]  # others show neither
    plain = [plain_numbers(pl.Series("cells", column, pl.String)) for column in marked]
    votes = [shows_comma(column) for column in plain if _are_numbers(column)]
    if votes.count(True) != votes.count(False):
        return votes.count(True) > votes.count(False)
    if usual.decimal_comma is not None:
        return usual.decimal_comma
    return separator == ";" and any(map(_hints_at_comma, plain))


def _are_numbers(plain: pl.Series) -> bool:
    known = plain.filter(~plain.is_in(MISSING) & ~plain.str.to_lowercase().is_in(list(QUALITY)))
    most = max(len(as_numbers(known, comma).drop_nulls()) for comma in (True, False))
    return len(known) > 0 and most >= _MOSTLY * len(known)


def _hints_at_comma(plain: pl.Series) -> bool:
    """Return whether numbers that can be read either way rather have a decimal comma, as where they part thousands.

    Numbers such as 950 beside 1.050 have points between thousands; where all have a comma before three digits, it is
    a decimal one.
    """
    known = plain.filter(plain.str.contains(r"^[+-]?\d[\d.,]*$"))
    points, commas = (known.filter(known.str.contains(mark, literal=True)) for mark in ".,")
    if len(points) and points.str.contains(r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$").all():
        return len(points) < len(known)
    return 0 < len(commas) == len(known)
