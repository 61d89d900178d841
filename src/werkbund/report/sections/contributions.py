"""What each plant contributed to the common score over the rounds."""

from __future__ import annotations

import plotly.graph_objects as go

from werkbund.report.folder import RunFolder
from werkbund.report.page import LONGEST_TABLE, PageSection, TextTable
from werkbund.report.text import plural, signed, whole
from werkbund.report.theme import LIGHT, MOST_BARS, Panel, blank
from werkbund.report.values import Json, number

_ABSENT = "The run was not asked what each plant contributed, which the key contributions of [evaluation] does."
_NOTE = (
    "Shapley's share of a round: what a plant's update adds on average to those of the plants before it, over all "
    "orders of plants. Lines are 95% intervals for the draw of orders; they say nothing of other rows."
)


def contributed(run: RunFolder) -> PageSection:
    """Return what each plant contributed."""
    written = run.result.contributions if run.result else {}
    return PageSection(
        "contributions",
        "Contributions",
        "Who contributed?",
        contribution_sentence(run),
        (_bars(written),) if written else (),
        (_table(written),) if written else (),
        absent=_ABSENT,
    )


def contribution_sentence(run: RunFolder) -> str:
    """Return in words what the shares rest on and cost; empty where there are none."""
    written = run.result.contributions if run.result else {}
    if not written:
        return ""
    rounds, counted = int(written["rounds"]), int(written["counted"])
    return (
        f"The validation score rose or fell clearly in {counted} of {plural(rounds, 'round')}; these are shared out, "
        f"at the price of {plural(int(written['evaluations']), 'more scoring')} of weights. A plant whose failures the "
        "validation rows do not have gets nothing for them here."
    )


def _bars(written: Json) -> Panel:
    shown = written["clients"][:MOST_BARS]
    shares = [number(one["shapley"], "contributions") for one in shown]
    spreads = [number(one["high"], "contributions") - share for one, share in zip(shown, shares, strict=True)]
    figure = blank(64 + 26 * len(shown), showlegend=False)
    figure.add_trace(
        go.Bar(
            x=shares,
            y=[one["client"] for one in shown],
            orientation="h",
            marker_color=[LIGHT["federated"] if share >= 0 else LIGHT["failure"] for share in shares],
            error_x={"type": "data", "array": spreads, "color": LIGHT["ink"], "thickness": 1.5, "width": 0},
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, tickfont_color=LIGHT["ink"])
    figure.update_xaxes(title_text="Validation average precision")
    return Panel("contribution-shares", "Share of each plant", figure, _NOTE)


def _table(written: Json) -> TextTable:
    rows = tuple(
        (
            str(one["client"]),
            signed(number(one["shapley"], "contributions"), 3),
            f"{signed(number(one['low'], 'low'), 3)} to {signed(number(one['high'], 'high'), 3)}",
            signed(number(one["leave_one_out"], "leave_one_out"), 3),
            whole(int(one["rounds"])),
        )
        for one in written["clients"][:LONGEST_TABLE]
    )
    head = ("Plant", "Share (Shapley)", "95% interval", "Cost of its absence", "Rounds")
    return TextTable(head, rows)
