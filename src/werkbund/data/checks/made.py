"""What was counted where rows were made of readings and a log: points without a label, and dirt in both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from werkbund.data.checks.finding import Finding, Level, listed
from werkbund.data.table import Table

_DIRT: Mapping[str, tuple[Level, str]] = {
    "nowhere": ("warning", "have no machine or no possible local time; they are left out."),
    "impossible": (
        "warning",
        "are from before 1990 or later than tomorrow, as of a clock that was set wrong; left out.",
    ),
    "contradicted": ("warning", "differ from another one of the same machine and time; the last one counts."),
    "repeated": ("note", "stand twice; one of each counts."),
    "unordered": ("note", "are earlier than the one before them of the same machine; they are sorted."),
    "gaps": ("note", "come after a gap of more than five usual steps; windows there have fewer readings."),
}


def check_made(table: Table) -> Iterator[Finding]:
    """Yield what became of readings and log; nothing where the table's file holds its rows."""
    told = table.origin.made
    if told is None:
        return
    yield from _check_points(told, table.schema.label)
    yield from _check_log(told)
    for name, (level, what) in _DIRT.items():
        rows = told["dirt"][name]
        if rows:
            yield Finding(level, "", f"{name}-readings", f"{rows} of {told['dirt']['rows']} readings {what}", rows)


def _check_points(told: Mapping[str, Any], label: str) -> Iterator[Finding]:
    points = told["points"]
    out = sum(number for name, number in points.items() if name not in ("none", "failure"))
    parts = listed((f"{number} {name}" for name, number in points.items() if number), limit=len(points))
    message = f"Of {sum(points.values())} points in time {out} have no label and are left out: {parts}."
    yield Finding("note", label, "points", message, out)
    if told["unforetold"]:
        named = listed(told["unforetold_named"])
        message = f"{told['unforetold']} of {told['failures']} failures have no row before them that foretells one "
        message += f"(too soon after a stop, or no readings): {named}."
        yield Finding("warning", label, "unforetold", message, told["unforetold"])


def _check_log(told: Mapping[str, Any]) -> Iterator[Finding]:
    if told["unknown_machines"]:
        message = (
            f"{told['unknown_machines']} stops of the log are of machines without readings; are ids written alike?"
        )
        yield Finding("warning", "", "unknown-machines", message, told["unknown_machines"])
    if told["undated"]:
        message = f"{told['undated']} rows of the log have no machine or no start; they tell nothing."
        yield Finding("warning", "", "undated-stops", message, told["undated"])
    if told["merged"]:
        message = f"{told['merged']} rows of the log tell of a stop that another row tells of; they are one."
        yield Finding("note", "", "merged-stops", message, told["merged"])
    if told["days"]:
        message = "The log holds days without times: rows of the day before a failure have no label."
        yield Finding("note", "", "days", message, told["failures"])
