"""How the model does in a later period than all rows that it was made with."""

from __future__ import annotations

import math
from collections.abc import Mapping

from werkbund.report.folder import RunFolder
from werkbund.report.page import PageSection, TextTable
from werkbund.report.text import number_text, plural, signed, whole
from werkbund.report.values import Json, number

_ABSENT = (
    "No later period was held out: that needs a time column, failures before it and in it, and a share of rows for it."
)


def later(run: RunFolder) -> PageSection:
    """Return the section on the later period."""
    written = run.result.later if run.result else {}
    tables = (_together(written), _by_plant(written)) if written else ()
    title = "Does it hold in a later period?"
    return PageSection("later", "Later period", title, later_sentence(run), tables=tables, absent=_ABSENT)


def ages(run: RunFolder) -> bool:
    """Say whether the model is clearly worse in the later period: the interval of the change is below zero."""
    written = run.result.later if run.result else {}
    return bool(written) and number((written.get("change") or {}).get("high"), "later.change.high") < 0


def later_sentence(run: RunFolder) -> str:
    """Return in words how the model does in the later period; empty where there is none."""
    written = run.result.later if run.result else {}
    if not written:
        return ""
    what = (
        f"In the later period ({plural(int(written['rows']), 'row')}, {plural(int(written['positives']), 'failure')} "
        f"at {plural(int(written['clients']), 'plant')})"
    )
    change = written.get("change") or {}
    mean, low, high = (number(change.get(end), f"later.change.{end}") for end in ("mean", "low", "high"))
    if not math.isfinite(mean):
        return f"{what} no plant has enough failures, here and among its held-out rows, to compare the two."
    before, after = (_value(written, "roc_auc", period) for period in ("earlier", "later"))
    figures = f"{what} ROC AUC is {number_text(after)}, and {number_text(before)} on held-out rows before it"
    if high < 0:
        return (
            f"{figures}: clearly worse, by {-mean:.3f} (95% interval {-high:.3f} to {-low:.3f}). The model ages: "
            "expect the later figure in use, and train anew with new rows before long."
        )
    return f"{figures}: no clear loss (change {signed(mean, 3)}, 95% interval {signed(low, 3)} to {signed(high, 3)})."


def _together(written: Json) -> TextTable:
    """Return one row a figure, before and in the later period."""
    names = {
        "roc_auc": ("Federated, ROC AUC", 3),
        "alone_roc_auc": ("Each plant alone, ROC AUC", 3),
        "cost": ("Federated, cost per 1,000", 0),
    }
    rows = tuple(
        (name, *(number_text(_value(written, key, period), digits) for period in ("earlier", "later")))
        for key, (name, digits) in names.items()
        if math.isfinite(_value(written, key, "later"))
    )
    return TextTable(("Mean over plants, own rows", "Held-out rows", "Later period"), rows)


def _by_plant(written: Json) -> TextTable:
    head = ("Plant", "Later rows", "Failures", "ROC AUC before", "ROC AUC later", "Alone, later")
    lines = [line for line in written.get("per_client") or () if isinstance(line, Mapping)]
    rows = tuple((str(line.get("name")), *_cells(line)) for line in lines)
    return TextTable(head, rows, folded=f"Plant by plant ({len(rows)})")


def _cells(line: Json) -> tuple[str, ...]:
    counts = (whole(_value(line, "later", name)) for name in ("rows", "positives"))
    figures = (number_text(_value(line, who, "roc_auc")) for who in ("earlier", "later", "alone_later"))
    return (*counts, *figures)


def _value(written: Json, outer: str, inner: str) -> float:
    """Return a number of an object in an object; NaN where there is none."""
    return number((written.get(outer) or {}).get(inner), f"later.{outer}.{inner}")
