"""The contenders side by side on everybody's rows: overall, over seeds, and by failure mode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from werkbund.report.folder import RunFolder
from werkbund.report.page import UNFINISHED, PageSection, TextTable
from werkbund.report.text import number_text, plural
from werkbund.report.theme import CONTENDERS, LIGHT, Panel, blank, colour_of, contender
from werkbund.report.values import Scores

_COLUMNS = (
    ("Average precision", "average_precision", 3),
    ("F1", "f1", 3),
    ("Precision", "precision", 3),
    ("Recall", "recall", 3),
    ("ROC AUC", "roc_auc", 3),
    ("Cost per 1,000", "cost", 0),
)
_OF_NUMBERS = (("RMSE", "rmse", 2), ("Mean error", "bias", 2), ("NASA score", "nasa_score", 0))


@dataclass(frozen=True)
class Measure:
    """Say how one metric is shown."""

    key: str
    title: str
    note: str
    digits: int = 3
    share: bool = True


MEASURES = (
    Measure("average_precision", "Average precision", "How well the model ranks failures first; 1 is perfect."),
    Measure("rmse", "Root mean squared error", "Of the number foretold, in its unit; lower is better.", 2, False),
    Measure("f1", "F1 at the alarm threshold", "Balance of failures found and alarms that are right; 1 is perfect."),
    Measure("roc_auc", "ROC AUC", "Chance that a failing row scores above a healthy one; 0.5 is guessing."),
    Measure("cost", "Cost per 1,000 rows", "Missed failures and needless inspections; lower is better.", 0, False),
)


@dataclass(frozen=True)
class Bar:
    """Hold one bar: a value, and its interval and single values where there are several seeds."""

    who: str
    value: float
    low: float = math.nan
    high: float = math.nan
    values: tuple[float, ...] = ()


def compared(run: RunFolder) -> PageSection:
    """Return the comparison of all contenders on the same test rows."""
    scored = run.result.scores if run.result else {}
    order = [who for who in CONTENDERS if who in scored] + [who for who in scored if who not in CONTENDERS]
    numbers = tuple(column for column in _OF_NUMBERS if any(scored[who].known(column[1]) for who in order))
    columns = (*numbers, *_COLUMNS)
    rows = tuple((contender(who).label, *_cells(scored[who], columns)) for who in order)
    modes = by_mode(run)
    table = (TextTable(("This run", *(head for head, _, _ in columns)), rows),) if rows else ()
    return PageSection(
        "comparison",
        "Everybody's rows",
        "And on the machines of other plants?",
        _setting(run, len(order)),
        (*comparison(run), *((modes,) if modes else ())),
        (*table, *_seed_table(run)),
        absent=UNFINISHED,
    )


def _setting(run: RunFolder, contenders: int) -> str:
    """Say what is compared with what."""
    everybody = "All contenders are scored on everybody's held-out rows, machines of other plants included"
    if run.comparison:
        bars = (
            f"Bars are means over {plural(len(run.seeds), 'seed')} with 95% intervals; the table is one of these runs."
        )
        return f"{everybody}. {bars}"
    if contenders == 1:
        return "Only the federated model was trained, so there is nothing to compare it with."
    return f"{everybody}; “alone” is the mean over the plants' own models."


def _cells(scores: Scores, columns: Sequence[tuple[str, str, int]]) -> tuple[str, ...]:
    """Return a contender's figures in the order of the columns."""
    return tuple(scores.text(key, digits) for _, key, digits in columns)


def _seed_table(run: RunFolder) -> tuple[TextTable, ...]:
    """Return each metric over the seeds, with its interval and single values; nothing for a single run."""
    if not run.comparison:
        return ()
    rows = tuple(
        (
            f"{contender(row.who).label}: {row.metric.replace('_', ' ')}",
            number_text(row.mean),
            f"{number_text(row.low)} to {number_text(row.high)}",
            ", ".join(number_text(value) for value in row.values),
        )
        for row in run.comparison
    )
    return (TextTable(("Over seeds", "Mean", "95% interval", "Each seed"), rows, folded="All seeds"),)


def comparison(run: RunFolder) -> tuple[Panel, ...]:
    """Return one panel for each metric that somebody has."""
    drawn = [(measure, bars(run, measure.key)) for measure in MEASURES]
    return tuple(
        Panel(f"compare-{measure.key}", measure.title, _bar_figure(measure, shown), _note(run, measure))
        for measure, shown in drawn
        if shown
    )


