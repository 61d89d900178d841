"""A page of tables to read, print or file: one file without scripts, that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2


@dataclass(frozen=True)
class PlainTable:
    """Hold one table of a plain page.

    Parameters
    ----------
    title, lead
        Its heading, and a sentence or two below it.
    head
        Names of the columns.
    rows
        Texts, one a column.
    """

    title: str
    lead: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def plain_page(title: str, sentences: Sequence[str], tables: Sequence[PlainTable], is_bad: bool = False) -> str:
    """Return a page as text.

    Parameters
    ----------
    title
        Of the page.
    sentences
        What it says first.
    tables
        In reading order.
    is_bad
        Whether what it says first is a warning.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("werkbund.audit", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("plain.html.j2")
    return template.render(title=title, sentences=sentences, tables=tables, is_bad=is_bad)


def pairs(title: str, lead: str, values: Mapping[str, object]) -> PlainTable:
    """Return a table of two columns."""
    return PlainTable(title, lead, ("what", "value"), tuple((name, str(value)) for name, value in values.items()))
