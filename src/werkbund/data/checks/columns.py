"""Checks of one column at a time: its type, missing and constant values, its range."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import polars as pl

from werkbund.core.arrays import Float64Array
from werkbund.data.checks.finding import Finding, Level, listed, numbers, share
from werkbund.data.schema import Column
from werkbund.data.table import Table

MANY_MISSING = 0.05  # a share above which filling in with the mean changes what is learnt
MANY_CATEGORIES = 100  # each becomes a feature of its own


def check_columns(table: Table) -> Iterator[Finding]:
    """Yield what is wrong with single feature columns."""
    for feature in table.schema.features:
        column = table.frame[feature.name]
        yield from _check_missing(column)
        if column.null_count() == len(column):
            continue
        yield from _check_constant(column)
        if feature.kind == "category":
            yield from _check_category(column)
            continue
        values = numbers(column)
        if values is None:
            yield _text_as_number(column)
        else:
            yield from _check_range(feature, values)


def check_roles(table: Table) -> Iterator[Finding]:
    """Yield rows without a machine, a time or a client."""
    schema = table.schema
    for role, name in (("machine", schema.machine), ("time", schema.time), ("client", schema.client)):
        missing = 0 if name is None else table.frame[name].null_count()
        if name is not None and missing:
            level: Level = "error" if role == "client" else "warning"
            message = f"{share(missing, table.num_rows)} have no {role}; fill them in or drop these rows."
            yield Finding(level, name, f"missing-{role}", message, missing)


def _check_missing(column: pl.Series) -> Iterator[Finding]:
    missing, total = column.null_count(), len(column)
    if missing == total:
        yield Finding("warning", column.name, "empty", "No row has a value; drop this feature.", total)
    elif missing:
        level: Level = "warning" if missing > MANY_MISSING * total else "note"
        message = f"{share(missing, total)} are missing; they count as average and get a feature that marks them."
        yield Finding(level, column.name, "missing", message, missing)


def _check_constant(column: pl.Series) -> Iterator[Finding]:
    known = column.drop_nulls()
    if len(column) > 1 and known.n_unique() == 1:
        message = f"Every value is {known[0]!r}: nothing can be learnt from it; drop this feature."
        yield Finding("warning", column.name, "constant", message, len(known))


def _check_category(column: pl.Series) -> Iterator[Finding]:
    if column.dtype.is_nested() or column.dtype == pl.Binary:
        message = f"It is declared a category but holds {column.dtype} values; derive codes from it or drop it."
        yield Finding("error", column.name, "type", message, len(column))
        return
    if column.dtype.is_float():
        message = "It is declared a category but holds decimals; declare a number, or round it to codes."
        yield Finding("warning", column.name, "type", message, len(column))
    distinct = column.n_unique()
    if distinct > MANY_CATEGORIES:
        message = f"It has {distinct} categories, each of which becomes a feature; group the rare ones or drop it."
        yield Finding("warning", column.name, "many-categories", message, len(column))


def _text_as_number(column: pl.Series) -> Finding:
    """Return the error for a column that is declared a number but is not one."""
    if column.dtype != pl.String:
        message = f"It is declared a number but holds {column.dtype} values; derive a number from it or drop it."
        return Finding("error", column.name, "type", message, len(column))
    texts = column.drop_nulls()
    odd = texts.filter(texts.cast(pl.Float64, strict=False).is_null())
    if len(odd) == 0:
        message = "It is declared a number but stored as text; store it as numbers or declare a category."
        return Finding("error", column.name, "type", message, len(texts))
    examples = listed((repr(text) for text in odd.unique(maintain_order=True)), limit=3)
    message = f"It is declared a number but holds texts in {share(len(odd), len(column))}, such as {examples}; "
    return Finding(
        "error", column.name, "type", message + "mend them, leave them empty, or declare a category.", len(odd)
    )


def _check_range(feature: Column, values: Float64Array) -> Iterator[Finding]:
    low = -math.inf if feature.low is None else feature.low
    high = math.inf if feature.high is None else feature.high
    excess = np.maximum(low - values, values - high)
    rows = int((excess > 0).sum())
    if rows:
        bounds = f"{low:g}..{high:g} {feature.unit}".rstrip()
        message = (
            f"{share(rows, len(values))} lie outside the plausible range {bounds}, the worst is "
            f"{values[excess.argmax()]:g}; look at the sensor, the unit or the range."
        )
        yield Finding("warning", feature.name, "range", message, rows)
