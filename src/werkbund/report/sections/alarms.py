"""When the model raises an alarm: its scores, precision and recall, calibration, and the cost of each threshold.

All of it comes from the counts that clients send: a histogram of logits per class.
"""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go

from werkbund.core.edges import BINS_PER_LOGIT
from werkbund.evaluation import precision_recall_curve, reliability
from werkbund.report.folder import Result, RunFolder
from werkbund.report.page import UNFINISHED, PageSection
from werkbund.report.theme import CONTENDERS, LIGHT, Panel, blank, colour_of, contender, mark
from werkbund.report.values import Curves

STANDARD_WIDTH = 1.0 / BINS_PER_LOGIT
"""Of a standard bin, and of what is drawn of an open one."""

NUM_GROUPS = 48

TICKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)


def alarms(run: RunFolder) -> PageSection:
    """Return what the scores look like and what a threshold costs."""
    panels = score_panels(run.result) if run.result else ()
    known = run.result is not None and math.isfinite(run.result.threshold)
    at = f" It raises an alarm from a probability of {run.result.threshold:.3g}." if run.result and known else ""
    lead = f"The model gives each row a probability of failure.{at}"
    absent = UNFINISHED if run.result is None else "The final model's scores were not counted in this run."
    return PageSection("threshold", "Alarms", "Scores, alarms and their cost", lead, panels, absent=absent)


def score_panels(result: Result, split: str = "test") -> tuple[Panel, ...]:
    """Return the panels for which the counts are there."""
    curves = result.curves.get(split)
    panels: list[Panel | None] = []
    if curves is not None and sum(curves.histogram[0]) + sum(curves.histogram[1]) > 0:
        panels += [_distribution(curves, result.threshold), _precision_recall(curves, result), _calibration(curves)]
    panels.append(_cost(result))
    return tuple(panel for panel in panels if panel is not None)


def _distribution(curves: Curves, threshold: float) -> Panel:
    figure = blank(300, barmode="overlay", bargap=0)
    starts, size, heights = grouped(curves)
    rows = (("Without failure", "healthy"), ("With failure", "failure"))
    for (name, colour), counts in zip(rows, heights, strict=True):
        figure.add_bar(
            x=[start + size / 2 for start in starts],
            y=[count or None for count in counts],
            width=size,
            name=name,
            marker={"color": LIGHT[colour], "opacity": 0.75, "line": {"width": 0}},
            hovertemplate="%{y:,} rows<extra>" + name.lower() + "</extra>",
        )
    if 0 < threshold < 1:
        mark(figure, logit(threshold), f"alarm from {threshold:.2g}")
    margin = min(0.5, len(starts) * size)
    _probability_axis(figure, "Predicted probability of failure", (starts[0] - margin, starts[-1] + size + margin))
    figure.update_yaxes(type="log", dtick=1, title_text="Rows")
    note = "Test rows by score; counts are on a logarithmic scale. The less the two overlap, the better."
    return Panel("score-distribution", "Scores", figure, note)


