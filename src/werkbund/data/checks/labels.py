"""Checks of the label: whether there is one, whether it can be learnt, and whether a feature gives it away.

Where rows were made of readings and a log: which points have no label, and what was wrong with both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from werkbund.core.arrays import Float32Array, Float64Array
from werkbund.core.errors import DataError
from werkbund.data.checks.finding import Finding, Level, listed, numbers, share
from werkbund.data.schema import Column
from werkbund.data.table import Table

FEW_POSITIVES = 30
GIVEN_AWAY_AUC = 0.995
GIVEN_AWAY_SHARE = 0.98  # precision of a value that all but proves a failure
WORTHWHILE_RECALL = 0.05
MAX_CODES = 20  # number of distinct values up to which each is looked at by itself


def check_label(table: Table) -> Iterator[Finding]:
    """Yield what is wrong with the label, the failure modes, and features that know too much."""
    try:
        labels = table.schema.labels(table.frame)
        table.schema.mode_flags(table.frame)
    except DataError as error:
        yield Finding("error", table.schema.label, "label", f"{error}.", table.num_rows)
        return
    positives = int(labels.sum())
    if positives in (0, len(labels)):
        message = f"All rows are {'negative' if positives == 0 else 'positive'}: nothing can be learnt; add others."
        yield Finding("error", table.schema.label, "one-class", message, table.num_rows)
        return
    if positives < FEW_POSITIVES:
        message = f"Only {share(positives, len(labels))} are positive; scores on so few are mostly chance."
        yield Finding("warning", table.schema.label, "few-positives", message, positives)
    for feature in table.schema.features:
        yield from _check_given_away(feature, table.frame[feature.name], labels)
        yield from _check_identifier(feature, table.frame[feature.name])


def ranking_auc(values: Float64Array, labels: Float32Array) -> float:
    """Return the area under the ROC curve of the values as scores, ties counted half.

    Parameters
    ----------
    values
        (rows,), without missing ones.
    labels
        (rows,), 0 or 1, both present.

    References
    ----------
    Hanley, McNeil, "The meaning and use of the area under a ROC curve", Radiology 143, 1982: it is the
    Mann-Whitney statistic.
    """
    positive = labels > 0
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    ranks = pl.Series(values).rank("average").to_numpy()[positive].sum()
    return float((ranks - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative))


def _check_given_away(feature: Column, column: pl.Series, labels: Float32Array) -> Iterator[Finding]:
    reason = _telling_value(column, labels) or (_telling_order(column, labels) if feature.kind == "number" else "")
    if reason:
        message = f"{reason}: it may be known only after the failure; list it in never unless it is measured before."
        yield Finding("warning", feature.name, "gives-label-away", message, len(column))


def _telling_order(column: pl.Series, labels: Float32Array) -> str:
    """Return how well the column alone sorts failures from the rest; empty if not suspiciously well."""
    values = numbers(column)
    if values is None:
        return ""
    kept = labels[column.is_not_null().to_numpy()]
    if not 0 < kept.sum() < len(kept):
        return ""
    auc = ranking_auc(values, kept)
    auc = max(auc, 1 - auc)
    return f"Alone it sorts failures from the rest with ROC AUC {auc:.4f}" if auc >= GIVEN_AWAY_AUC else ""


def _telling_value(column: pl.Series, labels: Float32Array) -> str:
    """Return which value, or that a missing one, all but proves a failure; empty if none does."""
    if column.dtype.is_nested() or column.n_unique() > MAX_CODES:
        marks = pl.when(column.is_not_null()).then(pl.lit("present"))
        column = pl.select(marks).to_series()
    counts = (
        pl.DataFrame({"value": column, "label": labels})
        .group_by("value", maintain_order=True)
        .agg(pl.len().alias("rows"), pl.col("label").cast(pl.Int64).sum().alias("failures"))
    )
    total = int(labels.sum())
    for value, rows, failures in counts.iter_rows():
        if failures >= max(5, WORTHWHILE_RECALL * total) and failures >= GIVEN_AWAY_SHARE * rows:
            shown = "missing" if value is None else repr(value)
            return f"Where it is {shown}, {failures} of {rows} rows are failures"
    return ""


def _check_identifier(feature: Column, column: pl.Series) -> Iterator[Finding]:
    """Yield a column that numbers or names its rows."""
    rows = len(column)
    if rows < 20 or column.null_count() or column.dtype.is_float() or column.n_unique() < rows:
        return
    numbered = column.dtype.is_integer() and (column.is_sorted() or column.is_sorted(descending=True))
    if feature.kind == "category" or numbered:
        message = (
            "Every row has its own value, as an identifier does: a model would learn rows by heart; list it in never."
        )
        yield Finding("warning", feature.name, "identifier", message, rows)


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
