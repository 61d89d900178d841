"""The plants one by one: what each gains, and how their data differ."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from werkbund.report.folder import RunFolder
from werkbund.report.plots.theme import LIGHT, Panel, blank, colour_of, contender, mode_colour
from werkbund.report.text import plural, whole
from werkbund.report.values import ClientLine, Skew

MOST_BARS = 40
MOST_POINTS = 2000


def gains(run: RunFolder) -> Panel | None:
    """Return federated against local average precision on each client's own test rows."""
    lines = [line for line in run.result.clients if line.federated.known("average_precision")] if run.result else []
    if not lines:
        return None
    shown = most_failures(lines, MOST_BARS)
    labels = [f"{line.name}  <span style='color:{LIGHT['muted']}'>{_failures(line)}</span>" for line in shown]
    alone = any(line.local is not None for line in shown)
    figure = blank(80 + (36 if alone else 24) * len(shown), barmode="group", bargap=0.3, bargroupgap=0.05)
    _bars(figure, labels, [line.federated["average_precision"] for line in shown], "federated")
    if alone:
        values = [line.local["average_precision"] if line.local else math.nan for line in shown]
        _bars(figure, labels, values, "local_mean", "Alone")
    figure.update_xaxes(range=[0, 1.02], title_text="Average precision on the plant's own test rows")
    figure.update_yaxes(autorange="reversed", showgrid=False, tickfont_color=LIGHT["ink"])
    return Panel(
        "clients-gain", "Federated and alone, plant by plant", figure, _coverage(run, len(lines), len(shown)), wide=True
    )


def _bars(figure: go.Figure, labels: Sequence[str], values: Sequence[float], who: str, name: str = "") -> None:
    label = name or contender(who).label
    figure.add_bar(
        y=labels,
        x=[value if math.isfinite(value) else None for value in values],
        orientation="h",
        name=label,
        marker_color=colour_of(who),
        hovertemplate=f"%{{y}}<br>{label}: %{{x:.3f}}<extra></extra>",
    )


def _failures(line: ClientLine) -> str:
    count = line.federated["positives"]
    return plural(int(count), "failure") if math.isfinite(count) else ""


def most_failures(lines: Sequence[ClientLine], limit: int) -> list[ClientLine]:
    """Return the `limit` lines with most test failures, in their own order; all of them if they are no more."""
    ranked = sorted(lines, key=lambda line: -line.federated["positives"] if line.federated.known("positives") else 0.0)
    kept = {line.name for line in ranked[:limit]}
    return [line for line in lines if line.name in kept]


def _coverage(run: RunFolder, measurable: int, shown: int) -> str:
    total = len(run.result.clients) if run.result else 0
    parts = ["Few failures make a rough bar: the count stands beside each name."]
    if total > measurable:
        verb = "has" if total - measurable == 1 else "have"
        parts.append(f"{plural(total - measurable, 'plant')} {verb} no failure among the test rows, hence no bar.")
    if measurable > shown:
        parts.append(f"Shown are the {shown} plants with most failures of {measurable}.")
    return " ".join(parts)


def skew(found: Skew) -> tuple[Panel, ...]:
    """Return rows, failures and distances by client."""
    if len(found.names) > MOST_BARS:
        return (_spread(found),)
    height = 90 + 22 * len(found.names)
    panels = [_rows(found, height), _by_mode(found, height) if found.modes else _positives(found, height)]
    if found.label_distance or found.feature_distance:
        panels.append(_distances(found, height))
    return tuple(panels)


def _by_client(height: int, title: str) -> go.Figure:
    figure = blank(height, bargap=0.28, showlegend=False, margin_t=40)
    figure.update_xaxes(title_text=title, separatethousands=True)
    figure.update_yaxes(autorange="reversed", showgrid=False, tickfont_color=LIGHT["ink"], type="category")
    return figure


def _rows(found: Skew, height: int) -> Panel:
    figure = _by_client(height, "Rows")
    hover = "%{y}: %{x:,} rows<extra></extra>"
    figure.add_bar(y=found.names, x=found.rows, orientation="h", marker_color=LIGHT["pooled"], hovertemplate=hover)
    total, failures = sum(found.rows), sum(found.positives)
    share = f" ({failures / total:.2%})" if total else ""
    note = f"{whole(total)} rows in all, {whole(failures)} of them failures{share}."
    return Panel("skew-rows", "Rows", figure, note)


def _positives(found: Skew, height: int) -> Panel:
    figure = _by_client(height, "Rows with a failure")
    hover = "%{y}: %{x:,} failures<extra></extra>"
    figure.add_bar(
        y=found.names, x=found.positives, orientation="h", marker_color=LIGHT["failure"], hovertemplate=hover
    )
    return Panel("skew-failures", "Failures", figure, _without(found))


def _by_mode(found: Skew, height: int) -> Panel:
    figure = _by_client(height, "Rows with a failure, by mode")
    figure.update_layout(barmode="stack", showlegend=True, legend_traceorder="normal")
    for position, (mode, counts) in enumerate(found.modes.items()):
        figure.add_bar(
            y=found.names,
            x=counts,
            orientation="h",
            name=mode,
            marker_color=mode_colour(position),
            hovertemplate=f"%{{y}}: %{{x:,}} {mode}<extra></extra>",
        )
    note = f"A row may have several modes, or none that was named. {_without(found)}"
    return Panel("skew-failures", "Failures by mode", figure, note.strip())


def _without(found: Skew) -> str:
    none = sum(1 for count in found.positives if count == 0)
    return f"{plural(none, 'plant')} {'has' if none == 1 else 'have'} no failure at all." if none else ""


def _distances(found: Skew, height: int) -> Panel:
    figure = _by_client(height, "Distance from all rows together")
    figure.update_layout(showlegend=True)
    measures = {
        "Labels": (found.label_distance, "failure", "circle"),
        "Features": (found.feature_distance, "federated", "diamond"),
    }
    for name, (values, colour, symbol) in measures.items():
        if values:
            marker = {"size": 10, "color": LIGHT[colour], "symbol": symbol}
            hover = f"%{{y}}: %{{x:.3f}}<extra>{name.lower()}</extra>"
            figure.add_scatter(y=found.names, x=values, mode="markers", name=name, marker=marker, hovertemplate=hover)
    figure.update_traces(cliponaxis=False)
    figure.update_xaxes(rangemode="tozero")
    pairs = (("Labels", found.label_measure), ("Features", found.feature_measure))
    measured = "; ".join(f"{name.lower()}: {measure}" for name, measure in pairs if measure)
    note = "0 means that the plant looks like all plants together." + (f" Measured as {measured}." if measured else "")
    return Panel("skew-distance", "How far each plant is from the rest", figure, note, wide=True)


def _spread(found: Skew) -> Panel:
    """Return rows against failures, one point a client: bars would not fit."""
    step = math.ceil(len(found.names) / MOST_POINTS)
    figure = blank(380, showlegend=False)
    figure.add_scatter(
        x=found.rows[::step],
        y=found.positives[::step],
        text=found.names[::step],
        mode="markers",
        marker={"size": 6, "color": LIGHT["federated"], "opacity": 0.5},
        hovertemplate="%{text}: %{x:,} rows, %{y:,} failures<extra></extra>",
    )
    figure.update_xaxes(title_text="Rows")
    figure.update_yaxes(title_text="Failures")
    some = f" Every {step}th of {len(found.names):,} plants is shown." if step > 1 else ""
    note = f"One point a plant.{some} {_without(found)}".strip()
    return Panel("skew-rows", "Rows and failures", figure, note, wide=True)
