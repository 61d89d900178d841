"""The data: how the plants' rows differ, and what the checks say of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from werkbund.report.folder import RunFolder
from werkbund.report.page import PageSection, TextTable
from werkbund.report.text import plural, whole
from werkbund.report.theme import LIGHT, MOST_BARS, Panel, blank, mode_colour
from werkbund.report.values import ClientSkew

MOST_POINTS = 2000
"""Plants that a plot of points shows at most."""


_RANKS = {"error": 0, "warning": 1, "note": 2}

_NO_FINDING = TextTable(("Quality",), (("The checks found nothing to report.",),), numeric=False)


def data(run: RunFolder) -> PageSection:
    """Return how the plants' data differ, and what the checks found."""
    origin = run.about.get("data") or {}
    panels = skew_panels(run.skew) if run.skew and run.skew.names else ()
    findings = [finding for finding in run.about.get("findings") or () if isinstance(finding, dict)]
    checks = (_findings_table(findings),) if findings else (_NO_FINDING,) if "findings" in run.about else ()
    return PageSection(
        "data",
        "Data",
        "The data, and how the plants differ",
        str(origin.get("note", "")),
        panels,
        checks,
        absent="The run did not write how its plants' data differ.",
    )


def _findings_table(findings: Sequence[Mapping[str, Any]]) -> TextTable:
    """Return what the checks of the data say, the gravest first."""
    ordered = sorted(findings, key=lambda finding: _RANKS.get(str(finding.get("level")), len(_RANKS)))
    rows = tuple(
        (*(str(finding.get(key, "")) for key in ("level", "column", "message")), _affected(finding.get("rows")))
        for finding in ordered
    )
    counts = Counter(str(finding.get("level")) for finding in ordered)
    summary = ", ".join(plural(count, level) for level, count in counts.items())
    return TextTable((f"Quality: {summary}", "Column", "Finding", "Rows"), rows, numeric=False)


def _affected(rows: object) -> str:
    return whole(float(rows)) if isinstance(rows, int | float) and rows else ""


def skew_panels(skew: ClientSkew) -> tuple[Panel, ...]:
    """Return rows, failures and distances by client."""
    if len(skew.names) > MOST_BARS:
        return (_spread(skew),)
    height = 90 + 22 * len(skew.names)
    panels = [_rows(skew, height), _by_mode(skew, height) if skew.modes else _positives(skew, height)]
    if skew.label_distance or skew.feature_distance:
        panels.append(_distances(skew, height))
    return tuple(panels)


def _by_client(height: int, title: str) -> go.Figure:
    figure = blank(height, bargap=0.28, showlegend=False, margin_t=40)
    figure.update_xaxes(title_text=title, separatethousands=True)
    figure.update_yaxes(autorange="reversed", showgrid=False, tickfont_color=LIGHT["ink"], type="category")
    return figure


def _rows(skew: ClientSkew, height: int) -> Panel:
    figure = _by_client(height, "Rows")
    hover = "%{y}: %{x:,} rows<extra></extra>"
    figure.add_bar(y=skew.names, x=skew.rows, orientation="h", marker_color=LIGHT["pooled"], hovertemplate=hover)
    total, failures = sum(skew.rows), sum(skew.positives)
    share = f" ({failures / total:.2%})" if total else ""
    note = f"{whole(total)} rows in all, {whole(failures)} of them failures{share}."
    return Panel("skew-rows", "Rows", figure, note)


def _positives(skew: ClientSkew, height: int) -> Panel:
    figure = _by_client(height, "Rows with a failure")
    hover = "%{y}: %{x:,} failures<extra></extra>"
    figure.add_bar(y=skew.names, x=skew.positives, orientation="h", marker_color=LIGHT["failure"], hovertemplate=hover)
    return Panel("skew-failures", "Failures", figure, _without(skew))


def _by_mode(skew: ClientSkew, height: int) -> Panel:
    figure = _by_client(height, "Rows with a failure, by mode")
    figure.update_layout(barmode="stack", showlegend=True, legend_traceorder="normal")
    for position, (mode, counts) in enumerate(skew.modes.items()):
        figure.add_bar(
            y=skew.names,
            x=counts,
            orientation="h",
            name=mode,
            marker_color=mode_colour(position),
            hovertemplate=f"%{{y}}: %{{x:,}} {mode}<extra></extra>",
        )
    note = f"A row may have several modes, or none that was named. {_without(skew)}"
    return Panel("skew-failures", "Failures by mode", figure, note.strip())


def _without(skew: ClientSkew) -> str:
    """Say how many plants have no failure; nothing if each has one."""
    without = sum(count == 0 for count in skew.positives)
    return f"{plural(without, 'plant')} {'has' if without == 1 else 'have'} no failure at all." if without else ""


def _distances(skew: ClientSkew, height: int) -> Panel:
    figure = _by_client(height, "Distance from all rows together")
    figure.update_layout(showlegend=True)
    measures = {
        "Labels": (skew.label_distance, "failure", "circle"),
        "Features": (skew.feature_distance, "federated", "diamond"),
    }
    for name, (values, colour, symbol) in measures.items():
        if values:
            marker = {"size": 10, "color": LIGHT[colour], "symbol": symbol}
            hover = f"%{{y}}: %{{x:.3f}}<extra>{name.lower()}</extra>"
            figure.add_scatter(y=skew.names, x=values, mode="markers", name=name, marker=marker, hovertemplate=hover)
    figure.update_traces(cliponaxis=False)
    figure.update_xaxes(rangemode="tozero")
    pairs = (("Labels", skew.label_measure), ("Features", skew.feature_measure))
    measured = "; ".join(f"{name.lower()}: {measure}" for name, measure in pairs if measure)
    note = "0 means that the plant looks like all plants together." + (f" Measured as {measured}." if measured else "")
    return Panel("skew-distance", "How far each plant is from the rest", figure, note, wide=True)


def _spread(skew: ClientSkew) -> Panel:
    """Return rows against failures, one point a client: bars would not fit."""
    step = math.ceil(len(skew.names) / MOST_POINTS)
    figure = blank(380, showlegend=False)
    figure.add_scatter(
        x=skew.rows[::step],
        y=skew.positives[::step],
        text=skew.names[::step],
        mode="markers",
        marker={"size": 6, "color": LIGHT["federated"], "opacity": 0.5},
        hovertemplate="%{text}: %{x:,} rows, %{y:,} failures<extra></extra>",
    )
    figure.update_xaxes(title_text="Rows")
    figure.update_yaxes(title_text="Failures")
    thinned = f" Every {step}th of {len(skew.names):,} plants is shown." if step > 1 else ""
    note = f"One point a plant.{thinned} {_without(skew)}".strip()
    return Panel("skew-rows", "Rows and failures", figure, note, wide=True)
