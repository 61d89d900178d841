"""Units that differ: a column in another unit than it is declared in, or clients that measure in different ones.

A unit is suspect if a known conversion moves a median from outside to inside of where it should be: the declared
range, or what is physically likely. Between clients it is suspect if a conversion carries one client's middle and
spread onto those of the others. The same is asked of the means and deviations that a server learns from surveys.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from werkbund.core.arrays import Arrays, Float64Array
from werkbund.data.checks.finding import Finding, numbers
from werkbund.data.checks.lines import Lines, PlantLines
from werkbund.data.markers import without_marked
from werkbund.data.plausibility import REMEDY
from werkbund.data.schema import Column, Schema
from werkbund.data.statistics import feature_names, marks_of
from werkbund.data.table import Table
from werkbund.data.units import MISTAKEN, USUAL, Conversion, reverse, standard_unit, unit_of

_COLDEST_MACHINE_K = 150.0
_CLOSE = math.log(1.25)  # of middles that a factor should explain
_ALIKE = math.log(2.0)  # of spreads
_FAR = math.log(2.6)  # below which plants simply differ
_APART = 1.5  # spreads between middles, below which clients overlap
_WARMER = 40.0  # degrees by which plants may differ besides
_WILD = 1e5  # times what others measure, beyond which one reading alone makes a spread
_DIGITS = 1e-9
_THERMAL = re.compile(r"temp|°|therm|wärm|heat|kelvin|celsius|fahrenheit|(^|[\s_])t\d*([\s_]|$)", re.IGNORECASE)
_DEGREES = ("K", "°C", "°F")


@dataclass(frozen=True)
class Suspicion:
    """Say that a client seems to measure in another unit than the others.

    Parameters
    ----------
    place
        Of the client.
    conversion
        What turns its readings into theirs.
    """

    place: int
    conversion: Conversion


def suspicions(name: str, declared: str, middles: Float64Array, spreads: Float64Array) -> list[Suspicion]:
    """Return which clients seem to measure a column in another unit than the others.

    Parameters
    ----------
    name, declared
        Of the column: its header, and its unit or empty.
    middles, spreads
        (clients,), median or mean of each client's readings, and interquartile range or deviation; NaN where unknown.
    """
    known = np.flatnonzero(np.isfinite(middles) & (spreads > 0))
    if len(known) < 2:
        return []
    unit, thermal = standard_unit(declared) or unit_of(name), _THERMAL.search(name) is not None
    likely = _conversions(unit, thermal, both_ways=len(known) > 2)
    usual = zip(_usual(middles[known]).tolist(), _usual(spreads[known]).tolist(), strict=True)
    found = []
    for place, others in zip(known.tolist(), usual, strict=True):
        own = (float(middles[place]), float(spreads[place]))
        if abs(own[0] - others[0]) > min(own[1], others[1]):
            fits = [each for each in likely if _explains(each, own, others, bool(unit) or thermal)]
            found += [Suspicion(place, min(fits, key=lambda each: abs(each.apply(own[0]) - others[0])))] if fits else []
    return found if len(found) <= max(1, (len(known) - 1) // 2) else _likelier(found)


def _usual(values: Float64Array) -> Float64Array:
    """Return what each of two or more values is compared with: the other of two, else the median of all."""
    return values[::-1] if len(values) == 2 else np.full(len(values), np.median(values))


def _likelier(found: Sequence[Suspicion]) -> list[Suspicion]:
    """Return of two clients, each of which may be the one in another unit, the one with the larger readings."""
    return [max(found, key=lambda each: 1 / each.conversion.scale)] if len(found) == 2 else []


def _conversions(unit: str, thermal: bool, both_ways: bool) -> list[Conversion]:
    """Return what may have been mistaken for a unit, the likelier first; for no unit, what usually is."""
    bare = [each for each in USUAL if not each.other]
    if unit:
        own = [*MISTAKEN.get(unit, ())]
        return own + [each for each in (*bare, *map(reverse, bare)) if unit not in _DEGREES]
    usual = [each for each in USUAL if (each.to == "°C" if thermal else each.other != "°F")]
    return usual + [reverse(each) for each in usual if both_ways]


def _explains(conversion: Conversion, own: tuple[float, float], usual: tuple[float, float], known: bool) -> bool:
    """Say whether a conversion turns a client's middle and spread into the others', which they are far from."""
    (middle, spread), (there, width) = own, usual
    converted, ratio = conversion.apply(middle), conversion.scale * spread / width
    if ratio <= 0 or abs(math.log(ratio)) > _ALIKE:
        return False
    if conversion.offset:
        slack = _WARMER if known else max(8.0, width)
        moved = abs(middle - there)
        return moved > _APART * (spread + width) and abs(converted - there) <= min(slack, moved / 3)
    if middle * there <= 0 or abs(math.log(middle / there)) < _FAR:
        return False
    return abs(math.log(converted / there)) <= _CLOSE


def check_units(table: Table, lines: Lines) -> Iterator[Finding]:
    """Yield columns, and clients' shares of them, that look measured in another unit than declared."""
    for feature in table.schema.features:
        values = numbers(table.frame[feature.name]) if feature.kind == "number" else None
        if values is None or len(values) == 0:
            continue
        single = [] if table.schema.client is None else _at_clients(table, table.schema.client, feature, lines)
        if single:
            yield from single
            continue
        median = float(np.median(values))
        whole = _mistaken(median, feature)
        if whole is not None:
            write = lines.measured((), feature.name, feature.unit, whole)
            yield _finding(feature, median, whole, "", len(values), (), write)


def _likely_range(feature: Column) -> tuple[float, float]:
    """Return where a median should lie: the declared range, else what is physically likely."""
    default = _COLDEST_MACHINE_K if standard_unit(feature.unit) == "K" else -math.inf
    low = default if feature.low is None else feature.low
    return low, math.inf if feature.high is None else feature.high


