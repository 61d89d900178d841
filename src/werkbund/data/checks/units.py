"""Units that were probably mixed up: a whole column, or one client among the others.

A value is suspect if a known conversion moves it from outside to inside of where it should be. Where a column has
a plausible range, that is the range; where it has none, it is what the other clients measure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from werkbund.core.arrays import Float64Array
from werkbund.data.checks.finding import Finding, numbers
from werkbund.data.schema import Column
from werkbund.data.table import Table


@dataclass(frozen=True)
class Conversion:
    """Turn a value in another unit into the declared one: `scale * value + offset`."""

    other: str
    scale: float
    offset: float = 0.0

    def apply(self, value: float) -> float:
        """Return the value in the declared unit."""
        return self.scale * value + self.offset


CONVERSIONS: dict[str, tuple[Conversion, ...]] = {
    "K": (Conversion("°C", 1.0, 273.15), Conversion("°F", 5 / 9, 273.15 - 160 / 9)),
    "°C": (Conversion("K", 1.0, -273.15), Conversion("°F", 5 / 9, -160 / 9)),
    "rpm": (Conversion("1/s", 60.0), Conversion("rad/s", 30 / math.pi)),
    "1/s": (Conversion("rpm", 1 / 60), Conversion("rad/s", 0.5 / math.pi)),
    "Hz": (Conversion("rpm", 1 / 60), Conversion("kHz", 1000.0)),
    "rad/s": (Conversion("rpm", math.pi / 30), Conversion("1/s", 2 * math.pi)),
    "Nm": (Conversion("kNm", 1000.0), Conversion("Ncm", 0.01), Conversion("mNm", 0.001)),
    "kNm": (Conversion("Nm", 0.001),),
    "W": (Conversion("kW", 1000.0), Conversion("hp", 745.7)),
    "kW": (Conversion("W", 0.001), Conversion("MW", 1000.0)),
    "s": (Conversion("min", 60.0), Conversion("ms", 0.001), Conversion("h", 3600.0)),
    "min": (Conversion("s", 1 / 60), Conversion("h", 60.0)),
    "h": (Conversion("min", 1 / 60), Conversion("s", 1 / 3600), Conversion("d", 24.0)),
    "bar": (Conversion("psi", 0.0689476), Conversion("kPa", 0.01), Conversion("Pa", 1e-5), Conversion("MPa", 10.0)),
    "kPa": (Conversion("bar", 100.0), Conversion("psi", 6.89476), Conversion("Pa", 0.001), Conversion("MPa", 1000.0)),
    "Pa": (Conversion("bar", 1e5), Conversion("psi", 6894.76), Conversion("kPa", 1000.0)),
    "mm": (Conversion("in", 25.4), Conversion("m", 1000.0), Conversion("µm", 0.001)),
    "m": (Conversion("mm", 0.001), Conversion("in", 0.0254)),
    "mm/s": (Conversion("in/s", 25.4), Conversion("m/s", 1000.0)),
    "m/s²": (Conversion("g", 9.80665),),
    "g": (Conversion("m/s²", 1 / 9.80665),),
    "A": (Conversion("mA", 0.001), Conversion("kA", 1000.0)),
    "V": (Conversion("mV", 0.001), Conversion("kV", 1000.0)),
    "%": (Conversion("fractions of 1", 100.0),),
}

_SAME = {
    "kelvin": "K",
    "degc": "°C",
    "c": "°C",
    "1/min": "rpm",
    "min-1": "rpm",
    "rev/min": "rpm",
    "n m": "Nm",
    "n·m": "Nm",
    "n*m": "Nm",
    "m/s2": "m/s²",
    "m/s^2": "m/s²",
}

_COLDEST_MACHINE_K = 150.0
_CLOSE = 0.1  # relative distance between medians that a conversion should explain
_FAR = 4.0  # ratio of medians below which plants simply differ


def check_units(table: Table) -> Iterator[Finding]:
    """Yield columns, and clients' shares of them, that look measured in another unit than declared."""
    for feature in table.schema.features:
        unit = _SAME.get(feature.unit.lower(), feature.unit)
        values = numbers(table.frame[feature.name]) if feature.kind == "number" else None
        if values is None or len(values) == 0 or unit not in CONVERSIONS:
            continue
        median = float(np.median(values))
        whole = _suspect(median, unit, *_expected(feature, unit))
        single = [] if table.schema.client is None else _clients(table, table.schema.client, feature, unit)
        if single:
            yield from single
        elif whole is not None:
            yield _finding(feature, median, whole, "", len(values))


def _expected(feature: Column, unit: str) -> tuple[float, float]:
    """Return where a median should lie: the declared range, else what is physically likely."""
    default = _COLDEST_MACHINE_K if unit == "K" else -math.inf
    low = default if feature.low is None else feature.low
    return low, math.inf if feature.high is None else feature.high


def _suspect(median: float, unit: str, low: float, high: float) -> Conversion | None:
    if low <= median <= high:
        return None
    return next((c for c in CONVERSIONS[unit] if low <= c.apply(median) <= high), None)


def _clients(table: Table, client: str, feature: Column, unit: str) -> list[Finding]:
    """Return the clients with another unit than the rest; none if all have it, or none."""
    known = table.frame.select(
        pl.col(client).cast(pl.String).alias("client"), pl.col(feature.name).cast(pl.Float64).alias("value")
    ).drop_nulls()
    grouped = known.group_by("client", maintain_order=True).agg(pl.col("value").median(), pl.len().alias("rows"))
    medians = grouped["value"].to_numpy()
    others = _medians_of_others(medians)
    findings = []
    for index, (name, median, rows) in enumerate(grouped.iter_rows()):
        conversion = _suspect(median, unit, *_expected(feature, unit))
        if conversion is None and len(medians) > 1:
            conversion = _explains(median, float(others[index]), unit)
        if conversion is not None:
            findings.append(_finding(feature, median, conversion, f" at client {name}", rows))
    return findings if len(findings) < len(medians) else []


def _medians_of_others(values: Float64Array) -> Float64Array:
    """Return for each value the median of all the others; for one value alone, itself."""
    if len(values) < 2:
        return values
    order = np.argsort(values, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(values))
    middle = ((len(values) - 2) // 2, (len(values) - 1) // 2)  # places among the others, in ascending order
    low, high = (values[order[place + (place >= rank)]] for place in middle)
    medians: Float64Array = (low + high) / 2
    return medians


def _explains(median: float, others: float, unit: str) -> Conversion | None:
    """Return the conversion that turns a client's median into that of the others, if they are far apart."""
    for conversion in CONVERSIONS[unit]:
        shifted = bool(conversion.offset) and abs(median - others) > 100
        scaled = median * others > 0 and max(median / others, others / median) > _FAR
        converted = conversion.apply(median)
        if (shifted or scaled) and abs(converted - others) <= _CLOSE * abs(others):
            return conversion
    return None


def _finding(feature: Column, median: float, conversion: Conversion, where: str, rows: int) -> Finding:
    message = (
        f"Declared in {feature.unit}, but the median{where} is {median:.4g}, which looks like {conversion.other} "
        f"({conversion.apply(median):.4g} {feature.unit}); convert it or correct the unit."
    )
    return Finding("warning", feature.name, "unit", message, rows)
