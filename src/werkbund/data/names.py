"""Names of columns: which no feature may have, which are missing, and which one was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import polars as pl

from werkbund.core.errors import DataError

RESULTS = ("probability", "decision", "foretold")
"""What an exported model calls its results; no feature may be called so."""

GRAPH_PREFIX = "werkbund/"
"""Begins every name inside an exported model; no feature's name may begin so."""


def is_pattern(name: str) -> bool:
    """Say whether polars would read a name as a pattern for several columns.

    Examples
    --------
    >>> is_pattern("*"), is_pattern("^temp.*$"), is_pattern("temp*")
    (True, True, False)
    """
    return name == "*" or (name.startswith("^") and name.endswith("$"))


def is_reserved(name: str) -> bool:
    """Say whether an exported model gives a name to something else than a column."""
    return name in RESULTS or name.startswith(GRAPH_PREFIX)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a remark that names the known name closest to this one, or all if there are few; else nothing.

    Examples
    --------
    >>> nearest("Torque", ["Torque [Nm]", "Type"])
    "; did you mean 'Torque [Nm]'?"
    """
    names = list(known)
    lowered = {candidate.lower(): candidate for candidate in names}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    if close:
        return f"; did you mean {lowered[close[0]]!r}?"
    shown = ", ".join(repr(candidate) for candidate in names[:12])
    return f"; the columns are {shown}{', ...' if len(names) > 12 else ''}" if names else ""


def require(frame: pl.DataFrame, names: Iterable[str], purpose: str) -> None:
    """Check that a frame has these columns.

    Raises
    ------
    DataError
        If one is absent; it names all that are.
    """
    missing = [name for name in dict.fromkeys(names) if name not in frame.columns]
    if missing:
        listed = ", ".join(repr(name) for name in missing)
        hint = nearest(missing[0], frame.columns)
        raise DataError(f"the table must have the columns of {purpose}, missing {listed}{hint}")
