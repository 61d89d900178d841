"""What the final model's scores look like: distribution, precision and recall, calibration, cost by threshold.

All of it comes from the counts that clients send: a histogram of logits per class over equal bins from -16 to 16.
"""

from __future__ import annotations

import math
from itertools import accumulate

import plotly.graph_objects as go

from werkbund.report.folder import Result
from werkbund.report.plots.theme import CONTENDERS, LIGHT, Panel, blank, colour_of, contender, mark
from werkbund.report.values import Curves

LOGIT_LIMIT = 16.0
NUM_GROUPS = 48
TICKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)


def scores(result: Result, split: str = "test") -> tuple[Panel, ...]:
    """Return the panels for which the counts are there."""
    curves = result.curves.get(split)
    found: list[Panel | None] = []
    if curves is not None and sum(curves.histogram[0]) + sum(curves.histogram[1]) > 0:
        found += [_distribution(curves, result.threshold), _precision_recall(curves, result), _calibration(curves)]
    found.append(_cost(result))
    return tuple(panel for panel in found if panel is not None)


def logit(probability: float) -> float:
    """Return the logit of a probability strictly between 0 and 1."""
    return math.log(probability / (1 - probability))


def grouped(counts: tuple[float, ...], groups: int = NUM_GROUPS) -> list[float]:
    """Add neighbouring bins up so that at most `groups` remain."""
    size = math.ceil(len(counts) / groups) or 1
    return [sum(counts[start : start + size]) for start in range(0, len(counts), size)]


def precision_recall(curves: Curves) -> tuple[list[float], list[float]]:
    """Return recall and precision as the threshold falls from bin to bin; bins without a row are skipped."""
    false, true = (list(accumulate(reversed(row))) for row in curves.histogram)
    total = true[-1] if true else 0.0
    points = [(t / total, t / (t + f)) for t, f in zip(true, false, strict=True) if total and t + f > 0]
    kept = [point for position, point in enumerate(points) if position == 0 or point != points[position - 1]]
    return [recall for recall, _ in kept], [precision for _, precision in kept]


def _distribution(curves: Curves, threshold: float) -> Panel:
    figure = blank(300, barmode="overlay", bargap=0)
    width = 2 * LOGIT_LIMIT / len(curves.histogram[0])
    first, last = _used(curves)
    rows = (("Without failure", "healthy"), ("With failure", "failure"))
    for (name, colour), counts in zip(rows, curves.histogram, strict=True):
        heights = grouped(counts[first:last])
        size = width * math.ceil((last - first) / len(heights))
        figure.add_bar(
            x=[width * first - LOGIT_LIMIT + size * (position + 0.5) for position in range(len(heights))],
            y=[height or None for height in heights],
            width=size,
            name=name,
            marker={"color": LIGHT[colour], "opacity": 0.75, "line": {"width": 0}},
            hovertemplate="%{y:,} rows<extra>" + name.lower() + "</extra>",
        )
    if 0 < threshold < 1:
        mark(figure, logit(threshold), f"alarm from {threshold:.2g}")
    extent = (width * first - LOGIT_LIMIT - 0.5, width * last - LOGIT_LIMIT + 0.5)
    _probability_axis(figure, "Predicted probability of failure", extent)
    figure.update_yaxes(type="log", dtick=1, title_text="Rows")
    note = "Test rows by score; counts are on a logarithmic scale. The less the two overlap, the better."
    return Panel("score-distribution", "Scores", figure, note)


def _used(curves: Curves) -> tuple[int, int]:
    """Return the first bin with a row, and the one after the last."""
    used = [place for place, pair in enumerate(zip(*curves.histogram, strict=True)) if sum(pair) > 0]
    return used[0], used[-1] + 1


def _precision_recall(curves: Curves, result: Result) -> Panel | None:
    recall, precision = precision_recall(curves)
    if not recall:
        return None
    figure = blank(300, showlegend=False)
    line = {"color": LIGHT["federated"], "width": 2, "shape": "hv"}
    hover = "finds %{x:.0%}, %{y:.0%} of alarms right<extra></extra>"
    figure.add_scatter(x=recall, y=precision, mode="lines", line=line, hovertemplate=hover)
    chosen = result.scores.get("federated")
    if chosen and chosen.known("recall") and chosen.known("precision"):
        marker = {"size": 11, "color": LIGHT["paper"], "line": {"color": LIGHT["federated"], "width": 2.5}}
        figure.add_scatter(
            x=[chosen["recall"]], y=[chosen["precision"]], mode="markers", marker=marker, hovertemplate=hover
        )
    figure.update_xaxes(title_text="Failures found", tickformat=".0%", range=[0, 1.02])
    figure.update_yaxes(title_text="Alarms that are right", tickformat=".0%", range=[0, 1.04])
    note = "Every threshold at once; the ring is the chosen one. A lower threshold moves to the right."
    return Panel("score-precision", "Precision and recall", figure, note)


def _calibration(curves: Curves) -> Panel | None:
    bins = [(count, total / count, label / count) for count, total, label in curves.calibration if count > 0]
    if len(bins) < 2:
        return None
    counts, predicted, observed = zip(*bins, strict=True)
    figure = blank(300, showlegend=False)
    grey = {"color": LIGHT["muted"], "width": 1, "dash": "dot"}
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=grey, hoverinfo="skip")
    figure.add_scatter(
        x=predicted,
        y=observed,
        text=[f"{count:,.0f} rows" for count in counts],
        mode="lines+markers",
        line={"color": LIGHT["federated"], "width": 1.6},
        marker={"size": [5 + 3 * math.log10(count) for count in counts]},
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
    rest = [who for who in result.cost_curve if who not in CONTENDERS and who != "threshold"]
    lines = {who: result.cost_curve[who] for who in (*CONTENDERS, *rest) if who in result.cost_curve}
    drawn = {who: _at_logits(thresholds, costs) for who, costs in lines.items() if len(costs) == len(thresholds)}
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
    pairs = zip(thresholds, costs, strict=True)
    return [(logit(threshold), cost) for threshold, cost in pairs if 0 < threshold < 1 and math.isfinite(cost)]


def _probability_axis(figure: go.Figure, title: str, limits: tuple[float, float]) -> None:
    """Show logits as probabilities."""
    places = {"tickvals": [logit(p) for p in TICKS], "ticktext": [f"{p:g}" for p in TICKS]}
    figure.update_xaxes(title_text=title, range=list(limits), **places)
