"""The contest on the plants' own rows: who does what there, and what federating adds at each plant."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from werkbund.evaluation import Contest, Interval, Mean, PlantLine, rule
from werkbund.report.folder import RunFolder
from werkbund.report.page import LONGEST_TABLE, UNFINISHED, PageSection, TextTable
from werkbund.report.text import MISSING, interval_text, number_text, plural, signed
from werkbund.report.theme import (
    COMMON,
    CONTENDERS,
    LIGHT,
    MOST_BARS,
    WITHOUT_MODEL,
    Panel,
    blank,
    colour_of,
    contender,
)

_TITLES = {"average_precision": "Average precision", "rmse": "Root mean squared error"}
_SHORT = {"average_precision": "average precision", "rmse": "RMSE"}
_NOTES = {
    "average_precision": "How well each ranks the failures of a plant's own machines first; 1 is perfect.",
    "rmse": "How far each is off the true number on a plant's own machines, in its unit, as a mean over plants; 0 is "
    "perfect.",
}


def own_rows(run: RunFolder) -> PageSection:
    """Return what every contender does on the plants' own held-out rows."""
    contest = run.own_rows
    panels = (_contenders(contest), _gains(contest)) if contest else ()
    tables = (_table(contest), _plants(contest)) if contest else ()
    return PageSection(
        "own-rows",
        "Own rows",
        "Does federating pay for the plants?",
        _setting(contest) if contest else "",
        tuple(panel for panel in panels if panel),
        tables,
        absent=UNFINISHED if run.result is None else "No plant's own model was judged beside the federated one.",
    )


def _setting(contest: Contest) -> str:
    return (
        "Each plant judges every model on its own held-out machines, which none of them was trained on. Figures are "
        f"means over {plural(len(contest.plants), 'plant')}, weighted by rows, with 95% intervals."
    )


def _ordered(contest: Contest) -> list[str]:
    """Return the contenders in the order of all reports."""
    order = [*CONTENDERS, *COMMON, *WITHOUT_MODEL]
    return sorted(contest.figures, key=lambda who: order.index(who) if who in order else len(order))


def _ranked(contest: Contest) -> list[str]:
    """Return those that rank rows."""
    return [who for who in _ordered(contest) if contest.measure in contest.figures[who]]


def _contenders(contest: Contest) -> Panel | None:
    """Return the measure of each contender that has it, with its interval."""
    ranked, measure = _ranked(contest), contest.measure
    figures = [contest.figures[who][measure].by_rows for who in ranked]
    if not ranked:
        return None
    figure = blank(64 + 34 * len(ranked), showlegend=False)
    _dots(figure, [contender(who).label for who in ranked], figures, [colour_of(who) for who in ranked])
    if measure == "average_precision":
        figure.update_xaxes(range=[-0.02, 1.04], tickvals=[0, 0.25, 0.5, 0.75, 1])
    else:
        figure.update_xaxes(rangemode="tozero")
    note = f"{_NOTES[measure]} Lines are 95% intervals."
    return Panel("own-average-precision", f"{_TITLES[measure]} on own rows", figure, note)


def _gains(contest: Contest) -> Panel | None:
    """Return what federating adds at each plant against the stronger of its own models, with intervals."""
    ruling = rule(contest)
    if not ruling.rival:
        return None
    told = [line for line in contest.plants if math.isfinite(line.minus[ruling.rival][contest.measure].mean)]
    shown = sorted(told, key=lambda line: -line.failures)[:MOST_BARS]
    gains = [line.minus[ruling.rival][contest.measure] for line in shown]
    labels = [f"{line.name}  <span style='color:{LIGHT['muted']}'>{_failures(line)}</span>" for line in shown]
    colours = [_colour(line, ruling.better, ruling.worse) for line in shown]
    overall = contest.minus[ruling.rival][contest.measure].by_rows
    figure = blank(84 + 26 * len(shown), showlegend=False)
    _dots(figure, [*labels, "<b>all, by rows</b>"], [*gains, overall], [*colours, LIGHT["ink"]])
    figure.add_vline(x=0, line_width=1, line_color=LIGHT["muted"])
    figure.update_xaxes(title_text=f"Federated minus “{contender(ruling.rival).label}”, {_SHORT[contest.measure]}")
    return Panel("own-gains", "What federating adds, plant by plant", figure, _coverage(contest, len(shown)))


def _coverage(contest: Contest, shown: int) -> str:
    clear = "Coloured points are clear by their own interval; grey ones are not."
    missing = len(contest.plants) - shown
    return f"{clear} {plural(missing, 'plant')} without a test failure, or with fewer, not drawn." if missing else clear


def _failures(line: PlantLine) -> str:
    return plural(line.failures, "failure")


def _colour(line: PlantLine, better: Sequence[str], worse: Sequence[str]) -> str:
    if line.name in better:
        return LIGHT["federated"]
    return LIGHT["failure"] if line.name in worse else LIGHT["healthy"]


def _dots(figure: go.Figure, labels: Sequence[str], values: Sequence[Interval], colours: Sequence[str]) -> None:
    """Draw one point a line, each with its interval."""
    for label, value, colour in zip(labels, values, colours, strict=True):
        spread = math.isfinite(value.low + value.high)
        figure.add_scatter(
            x=[value.mean],
            y=[label],
            mode="markers",
            marker={"color": colour, "size": 10},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [value.high - value.mean if spread else 0],
                "arrayminus": [value.mean - value.low if spread else 0],
                "color": colour,
                "thickness": 2,
                "width": 0,
            },
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed", showgrid=False, tickfont_color=LIGHT["ink"])


def _table(contest: Contest) -> TextTable:
    """Return every contender's figures and how far the federated model is ahead of it."""
    rows = tuple(
        (
            contender(who).label,
            _cell(contest.figures[who].get(contest.measure), lambda value: number_text(value, 3)),
            _cell(contest.minus.get(who, {}).get(contest.measure), lambda value: signed(value, 3)),
            _cell(contest.figures[who].get("cost"), lambda value: number_text(value, 0)),
            _cell(contest.minus.get(who, {}).get("cost"), lambda value: signed(value, 0)),
        )
        for who in _ordered(contest)
    )
    minus = "Federated minus it"
    return TextTable(("On own rows", _TITLES[contest.measure], minus, "Cost per 1,000", minus), rows)


def _cell(mean: Mean | None, show: Callable[[float], str]) -> str:
    """Return a mean weighted by rows, with its interval where there is one."""
    return MISSING if mean is None else interval_text(mean.by_rows, show)


def _plants(contest: Contest) -> TextTable:
    """Return every plant's figures."""
    ranked = _ranked(contest)
    head = ("Plant", "Rows", "Failures", "Machines", *(contender(who).label for who in ranked))
    rows = tuple(
        (
            line.name,
            f"{line.rows:,}",
            f"{line.failures:,}",
            f"{line.machines:,}" if line.machines else MISSING,
            *(number_text(line.figures.get(who, {}).get(contest.measure, math.nan)) for who in ranked),
        )
        for line in contest.plants[:LONGEST_TABLE]
    )
    return TextTable(head, rows, folded=f"Every plant's {_TITLES[contest.measure].lower()} on its own rows")
