"""Texts that others wrote, made fit to be shown and kept."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable

_LONGEST = 2000
_MOST_PLACES = 6


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


def fixed(value: float, digits: int, sign: str = "") -> str:
    """Return a number with so many decimals, or with as many as it needs not to look like 0.

    Parameters
    ----------
    value
        Finite.
    digits
        Decimals.
    sign
        "+" for a sign before positive numbers too.

    Examples
    --------
    >>> fixed(1234.5, 1), fixed(0.0049, 2), fixed(-0.0004, 2, "+"), fixed(0.0, 2), fixed(3e-9, 2)
    ('1,234.5', '0.005', '-0.0004', '0.00', '3e-09')
    """
    if value == 0 or float(f"{value:.{digits}f}") != 0:
        return f"{value:{sign},.{digits}f}"
    places = -math.floor(math.log10(abs(value)))
    return f"{value:{sign}.{places}f}" if places <= _MOST_PLACES else f"{value:{sign}.0e}"
