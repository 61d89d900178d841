"""Texts that others wrote, made fit to be shown and kept."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 2000


def one_line(text: str, longest: int = _LONGEST) -> str:
    """Return a text as one line of letters that can be shown, cut where it is too long.

    What another machine says may hold line breaks, or codes that a terminal would obey.

    Examples
    --------
    >>> one_line("no such table\\x1b[2J", 12)
    'no such tabl'
    """
    return "".join(letter if letter.isprintable() else " " for letter in text[:longest])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a remark that names the known word closest to this one; nothing if none is close.

    Examples
    --------
    >>> did_you_mean("unifrom", ["uniform", "oort"])
    '; did you mean uniform?'
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
