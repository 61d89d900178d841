"""The plots of a bench."""

from __future__ import annotations

import math

from werkbund.evaluation import Interval
from werkbund.report.bench.values import UNIFORM, BenchFolder
from werkbund.report.plots.theme import LIGHT, Panel, blank
from werkbund.report.text import signed

_COLOURS = {"better": "federated", "worse": "failure", "no clear difference": "muted", "unknown": "muted"}
_BEST = 3


def equal_cost(bench: BenchFolder) -> Panel:
    """Return each method's difference to uniform at equal cost, with its interval."""
    lines = [line for line in bench.ranked if math.isfinite(line.equal_cost.mean)]
    figure = blank(70 + 22 * len(lines), showlegend=False)
    for line in lines:
        colour = LIGHT[_COLOURS[line.verdict]]
        figure.add_scatter(
            x=[line.equal_cost.mean],
            y=[line.selector],
            mode="markers",
            marker={"color": colour, "size": 8},
            error_x=_whisker(line.equal_cost, colour),
            hovertemplate=f"%{{y}}: %{{x:+.3f}}<extra>{line.verdict}</extra>",
        )
    figure.add_vline(x=0, line={"width": 1, "color": LIGHT["ink"]})
    figure.update_xaxes(title_text="Average precision minus that of uniform at equal cost", tickformat="+.2f")
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category", tickfont_color=LIGHT["ink"], dtick=1)
    note = (
        "Mean over partitions, 95% interval over seeds. A method that asks or trains more clients than its cohort "
        "faces a uniform that trains as many."
    )
    return Panel("bench-equal-cost", "Against uniform at equal cost", figure, note, wide=True)


def by_setting(bench: BenchFolder) -> Panel | None:
    """Return the differences of each method in each setting; None for one setting."""
    if len(bench.settings) < 2:
        return None
    names = [line.selector for line in bench.ranked]
    found = [[bench.line(name, setting) for setting in bench.settings] for name in names]
    values = [[line.equal_cost.mean if line else math.nan for line in row] for row in found]
    clear = {"better": "▲", "worse": "▼"}
    texts = [
        [f"{signed(line.equal_cost.mean, 2)} {clear.get(line.verdict, '')}".strip() if line else "" for line in row]
        for row in found
    ]
    known = [abs(value) for row in values for value in row if math.isfinite(value)]
    most = max(known, default=0.1) or 0.1
    figure = blank(90 + 22 * len(names), showlegend=False)
    figure.add_heatmap(
        z=values,
        x=list(bench.settings),
        y=names,
        text=texts,
        texttemplate="%{text}",
        zmin=-most,
        zmax=most,
        colorscale=[[0, LIGHT["local"]], [0.5, LIGHT["paper"]], [1, LIGHT["pooled"]]],
        showscale=False,
        xgap=2,
        ygap=2,
        hovertemplate="%{y}, %{x}: %{z:+.3f}<extra></extra>",
    )
    figure.update_xaxes(side="top", showgrid=False, type="category")
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category", tickfont_color=LIGHT["ink"], dtick=1)
    note = "The same difference, partition by partition. ▲ and ▼ mark those whose interval leaves out zero."
    return Panel("bench-settings", "Where it helps, where it hurts", figure, note, wide=True)


def courses(bench: BenchFolder) -> tuple[Panel, ...]:
    """Return how the score went in each setting: uniform, the best three, and all others in grey."""
    best = [line.selector for line in bench.ranked[:_BEST]]
    colours = dict(zip(best, ("mode_1", "mode_2", "mode_4"), strict=False))
    return tuple(_course(bench, setting, colours) for setting in bench.settings if bench.courses.get(setting))


def _course(bench: BenchFolder, setting: str, colours: dict[str, str]) -> Panel:
    figure = blank(260, hovermode="closest")
    named = [*colours, UNIFORM]
    scores = bench.courses[setting]
    for name in [*(one for one in scores if one not in named), *named]:
        values = scores.get(name, ())
        if not values:
            continue
        colour = LIGHT["ink"] if name == UNIFORM else LIGHT[colours.get(name, "rule")]
        figure.add_scatter(
            y=values,
            mode="lines",
            name=name,
            showlegend=name in named,
            line={"color": colour, "width": 2.0 if name in named else 1.0},
            hovertemplate=f"{name}, round %{{x}}: %{{y:.3f}}<extra></extra>",
        )
    figure.update_xaxes(title_text="Round", showgrid=False)
    figure.update_yaxes(rangemode="tozero")
    return Panel(f"bench-course-{setting}", setting, figure, str(bench.about["titles"][setting]).capitalize() + ".")


def _whisker(span: Interval, colour: str) -> dict[str, object] | None:
    if not (math.isfinite(span.low) and math.isfinite(span.high)):
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": [span.high - span.mean],
        "arrayminus": [span.mean - span.low],
        "color": colour,
        "thickness": 1.4,
        "width": 4,
    }
