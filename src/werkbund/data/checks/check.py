"""All checks of a table, in the order of how much they matter: the label, columns, readings, units, rows, clients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import polars as pl
import polars.selectors as cs

from werkbund.core.arrays import Float64Array
from werkbund.core.errors import DataError
from werkbund.data.checks.finding import LEVELS, Finding, Level, listed, numbers, share
from werkbund.data.checks.labels import check_label, check_made
from werkbund.data.checks.lines import FederationLines, Lines
from werkbund.data.checks.readings import check_readings
from werkbund.data.checks.units import check_units
from werkbund.data.markers import without_marked
from werkbund.data.schema import Column
from werkbund.data.table import Table

MANY_MISSING = 0.05  # a share above which filling in with the mean changes what is learnt
MANY_CATEGORIES = 100  # each becomes a feature of its own
_MANY_ROWS = 2_000_000


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
            yield from _check_range(feature, without_marked(values, feature.missing))


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
    """Yield a column without a value, or with missing ones and how many."""
    missing, total = column.null_count(), len(column)
    if missing == total:
        yield Finding("warning", column.name, "empty", "No row has a value; drop this feature.", total)
    elif missing:
        level: Level = "warning" if missing > MANY_MISSING * total else "note"
        message = f"{share(missing, total)} are missing; they count as average and get a feature that marks them."
        yield Finding(level, column.name, "missing", message, missing)


def _check_constant(column: pl.Series) -> Iterator[Finding]:
    """Yield a column that has one value alone."""
    known = column.drop_nulls()
    if len(column) > 1 and known.n_unique() == 1:
        message = f"Every value is {known[0]!r}: nothing can be learnt from it; drop this feature."
        yield Finding("warning", column.name, "constant", message, len(known))


def _check_category(column: pl.Series) -> Iterator[Finding]:
    """Yield a category whose values are no levels, or are too many."""
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
    """Yield readings outside the plausible range; `values`: (known rows,)."""
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


def check_reading(table: Table) -> Iterator[Finding]:
    """Yield what was done with values of a file that could not be taken as they stand."""
    for remark in table.origin.reading.remarks:
        yield Finding("warning" if remark.rows else "note", remark.column, "reading", remark.message, remark.rows)


def check_rows(table: Table) -> Iterator[Finding]:
    """Yield rows that repeat another one in every column."""
    # Of very many rows only hashes are compared: a fraction of the memory, and two of them hardly ever agree.
    rows = table.frame.n_unique() if table.num_rows < _MANY_ROWS else table.frame.hash_rows(seed=0).n_unique()
    repeated = table.num_rows - rows
    if repeated:
        message = (
            f"{share(repeated, table.num_rows)} repeat another one in every column; a copy among the test rows "
            "flatters the model, so drop them unless they are true repetitions."
        )
        yield Finding("warning", "", "duplicate-rows", message, repeated)


def dealt_anew(table: Table, partition: str, count: int) -> tuple[Finding, ...]:
    """Return a warning where rows name plants and a partition mixes these; else nothing.

    Parameters
    ----------
    table
        The rows.
    partition
        Its kind; `by-column` keeps plants.
    count
        Number of clients that it gives.
    """
    column = table.schema.client
    if column is None or partition == "by-column":
        return ()
    message = (
        f"The rows name {table.frame[column].n_unique()} plants, but clients.partition = {partition!r} deals them to "
        f"{count} clients of its own, which mix them. Take clients.partition and clients.count out to have each plant "
        "as a client."
    )
    return (Finding("warning", column, "dealt-anew", message, table.num_rows),)


def check_clients(table: Table) -> Iterator[Finding]:
    """Yield clients with little or one-sided data, and what occurs at one client alone."""
    if table.schema.client is None:
        return
    clients = table.frame[table.schema.client].cast(pl.String).fill_null("(no client)").alias("client")
    yield from _check_sizes(table, clients)
    if clients.n_unique() < 2:
        message = (
            "All rows belong to one client: there is nothing to federate. Add another plant's rows; or train on these "
            'alone, or see what a division by machines would bring: clients.partition = "tool-blocks".'
        )
        yield Finding("warning", table.schema.client, "one-client", message, table.num_rows)
        return
    yield from _check_positives(table, clients)
    for feature in table.schema.features:
        column = table.frame[feature.name].alias("value")
        if feature.kind == "category":
            yield from _check_categories(feature.name, clients, column)
        yield from _check_absent(feature.name, clients, column)


def _check_sizes(table: Table, clients: pl.Series) -> Iterator[Finding]:
    """Yield clients that cannot hold out a test row."""
    sizes = pl.DataFrame(clients).group_by("client", maintain_order=True).len()
    small = sizes.filter(pl.col("len") < 3)
    if small.height:
        message = (
            f"{small.height} clients have fewer than 3 rows ({listed(small['client'])}): they only train, nothing "
            "is held out; merge them with others or leave them out."
        )
        yield Finding("warning", str(table.schema.client), "tiny-client", message, int(small["len"].sum()))


def _check_positives(table: Table, clients: pl.Series) -> Iterator[Finding]:
    """Yield clients without a failure."""
    try:
        labels = table.schema.labels(table.frame)
    except DataError:
        return  # the check of the label reports it
    counts = (
        pl.DataFrame([clients, pl.Series("label", labels)])
        .group_by("client", maintain_order=True)
        .agg(pl.col("label").sum(), pl.len().alias("rows"))
    )
    without = counts.filter(pl.col("label") == 0)
    if without.height:
        message = (
            f"{without.height} of {counts.height} clients have no failure ({listed(without['client'])}): alone they "
            "cannot learn one, in a federation they can."
        )
        yield Finding("note", table.schema.label, "client-without-failure", message, int(without["rows"].sum()))


def _check_categories(name: str, clients: pl.Series, column: pl.Series) -> Iterator[Finding]:
    """Yield categories that one client alone has."""
    pairs = pl.DataFrame([clients, column]).drop_nulls("value")
    spread = pairs.group_by("value", maintain_order=True).agg(
        pl.col("client").n_unique().alias("clients"), pl.col("client").first(), pl.len().alias("rows")
    )
    alone = spread.filter(pl.col("clients") == 1)
    if alone.height:
        shown = listed(f"{value!r} at {client}" for value, _, client, _ in alone.iter_rows())
        message = (
            f"{alone.height} of {spread.height} categories occur at one client alone ({shown}): the others teach "
            "the model nothing about them; check their spelling."
        )
        yield Finding("note", name, "category-at-one-client", message, int(alone["rows"].sum()))


def _check_absent(name: str, clients: pl.Series, column: pl.Series) -> Iterator[Finding]:
    """Yield clients that never measured the column while others did."""
    counts = (
        pl.DataFrame([clients, column])
        .group_by("client", maintain_order=True)
        .agg(pl.col("value").count().alias("known"), pl.len().alias("rows"))
    )
    absent = counts.filter(pl.col("known") == 0)
    if 0 < absent.height < counts.height:
        message = (
            f"{absent.height} of {counts.height} clients never measured it ({listed(absent['client'])}): there it "
            "counts as average."
        )
        yield Finding("warning", name, "client-without-column", message, int(absent["rows"].sum()))


CHECKS: tuple[Callable[[Table], Iterable[Finding]], ...] = (
    check_reading,
    check_label,
    check_columns,
    check_roles,
    check_rows,
    check_clients,
    check_made,
)

CHECKS_OF_READINGS: tuple[Callable[[Table, Lines], Iterable[Finding]], ...] = (check_readings, check_units)
"""Checks whose findings say what to write in a configuration."""


def check(table: Table, lines: Lines | None = None) -> tuple[Finding, ...]:
    """Return what is wrong or worth knowing about a table: errors first, then warnings, then notes.

    Parameters
    ----------
    table
        Of all clients, or of one plant.
    lines
        For which file it is written what to write; None: the federation's.
    """
    table = replace(table, frame=table.frame.with_columns(cs.float().fill_nan(None)))
    findings = [finding for run in CHECKS for finding in run(table)]
    findings += [finding for run in CHECKS_OF_READINGS for finding in run(table, lines or FederationLines())]
    return tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level)))
