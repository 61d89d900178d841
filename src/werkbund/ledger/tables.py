"""A ledger for people: one row an entry, as texts, for a terminal, a spreadsheet or a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

COLUMNS = (
    "line",
    "time",
    "kind",
    "run",
    "round",
    "task",
    "what left",
    "bytes",
    "protected by",
    "charge",
    "why not",
    "purpose",
    "policy",
    "software",
)
"""What is told of each entry; the line's number is from 1, as `verify` counts them."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With what a text begins that a spreadsheet would compute; who asks chooses the names of runs."""


def row_of(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return an entry's texts by column; a column of which it says nothing is empty."""
    left = entry.get("left", [])
    fields = ", ".join(f"{field['name']} {_size(field['shape'])}" for field in left)
    told = {name: str(entry.get(name, "")) for name in ("time", "kind", "run", "round", "task", "purpose", "policy")}
    privacy = entry.get("privacy", {})
    return {
        **told,
        "line": str(int(entry["seq"]) + 1),
        "what left": fields or ("the answer given before" if entry.get("again") else _said(entry)),
        "bytes": str(sum(int(field["bytes"]) for field in left) or entry.get("bytes", "")),
        "protected by": str(privacy.get("protected", "")),
        "charge": _charge(privacy.get("charge")),
        "why not": ": ".join(str(entry[name]) for name in ("code", "reason") if name in entry),
        "software": _software(entry.get("software", "")),
    }


def rows_of(entries: Iterable[Mapping[str, Any]], since: str = "") -> list[dict[str, str]]:
    """Return the rows of entries from a time on, ISO 8601; a date alone is its begin in UTC."""
    return [row_of(entry) for entry in entries if str(entry["time"]) >= since]


def to_csv(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows as comma-separated text with a head; what a spreadsheet would compute is marked as text."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_as_text(row[name]) for name in COLUMNS])
    return stream.getvalue()


def _as_text(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "1"


def _said(entry: Mapping[str, Any]) -> str:
    """Return what an entry says that is about no answer."""
    return str(entry.get("what", ""))


def _charge(told: Mapping[str, Any] | None) -> str:
    if not told:
        return ""
    shared = " in shares" if told.get("shared") else ""
    return f"{told['count']} x noise {told['noise']}{shared}, rate {told['rate']}, a {told['unit']}"


def _software(told: Any) -> str:
    """Return versions in one text."""
    return ", ".join(f"{name} {version}" for name, version in told.items()) if isinstance(told, Mapping) else str(told)
