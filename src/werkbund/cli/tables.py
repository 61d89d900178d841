"""Tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

WHO = {
    "federated": "Federated",
    "local_mean": "Each plant alone (mean)",
    "pooled": "All rows in one place, same network",
    "pooled_gbdt": "All rows in one place, boosted trees",
    "pooled_forest": "All rows in one place, random forest",
}
_COLUMNS = {
    "average_precision": "average precision",
    "roc_auc": "ROC AUC",
    "f1": "F1",
    "recall": "recall",
    "cost": "cost / 1000 rows",
}
_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def comparison_table(metrics: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the contenders of one run on the same held-out rows."""
    table = _table("On the same held-out machines")
    table.add_column("model")
    for title in _COLUMNS.values():
        table.add_column(title, justify="right")
    for who, scores in metrics.items():
        style = "bold" if who == "federated" else ""
        table.add_row(WHO.get(who, who), *(_number(scores.get(name), name) for name in _COLUMNS), style=style)
    return table


def seeds_table(comparison: Mapping[str, Any]) -> Table:
    """Return the contenders over several seeds: mean and 95 % interval."""
    table = _table(f"Mean and 95 % interval over seeds {', '.join(map(str, comparison['seeds']))}")
    table.add_column("model")
    for title in _COLUMNS.values():
        table.add_column(title, justify="right")
    rows = {(row["who"], row["metric"]): row for row in comparison["rows"]}
    for who in dict.fromkeys(row["who"] for row in comparison["rows"]):
        cells = [_interval(rows.get((who, name)), name) for name in _COLUMNS]
        table.add_row(WHO.get(who, who), *cells, style="bold" if who == "federated" else "")
    return table


def findings_table(findings: Sequence[Mapping[str, Any]]) -> Table:
    """Return what a check of a table found."""
    table = _table("Findings")
    for name in ("level", "column", "finding"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        level = str(finding["level"])
        table.add_row(Text(level, style=_STYLES[level]), Text(str(finding["column"]) or "-"), str(finding["message"]))
    return table


def schema_table(columns: Sequence[Mapping[str, str]]) -> Table:
    """Return what each column is taken for."""
    table = _table("Columns")
    for name in ("column", "used as", "unit", "plausible range"):
        table.add_column(name)
    for column in columns:
        table.add_row(*(Text(str(column.get(key, ""))) for key in ("name", "role", "unit", "range")))
    return table


def _table(title: str) -> Table:
    padding = (0, 2, 0, 0)
    return Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, padding=padding)


def _number(value: float | None, name: str) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if name == "cost" else f"{value:.3f}"


def _interval(row: Mapping[str, Any] | None, name: str) -> str:
    if row is None:
        return ""
    if row["low"] is None:
        return _number(row["mean"], name)
    return f"{_number(row['mean'], name)} [{_number(row['low'], name)}, {_number(row['high'], name)}]"
