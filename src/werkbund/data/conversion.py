"""From the unit that a plant measures in to the unit that a federation agreed on.

Units are read as engineers write them: Nm is a torque, C a temperature, PS a power. Where a spelling has two
meanings, the one that the other unit asks for is taken. A speed of rotation may be given in revolutions a minute, in
revolutions a second (1/s, Hz) or as an angle a second (rad/s): one revolution is 2π rad.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from werkbund.core.errors import ConfigError, DataError
from werkbund.core.text import did_you_mean
from werkbund.data.table import Table
from werkbund.data.units import standard_unit

if TYPE_CHECKING:
    import pint

Measure = str | float | Sequence[str]
"""How readings were measured: a unit, two units (as it was and as it shall be), or a factor; see `convert_as`."""

_SPELLINGS: dict[str, tuple[str, ...]] = {
    "c": ("degC", "coulomb"),
    "°c": ("degC",),
    "degc": ("degC",),
    "celsius": ("degC",),
    "f": ("degF", "farad"),
    "°f": ("degF",),
    "degf": ("degF",),
    "fahrenheit": ("degF",),
    "°k": ("kelvin",),
    "kelvin": ("kelvin",),
    "g": ("gram", "standard_gravity"),
    "rpm": ("revolution / minute",),
    "u/min": ("revolution / minute",),
    "rev/min": ("revolution / minute",),
    "rps": ("revolution / second",),
    "rev/s": ("revolution / second",),
    "u/s": ("revolution / second",),
    "ohm": ("ohm",),
    "fractionsof1": ("dimensionless",),
    "1": ("dimensionless",),
}
"""A spelling without blanks, in small letters -> what it may mean, the likelier first."""

_CASED: dict[str, tuple[str, ...]] = {"PS": ("metric_horsepower",), "ps": ("picosecond",)}
"""Spellings of which only the letters' size tells the meaning; these come before the others."""

_NEWTON = re.compile(r"(?<![A-Za-zµμ])([kMGmµμ]?)N([mcdk]?m)(?![A-Za-z0-9²³])")
_POWER = re.compile(r"([A-Za-zµμΩ])(-?\d)")

_NUMBER_TO_A_POWER = re.compile(r"[\d)]\s*(\*\*|\^|[⁰¹²³⁴⁵⁶⁷⁸⁹])")
"""No unit, and perhaps very long to compute."""


def convert(column: pl.Series, unit: str, to: str) -> pl.Series:
    """Return a column of numbers in another unit.

    Parameters
    ----------
    column
        (rows,), numbers; nulls stay nulls.
    unit
        What the values are measured in, such as "degC", "1/min" or "kNm".
    to
        What they shall be in.

    Returns
    -------
    converted
        (rows,), Float64; the column itself, to the last bit, where both are the same unit.

    Raises
    ------
    ConfigError
        If a unit is not known, or the two measure different things.
    DataError
        If the column holds no numbers.

    Examples
    --------
    >>> convert(pl.Series("air", [25.0, None]), "°C", "K").to_list()
    [298.15, None]
    >>> convert(pl.Series("speed", [25.0]), "1/s", "rpm").to_list()
    [1500.0]
    """
    if unit.strip() == to.strip():
        return column
    source, target = _pair(column.name, unit, to)
    if source == target:
        return column
    if not (column.dtype.is_numeric() or column.dtype == pl.Null):
        raise DataError(
            f"column {column.name!r} must hold numbers to be converted from {unit} to {to}, got {column.dtype}; "
            "mend the values that are no numbers, or drop the unit"
        )
    values = column.cast(pl.Float64).to_numpy()  # a null becomes NaN
    converted = np.asarray(_registry().Quantity(values, source).to(target).magnitude, dtype=np.float64)
    return pl.Series(column.name, converted).fill_nan(None)


def convert_as(column: pl.Series, measure: Measure, declared: str) -> pl.Series:
    """Return a column in the unit that is declared for it, by what is said of how it was measured.

    Parameters
    ----------
    column
        As for `convert`.
    measure
        The unit that it was measured in; or two, as it was measured and as it shall be, where none is declared; or a
        factor by which its numbers are multiplied.
    declared
        The unit of the column, or empty.

    Raises
    ------
    ConfigError, DataError
        As for `convert`.

    Examples
    --------
    >>> convert_as(pl.Series("air", [298.15]), ["K", "°C"], "").to_list()
    [25.0]
    """
    if isinstance(measure, int | float):
        if not column.dtype.is_numeric():
            raise DataError(f"column {column.name!r} must hold numbers to be multiplied, got {column.dtype}")
        return column.cast(pl.Float64) * float(measure)
    unit, to = (measure, declared) if isinstance(measure, str) else measure
    if not to and unit.strip():
        raise ConfigError(
            f"column {column.name!r} must have a declared unit to be converted from {unit!r}; write both, as in "
            f'["{unit}", "..."], or declare it under data.columns'
        )
    if declared and standard_unit(to) != standard_unit(declared):
        raise ConfigError(f"column {column.name!r} must be converted to its declared unit {declared!r}, got {to!r}")
    return convert(column, unit, to)