def bars(run: RunFolder, metric: str) -> tuple[Bar, ...]:
    """Return one bar for each contender that has the metric: means over seeds if there are several."""
    rows = {row.who: row for row in run.comparison if row.metric == metric and not row.is_difference}
    if rows:
        all_bars = [Bar(who, row.mean, row.low, row.high, row.values) for who, row in rows.items()]
    else:
        scored = run.result.scores if run.result else {}
        all_bars = [Bar(who, scores[metric]) for who, scores in scored.items()]
    order = list(CONTENDERS)
    known = [bar for bar in all_bars if math.isfinite(bar.value)]
    return tuple(sorted(known, key=lambda bar: order.index(bar.who) if bar.who in order else len(order)))


def _bar_figure(measure: Measure, shown: tuple[Bar, ...]) -> go.Figure:
    figure = blank(64 + 38 * len(shown), showlegend=False, bargap=0.35)
    labels = [_label(bar.who) for bar in shown]
    tops = [bar.high if math.isfinite(bar.high) else bar.value for bar in shown]
    figure.add_bar(
        y=labels,
        x=[bar.value for bar in shown],
        orientation="h",
        marker_color=[colour_of(bar.who) for bar in shown],
        error_x=_whiskers(shown),
        hovertemplate=f"%{{y}}: %{{x:,.{measure.digits}f}}<extra></extra>",
    )
    largest = max(1.0 if measure.share else 0.0, *tops)
    for label, bar, top in zip(labels, shown, tops, strict=True):
        figure.add_annotation(
            x=top, y=label, text=f"{bar.value:,.{measure.digits}f}", showarrow=False, xanchor="left", xshift=5
        )
    figure.update_xaxes(range=[0, largest * 1.28 or 1], tickvals=[0, 0.25, 0.5, 0.75, 1] if measure.share else None)
    figure.update_yaxes(autorange="reversed", showgrid=False, tickfont_color=LIGHT["ink"])
    return figure


def _label(who: str) -> str:
    return contender(who).label.replace(", ", ",<br>")


def _whiskers(shown: tuple[Bar, ...]) -> dict[str, object] | None:
    """Return the error bars of the intervals; None unless every bar has one."""
    if not all(math.isfinite(bar.low) and math.isfinite(bar.high) for bar in shown):
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": [bar.high - bar.value for bar in shown],
        "arrayminus": [bar.value - bar.low for bar in shown],
        "color": LIGHT["ink"],
        "thickness": 1.2,
        "width": 4,
    }


def _note(run: RunFolder, measure: Measure) -> str:
    """Return the measure's note; for average precision, with what guessing reaches: the share of failures."""
    scores = run.scores("federated")
    share = scores["positives"] / scores["rows"] if scores["rows"] > 0 else math.nan
    guessing = f" Guessing reaches {share:.2f}." if measure.key == "average_precision" and math.isfinite(share) else ""
    return measure.note + guessing


def by_mode(run: RunFolder) -> Panel | None:
    """Return the share of each failure mode that is found at the threshold; None if modes are not known."""
    scored = run.result.scores if run.result else {}
    order = [who for who in ("federated", "local_mean", "pooled") if who in scored and scored[who].recall_by_mode]
    if not order:
        return None
    modes = list(dict.fromkeys(mode for who in order for mode in scored[who].recall_by_mode))
    figure = blank(90 + 22 * len(modes) * len(order), barmode="group", bargap=0.28, bargroupgap=0.06)
    for who in order:
        recalls = [scored[who].recall_by_mode.get(mode, math.nan) for mode in modes]
        figure.add_bar(
            y=modes,
            x=[value if math.isfinite(value) else None for value in recalls],
            orientation="h",
            name=contender(who).label,
            marker_color=colour_of(who),
            hovertemplate="%{y}: %{x:.0%} found<extra>" + contender(who).label + "</extra>",
        )
    for mode in (mode for mode in modes if not any(_told(scored[who], mode) for who in order)):
        figure.add_annotation(x=0, y=mode, text="no test rows", showarrow=False, xanchor="left", xshift=5)
    figure.update_xaxes(range=[0, 1.02], tickformat=".0%")
    figure.update_yaxes(autorange="reversed", showgrid=False, tickfont_color=LIGHT["ink"])
    figure.update_legends(traceorder="normal")
    note = "Share of each kind of failure that raises an alarm."
    return Panel("modes-found", "Which failures are found", figure, note, wide=True)


def _told(scores: Scores, mode: str) -> bool:
    """Say whether a share of a mode is known: it has test rows."""
    return math.isfinite(scores.recall_by_mode.get(mode, math.nan))
