"""Checks across clients: what one plant has and the others do not."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from werkbund.core.errors import DataError
from werkbund.data.checks.finding import Finding, listed
from werkbund.data.table import Table


def check_clients(table: Table) -> Iterator[Finding]:
    """Yield clients with little or one-sided data, and what occurs at one client alone."""
    if table.schema.client is None:
        return
    clients = table.frame[table.schema.client].cast(pl.String).fill_null("(no client)").alias("client")
    yield from _check_sizes(table, clients)
    if clients.n_unique() < 2:
        message = "All rows belong to one client; a federation needs at least two."
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
