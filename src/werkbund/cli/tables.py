"""Tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

WHO = {
    "federated": "Federated",
    "local_mean": "Plant alone (mean)",
    "pooled": "Pooled, same model",
    "pooled_gbdt": "Pooled, boosted trees",
    "pooled_forest": "Pooled, forest",
}
_COLUMNS = {
    "average_precision": "avg precision",
    "roc_auc": "ROC AUC",
    "f1": "F1",
    "recall": "recall",
    "cost": "cost/1000",
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
    """Return the contenders over several seeds: mean and half the width of the 95 % interval."""
    table = _table(f"Mean and 95 % interval over seeds {', '.join(map(str, comparison['seeds']))}")
    table.add_column("model", no_wrap=True)
    shown = [metric for metric in _COLUMNS if metric != "recall"]  # eighty columns have no room for more
    for title in map(_COLUMNS.__getitem__, shown):
        table.add_column(title, justify="right", no_wrap=True)
    rows = {(row["who"], row["metric"]): row for row in comparison["rows"]}
    for who, name in WHO.items():
        if (who, "average_precision") in rows:
            cells = [_interval(rows[who, metric], metric) for metric in shown]
            table.add_row(name, *cells, style="bold" if who == "federated" else "")
    return table


def differences_table(comparison: Mapping[str, Any]) -> Table:
    """Return by how much the federation is ahead, seed by seed, with the 95 % interval of the mean."""
    table = _table("Federated minus the others, in average precision")
    for title in ("other", "mean and interval", "seed by seed"):
        table.add_column(title, no_wrap=title != "seed by seed")
    for row in comparison["rows"]:
        other = str(row["who"]).removeprefix("federated minus ")
        if other != row["who"]:
            values = ", ".join("-" if value is None else f"{value:+.3f}" for value in row["values"])
            table.add_row(WHO.get(other, other), _interval(row, "average_precision"), values)
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


def _interval(row: Mapping[str, Any], name: str) -> str:
    if row["low"] is None:
        return _number(row["mean"], name)
    return f"{_number(row['mean'], name)} ±{_number((row['high'] - row['low']) / 2, name)}"