def grouped(curves: Curves, groups: int = NUM_GROUPS) -> tuple[list[float], float, list[list[float]]]:
    """Return where equal groups of logits begin, how wide each is, and the rows of each class in each.

    There are at most `groups`, from the first bin with a row to the last, of whole bins where these are equally wide. A
    bin's rows are in the group of its middle.
    """
    edges = np.array(curves.edges)
    borders = np.concatenate(([edges[0] - STANDARD_WIDTH], edges, [edges[-1] + STANDARD_WIDTH]))
    used = np.flatnonzero(np.sum(curves.histogram, axis=0))
    low, high = float(borders[used[0]]), float(borders[used[-1] + 1])
    width = float(np.median(np.diff(borders)[used]))
    size = width * max(math.ceil((high - low) / (groups * width)), 1)
    middles = (borders[:-1] + borders[1:])[used] / 2
    place = np.minimum((middles - low) // size, groups - 1).astype(np.int64)
    number = int(place.max()) + 1
    heights = [np.bincount(place, np.array(counts)[used], number).tolist() for counts in curves.histogram]
    return (low + size * np.arange(number)).tolist(), size, heights


def _precision_recall(curves: Curves, result: Result) -> Panel | None:
    recall, precision = precision_recall(curves)
    if not recall:
        return None
    figure = blank(300, showlegend=False)
    line = {"color": LIGHT["federated"], "width": 2, "shape": "hv"}
    hover = "finds %{x:.0%}, %{y:.0%} of alarms right<extra></extra>"
    figure.add_scatter(x=recall, y=precision, mode="lines", line=line, hovertemplate=hover)
    at_threshold = result.scores.get("federated")
    if at_threshold and at_threshold.known("recall") and at_threshold.known("precision"):
        marker = {"size": 11, "color": LIGHT["paper"], "line": {"color": LIGHT["federated"], "width": 2.5}}
        figure.add_scatter(
            x=[at_threshold["recall"]],
            y=[at_threshold["precision"]],
            mode="markers",
            marker=marker,
            hovertemplate=hover,
        )
    figure.update_xaxes(title_text="Failures found", tickformat=".0%", range=[0, 1.02])
    figure.update_yaxes(title_text="Alarms that are right", tickformat=".0%", range=[0, 1.04])
    note = "Every threshold at once; the ring is the chosen one. A lower threshold moves to the right."
    return Panel("score-precision", "Precision and recall", figure, note)


def precision_recall(curves: Curves) -> tuple[list[float], list[float]]:
    """Return recall and precision as the threshold falls from bin to bin; no point equals the one before it."""
    curve = precision_recall_curve(np.array(curves.histogram))
    points = list(zip(curve.x.tolist(), curve.y.tolist(), strict=True))
    distinct = [point for position, point in enumerate(points) if position == 0 or point != points[position - 1]]
    return [recall for recall, _ in distinct], [precision for _, precision in distinct]


def _calibration(curves: Curves) -> Panel | None:
    points = reliability(np.array(curves.calibration or np.empty((0, 3))))
    occupied = points.rows > 0
    if occupied.sum() < 2:
        return None
    rows, predicted, observed = (
        values[occupied].tolist() for values in (points.rows, points.predicted, points.observed)
    )
    figure = blank(300, showlegend=False)
    grey = {"color": LIGHT["muted"], "width": 1, "dash": "dot"}
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=grey, hoverinfo="skip")
    figure.add_scatter(
        x=predicted,
        y=observed,
        text=[f"{count:,.0f} rows" for count in rows],
        mode="lines+markers",
        line={"color": LIGHT["federated"], "width": 1.6},
        marker={"size": [5 + 3 * math.log10(count) for count in rows]},
        hovertemplate="predicted %{x:.2f}, observed %{y:.2f}<br>%{text}<extra></extra>",
    )
    figure.update_xaxes(title_text="Predicted probability", range=[-0.02, 1.02])
    figure.update_yaxes(title_text="Observed share of failures", range=[-0.02, 1.04])
    note = (
        "On the dotted line a probability can be taken at its word; below it, it is too high. Large points: many rows."
    )
    return Panel("score-calibration", "Calibration", figure, note)


def _cost(result: Result) -> Panel | None:
    thresholds = result.cost_curve.get("threshold", ())
    unknown = [who for who in result.cost_curve if who not in CONTENDERS and who != "threshold"]
    curves = {who: result.cost_curve[who] for who in (*CONTENDERS, *unknown) if who in result.cost_curve}
    drawn = {who: _at_logits(thresholds, costs) for who, costs in curves.items() if len(costs) == len(thresholds)}
    drawn = {who: points for who, points in drawn.items() if points}
    if not drawn:
        return None
    figure = blank(320)
    for who, points in drawn.items():
        xs, ys = zip(*points, strict=True)
        line = {"color": colour_of(who), "width": 2.4 if who == "federated" else 1.5}
        hover = "%{y:,.0f}<extra>" + contender(who).label + "</extra>"
        figure.add_scatter(
            x=xs,
            y=ys,
            mode="lines",
            name=contender(who).label,
            line=line,
            hovertemplate=hover,
            zorder=int(who == "federated"),
        )
    if 0 < result.threshold < 1:
        mark(figure, logit(result.threshold), f"alarm from {result.threshold:.2g}")
    floor = max(min(cost for _, cost in points) for points in drawn.values())
    never = max(points[-1][1] for points in drawn.values())
    _probability_axis(figure, "Alarm threshold (probability)", (-7.5, 7.5))
    figure.update_yaxes(title_text="Cost per 1,000 rows", range=[0, 1.15 * max(never, 2 * floor) or 1])
    note = "On the test rows. The threshold was chosen on validation rows, so it need not lie at the lowest point."
    return Panel("score-cost", "Cost by threshold", figure, note)


def _at_logits(thresholds: tuple[float, ...], costs: tuple[float, ...]) -> list[tuple[float, float]]:
    """Return (logit of the threshold, cost) for each threshold between 0 and 1 whose cost is known."""
    pairs = zip(thresholds, costs, strict=True)
    return [(logit(threshold), cost) for threshold, cost in pairs if 0 < threshold < 1 and math.isfinite(cost)]


def _probability_axis(figure: go.Figure, title: str, limits: tuple[float, float]) -> None:
    """Have an axis of logits, from the first limit to the second, show the probabilities that they stand for."""
    places = {"tickvals": [logit(p) for p in TICKS], "ticktext": [f"{p:g}" for p in TICKS]}
    figure.update_xaxes(title_text=title, range=list(limits), **places)


def logit(probability: float) -> float:
    """Return the logit of a probability strictly between 0 and 1."""
    return math.log(probability / (1 - probability))
