"""How a file of rows is written: separator, decimal mark, encoding, what stands above the rows; and what was read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from werkbund.core.errors import ConfigError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar", " ": "blanks"}
"""Separators that are found out, in words."""


@dataclass(frozen=True)
class Dialect:
    """Say how a file is written; what is None is found out from the file.

    Parameters
    ----------
    separator
        One ASCII character between fields; a blank stands for any number of blanks and tabs.
    decimal_comma
        Whether decimals are written 42,8; thousands are then parted by points, else by commas.
    encoding
        As Python names it, such as "utf-8" or "cp1252".
    skip
        Lines above the header, or above the first row where there is none.
    header
        Whether the columns have a line of names; else they are called column_1, column_2 and so on.
    units_row
        Whether the line beneath the header holds units.
    sheet
        Of a workbook: the sheet's name.
    """

    separator: str | None = None
    decimal_comma: bool | None = None
    encoding: str | None = None
    skip: int | None = None
    header: bool | None = None
    units_row: bool | None = None
    sheet: str | None = None

    def __post_init__(self) -> None:
        mark = self.separator
        if mark is not None and (len(mark) != 1 or not mark.isascii() or mark in '"\n\r'):
            raise ConfigError(f"separator must be one ASCII character other than a quote, got {mark!r}")
        if self.encoding is not None and not _is_encoding(self.encoding):
            raise ConfigError(f"encoding must be one that Python knows, such as cp1252, got {self.encoding!r}")
        if self.skip is not None and self.skip < 0:
            raise ConfigError(f"skip must be a number of lines, got {self.skip}")

    def said(self) -> dict[str, str | int | bool]:
        """Return what is not left open, by its key in a configuration."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def common(self, other: Dialect) -> Dialect:
        """Return what both say alike."""
        own, its = asdict(self), asdict(other)
        return Dialect(**{name: value for name, value in own.items() if value == its[name]})


KEYS: tuple[str, ...] = tuple(each.name for each in fields(Dialect))
"""Names of what a dialect says, which are keys of a configuration too."""


def dialect_of(section: object) -> Dialect:
    """Return what a section of a configuration says of how files are written."""
    return Dialect(**{key: getattr(section, key) for key in KEYS})


@dataclass(frozen=True)
class Remark:
    """Say what became of values that could not be taken as they stand.

    Parameters
    ----------
    column
        Which; empty for the whole file.
    message
        For people.
    rows
        Number of values concerned.
    """

    column: str
    message: str
    rows: int = 0


@dataclass(frozen=True)
class Reading:
    """Say how a file was read.

    Parameters
    ----------
    dialect
        With nothing left open that the file has.
    units
        Units that the line beneath the header names, by column.
    remarks
        What was done beyond taking values as they stand.
    """

    dialect: Dialect = field(default_factory=Dialect)
    units: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()

    def sentence(self) -> str:
        """Return in one line how the file is written; empty for one that says so itself.

        Examples
        --------
        >>> dialect = Dialect(";", True, "cp1252", 2, True, True)
        >>> Reading(dialect, {"speed": "1/min", "oil": "degC"}).sentence()
        'semicolon, decimal comma, cp1252, 2 lines above the header, units row: 1/min, degC'
        """
        dialect, parts = self.dialect, []
        if dialect.separator is not None:
            parts.append(named(dialect.separator))
        if dialect.sheet is not None:
            parts.append(f"sheet {dialect.sheet!r}")
        if dialect.decimal_comma is not None:
            parts.append("decimal comma" if dialect.decimal_comma else "decimal point")
        parts += [dialect.encoding] if dialect.encoding else []
        if dialect.skip:
            lines = "1 line" if dialect.skip == 1 else f"{dialect.skip} lines"
            parts.append(f"{lines} above the {'first row' if dialect.header is False else 'header'}")
        parts += ["no header"] if dialect.header is False else []
        parts += [f"units row: {', '.join(self.units.values())}"] if dialect.units_row else []
        return ", ".join(parts)

    def to_json(self) -> dict[str, object]:
        """Return what was read as a JSON object, for the run's folder."""
        return {
            "dialect": self.dialect.said(),
            "sentence": self.sentence(),
            "units": dict(self.units),
            "remarks": [asdict(remark) for remark in self.remarks],
        }


def dialect_of_run(folder: Path) -> Dialect:
    """Return how the file was written that a run was trained on; nothing where its folder does not say."""
    try:
        told = json.loads((folder / "run.json").read_bytes())["data"]["reading"]["dialect"]
        return Dialect(**{key: told[key] for key in KEYS if key in told})
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        return Dialect()


def named(separator: str) -> str:
    """Return a separator in words."""
    return SEPARATORS.get(separator, repr(separator))


def _is_encoding(name: str) -> bool:
    try:
        return isinstance(b"".decode(name), str)
    except (LookupError, UnicodeError):
        return False