def _mistaken(median: float, feature: Column) -> Conversion | None:
    """Return the conversion that moves a median into the likely range; None if it lies there, or none does."""
    low, high = _likely_range(feature)
    if low <= median <= high:
        return None
    known = MISTAKEN.get(standard_unit(feature.unit), ())
    return next((each for each in known if low <= each.apply(median) <= high), None)


def _at_clients(table: Table, client: str, feature: Column, lines: Lines) -> list[Finding]:
    """Return a finding for each client that seems to measure in another unit; none if all clients do."""
    frame = _by_client(table, client, feature)
    medians, spreads = frame["median"].to_numpy(), (frame["third"] - frame["first"]).to_numpy()
    found = {each.place: each.conversion for each in suspicions(feature.name, feature.unit, medians, spreads)}
    for place, median in enumerate(medians.tolist()):
        mistaken = _mistaken(median, feature)
        found |= {place: mistaken} if mistaken is not None else {}
    if len(found) == len(medians):
        return []
    findings = []
    for place, conversion in sorted(found.items()):
        name, rows = str(frame["client"][place]), int(frame["rows"][place])
        write = lines.measured((name,), feature.name, feature.unit, conversion)
        where = f" at client {name}"
        findings.append(_finding(feature, float(medians[place]), conversion, where, rows, (name,), write))
    return findings


def _by_client(table: Table, client: str, feature: Column) -> pl.DataFrame:
    """Return for each client of a column its rows, median and quartiles."""
    values = table.frame[feature.name].cast(pl.Float64).fill_null(math.nan).to_numpy()
    known = pl.DataFrame(
        {
            "client": table.frame[client].cast(pl.String),
            "value": pl.Series(without_marked(values, marks_of(table.schema).get(feature.name, ()))).fill_nan(None),
        }
    ).drop_nulls()
    value = pl.col("value")
    quartiles = [
        value.quantile(0.25).alias("first"),
        value.median().alias("median"),
        value.quantile(0.75).alias("third"),
    ]
    return known.group_by("client", maintain_order=True).agg(*quartiles, pl.len().alias("rows"))


def doubts(schema: Schema, clients: Sequence[str], survey: Arrays, squares: Float64Array) -> list[Finding]:
    """Return what looks odd about single clients, by the sums that they told for the common scaling alone.

    Parameters
    ----------
    schema
        What the columns mean.
    clients
        Names of those that told.
    survey
        `count` and `sum`, (clients, features) each; a count may be withheld as 0.
    squares
        (clients, features), squared deviations from the mean of all.
    """
    count = np.asarray(survey["count"], np.float64)
    known = np.where(count > 0, count, math.nan)
    means, common = survey["sum"] / known, survey["sum"].sum(axis=0) / np.maximum(count.sum(axis=0), 1)
    with np.errstate(over="ignore", invalid="ignore"):
        between, about_common = np.square(means - common), squares / known
        lost = about_common - between < _DIGITS * between  # beside a far reading, others' spreads have no digit left
        deviations = np.where(lost, math.nan, np.sqrt(np.maximum(about_common - between, 0.0)))
    units = {column.name: column for column in schema.features}
    found: list[Finding] = []
    for place, name in enumerate(feature_names(schema)):
        feature = units.get(name)
        if feature is not None:
            found += _doubts(feature, clients, means[:, place], deviations[:, place], count[:, place])
    return found


def _doubts(
    feature: Column, clients: Sequence[str], means: Float64Array, deviations: Float64Array, count: Float64Array
) -> Iterator[Finding]:
    lines = PlantLines()
    for each in suspicions(feature.name, feature.unit, means, deviations):
        name, mean, rows = clients[each.place], float(means[each.place]), int(count[each.place])
        write = lines.measured((name,), feature.name, feature.unit, each.conversion)
        yield _finding(feature, mean, each.conversion, f" at client {name}", rows, (name,), write, "mean")
    for place in np.flatnonzero(np.isfinite(deviations)).tolist():
        sizes = np.delete(np.fmax(np.abs(means), deviations), place)
        usual = float(np.median(sizes[np.isfinite(sizes)])) if np.isfinite(sizes).any() else math.inf
        if deviations[place] > _WILD * usual:
            message = (
                f"Its readings spread by {deviations[place]:.2g} about {means[place]:.2g}, where other plants measure "
                f"about {usual:.2g}: a far reading makes the column useless to a network; {REMEDY}."
            )
            yield Finding("warning", feature.name, "far", message, int(count[place]), (clients[place],))


def _finding(
    feature: Column,
    median: float,
    conversion: Conversion,
    where: str,
    rows: int,
    clients: tuple[str, ...],
    write: str,
    figure: str = "median",
) -> Finding:
    unit = feature.unit or conversion.to
    said = f"Declared in {feature.unit}, but the" if feature.unit else "The"
    if conversion.other:
        like = f"which looks like {conversion.other} ({conversion.apply(median):.4g} {unit})"
    else:
        like = f"which is {factor_text(conversion)} what other clients measure"
    advice = "convert it by these lines, or correct the unit:" if write else "convert it or correct the unit."
    message = f"{said} {figure}{where} is {median:.4g}, {like}; {advice}"
    return Finding("warning", feature.name, "unit", message, rows, clients, write)


def factor_text(conversion: Conversion) -> str:
    """Return in words by how much readings are larger or smaller than they shall be.

    Examples
    --------
    >>> factor_text(Conversion("", 0.001)), factor_text(Conversion("", 100.0))
    ('1000 times', '1/100 of')
    """
    return f"{1 / conversion.scale:.4g} times" if conversion.scale < 1 else f"1/{conversion.scale:.4g} of"
