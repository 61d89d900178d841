"""What a section of the page is made of, before any of it is HTML."""

from __future__ import annotations

from dataclasses import dataclass

from werkbund.report import plots

LONGEST_TABLE = 200
"""Rows that a table has at most."""

UNFINISHED = "The run has not reached its final evaluation yet."
"""What stands in place of what only a finished run has."""


@dataclass(frozen=True)
class Table:
    """Hold a table of finished text.

    Parameters
    ----------
    numeric
        Whether all columns but the first hold numbers.
    folded
        The words under which the table is folded away; shown open if empty.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: bool = True
    folded: str = ""


@dataclass(frozen=True)
class Code:
    """Hold text that is shown as it is, such as a configuration."""

    label: str
    text: str


@dataclass(frozen=True)
class Section:
    """Hold one section of the page.

    Parameters
    ----------
    key, short
        Its address in the page, and its name in the list of contents.
    lead
        One or two sentences under the title.
    absent
        What to say instead where there is nothing to show.
    """

    key: str
    short: str
    title: str
    lead: str = ""
    panels: tuple[plots.Panel, ...] = ()
    tables: tuple[Table, ...] = ()
    code: tuple[Code, ...] = ()
    absent: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.panels or self.tables or self.code)
