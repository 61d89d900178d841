"""A page: what it is made of, and the one file that it becomes.

The file needs nothing else: no network, no server, no second file. The plotting library is written into it once. A
content security policy forbids it every request, so that opening the report tells nobody anything.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2

from werkbund.core.files import write_atomically
from werkbund.report.theme import DARK, LIGHT, Panel, night

PLOTLY = "plotly-cartesian.min.js.gz"
"""The part of plotly.js that the plots need, in the version that plotly's figures are made for; licensed MIT."""

LONGEST_TABLE = 200
"""Rows that a table has at most."""

UNFINISHED = "The run has not reached its final evaluation yet."
"""What stands in place of what only a finished run has."""


@dataclass(frozen=True)
class TextTable:
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
class CodeBlock:
    """Hold text that is shown as it is, such as a configuration."""

    label: str
    text: str


@dataclass(frozen=True)
class PageSection:
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
    panels: tuple[Panel, ...] = ()
    tables: tuple[TextTable, ...] = ()
    code: tuple[CodeBlock, ...] = ()
    absent: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.panels or self.tables or self.code)


@dataclass(frozen=True)
class Tile:
    """Hold one large number with its name and what to compare it with."""

    label: str
    value: str
    hint: str = ""


@dataclass(frozen=True)
class Page:
    """Hold all that a page shows.

    Parameters
    ----------
    name, kind
        Of what it is about, and what sort of report it is.
    sentence, outcome, remarks
        What it says first, how that is coloured, and what a careful reader should know beside it.
    facts, caption, tiles
        A few short phrases, and a few large numbers with a line above them.
    sections
        In reading order.
    """

    name: str
    kind: str
    sentence: str
    outcome: str
    sections: tuple[PageSection, ...]
    remarks: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    caption: str = ""
    tiles: tuple[Tile, ...] = ()


def write_page(page: Page, folder: Path) -> Path:
    """Write `report.html` into a folder and return its path; one that is there is replaced at once, never half."""
    target = folder / "report.html"
    write_atomically(target, render_page(page).encode())
    return target


def render_page(page: Page) -> str:
    """Return the whole page as text."""
    library = files("werkbund.report").joinpath("templates", PLOTLY).read_bytes()
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("werkbund.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template("report.html.j2").render(
        page=page,
        light=LIGHT,
        dark=DARK,
        night=_in_script(json.dumps(night())),
        plotly_js=b64encode(library).decode(),
        spec=_spec,
    )


def _spec(panel: Panel) -> str:
    return _in_script(panel.figure.to_json())


def _in_script(text: str) -> str:
    """Return JSON that cannot end the script element that holds it; the template takes it as it is."""
    return text.replace("<", "\\u003c")
