"""A plant's columns under the federation's names and units."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import polars as pl

from werkbund.core.errors import ConfigError
from werkbund.data.conversion import Measure, convert_as
from werkbund.data.dialect import Remark
from werkbund.data.markers import Marker, marked
from werkbund.data.names import nearest
from werkbund.data.table import Origin
from werkbund.data.units import standard_unit


class OwnColumn(Protocol):
    """How a plant has one of the federation's columns."""

    @property
    def column(self) -> str | None:
        """The plant's name; None for the same, empty where it has none."""
        ...

    @property
    def unit(self) -> Measure | None:
        """What the plant measures in, as for `convert_as`; None for the federation's unit."""
        ...

    @property
    def missing(self) -> Sequence[Marker]:
        """Marks that stand for no reading, in the plant's unit."""
        ...


def own_name(name: str, columns: Mapping[str, OwnColumn]) -> str:
    """Return the plant's name of one of the federation's columns; empty where it has none."""
    mapping = columns.get(name)
    return name if mapping is None or mapping.column is None else mapping.column


def own_column(frame: pl.DataFrame, name: str, mapping: OwnColumn | None, declared: str) -> pl.Series:
    """Return a plant's column under the federation's name and in its unit.

    Parameters
    ----------
    frame
        The plant's rows.
    name, declared
        The federation's name and unit.
    mapping
        How the plant has it; None for the same name and unit.

    Raises
    ------
    ConfigError
        If it cannot be converted.
    """
    if mapping is None:
        return frame.get_column(name)
    if mapping.column == "":
        return pl.Series(name, [None] * frame.height, pl.Null)
    column = frame.get_column(own_name(name, {name: mapping})).alias(name)
    if mapping.missing:
        column = _emptied(column, mapping.missing)
    if mapping.unit is None:
        return column
    try:
        return convert_as(column, mapping.unit, declared)
    except ConfigError as error:
        raise ConfigError(f"columns.{quoted(name)}: {error}") from error


def mapped(
    frame: pl.DataFrame, columns: Mapping[str, OwnColumn], units: Mapping[str, str], client: str
) -> pl.DataFrame:
    """Return a client's rows with its columns renamed and converted; columns that are not mentioned stay.

    Parameters
    ----------
    columns
        By the federation's name.
    units
        Those that the federation declares, by its names.
    client
        For messages.

    Raises
    ------
    ConfigError
        If a column that is named is not there.
    """
    renamed = {}
    for name, mapping in columns.items():
        own = own_name(name, columns)
        if own and own not in frame.columns:
            raise ConfigError(
                f"data.map.{quoted(client)}.{quoted(name)} must name a column of that client, got {own!r}"
                f"{nearest(own, frame.columns)}; an empty text says that it has none"
            )
        renamed[name] = own_column(frame, name, mapping, units.get(name, ""))
    taken = {own_name(name, columns) for name in columns} | set(renamed)
    return pl.DataFrame([*frame.select(pl.exclude(*taken) if taken else pl.all()), *renamed.values()])


def in_units(frame: pl.DataFrame, origin: Origin, declared: Mapping[str, str]) -> tuple[pl.DataFrame, Origin]:
    """Return rows in the units that are declared, where the file's own line of units names others.

    Parameters
    ----------
    declared
        By column; an empty text where none is.
    """
    for name, unit in origin.reading.units.items():
        to = declared.get(name, "")
        if name not in frame.columns or not to or standard_unit(unit) == standard_unit(to):
            continue
        frame = frame.with_columns(convert_as(frame[name], unit, to))
        remark = Remark(name, f"Converted from {unit}, as its units row says, to {to}.", frame.height)
        origin = replace(origin, reading=replace(origin.reading, remarks=(*origin.reading.remarks, remark)))
    return frame, origin


def quoted(text: str) -> str:
    """Return a name in quotes, as it is written in TOML."""
    return json.dumps(text, ensure_ascii=False)


def _emptied(column: pl.Series, marks: Sequence[Marker]) -> pl.Series:
    if not column.dtype.is_numeric():
        raise ConfigError(
            f"columns.{quoted(column.name)} must hold numbers to have marks for missing readings, got {column.dtype}; "
            "drop missing there"
        )
    return column.set(pl.Series(marked(column.cast(pl.Float64).fill_null(math.nan).to_numpy(), marks)), None)