def in_declared_units(table: Table, measures: Mapping[str, Mapping[str, Measure]]) -> Table:
    """Return a table in which each client's readings are in the units that are declared for all.

    Parameters
    ----------
    table
        In the units that clients measure in; its schema names the column with the client.
    measures
        By client and column, as for `convert_as`; what is not mentioned is in the declared unit.

    Raises
    ------
    ConfigError
        If a client or column is not known, or cannot be converted.
    """
    clients = table.clients
    units = {column.name: column.unit for column in table.schema.features if column.kind == "number"}
    _require_known("data.units must name clients", measures, clients.unique().drop_nulls())
    frame = table.frame
    for name, columns in measures.items():
        _require_known(f"data.units.{name} must name number columns", columns, units)
        rows = clients.eq_missing(pl.Series([name]))
        for column, measure in columns.items():
            values = frame[column].cast(pl.Float64).to_numpy(writable=True)
            values[rows.to_numpy()] = convert_as(frame[column].filter(rows), measure, units[column]).to_numpy()
            frame = frame.with_columns(pl.Series(column, values).fill_nan(None))
    return replace(table, frame=frame)


def _require_known(rule: str, names: Iterable[str], known: Iterable[str]) -> None:
    there = list(known)
    for name in names:
        if name not in there:
            raise ConfigError(f"{rule} of the table, got {name!r}{did_you_mean(name, there)}")


def _pair(name: str, unit: str, to: str) -> tuple[pint.Unit, pint.Unit]:
    """Return the two units, read so that one can become the other."""
    readings = [_readings(spelling) for spelling in (unit, to)]
    for spelling, units in zip((unit, to), readings, strict=True):
        if not units:
            raise ConfigError(
                f"unit of column {name!r} must be one that is known, got {spelling!r}; write it as in kN*m, "
                "m/s**2 or 1/min"
            )
    for source, target in product(*readings):
        pair = _as_revolutions(source, target)
        if pair[0].dimensionality == pair[1].dimensionality and _angular(pair[0]) == _angular(pair[1]):
            return pair
    raise ConfigError(
        f"column {name!r} cannot be converted from {unit} to {to}: they measure different things "
        f"({readings[0][0].dimensionality} and {readings[1][0].dimensionality}); correct the unit"
    )


@cache
def _registry() -> pint.UnitRegistry[Any]:
    from pint import UnitRegistry  # slow to import, and most tables have the units that were learnt

    return UnitRegistry()


@cache
def _readings(spelling: str) -> tuple[pint.Unit, ...]:
    """Return what a spelling may mean, none where nothing is known."""
    bare = "".join(spelling.split())
    meanings = _CASED.get(bare) or _SPELLINGS.get(bare.lower())
    if meanings:
        return tuple(_registry().parse_units(meaning) for meaning in meanings)
    torque = _NEWTON.sub(r"\1newton*\2", spelling.strip().replace("·", "*").replace("Ohm", "ohm"))
    return _parsed(torque) or _parsed(_POWER.sub(r"\1**\2", torque))


def _parsed(text: str) -> tuple[pint.Unit, ...]:
    if _NUMBER_TO_A_POWER.search(text):
        return ()
    try:
        return (_registry().parse_units(text),)
    except Exception:  # the parser has no error of its own for all that is no unit
        return ()


def _as_revolutions(source: pint.Unit, target: pint.Unit) -> tuple[pint.Unit, pint.Unit]:
    """Read a plain frequency as revolutions where the other unit is an angle a time."""
    revolution = _registry().Unit("revolution")
    if _angular(source) and _frequency(target):
        return source, target * revolution
    if _angular(target) and _frequency(source):
        return source * revolution, target
    return source, target


def _angular(unit: pint.Unit) -> bool:
    return "radian" in str(_registry().get_root_units(unit)[1])


def _frequency(unit: pint.Unit) -> bool:
    return bool(unit.dimensionality == {"[time]": -1}) and not _angular(unit)
