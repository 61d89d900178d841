"""One look for all plots: colours by meaning, a template, and the panel that carries a plot onto the page.

A figure is drawn in the light colours. The page swaps each for its dark counterpart where the reader prefers that,
so a colour must stand in both tables, and no two names may share a light one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

LIGHT: Mapping[str, str] = {
    "ink": "#1b2528",
    "muted": "#5f6d72",
    "rule": "#e2e7e7",
    "paper": "#ffffff",
    "idle": "#eaf0f0",
    "federated": "#0e6b7c",
    "common": "#6a93a8",
    "pooled": "#74b7c2",
    "local": "#d18d4f",
    "own_trees": "#b98a1e",
    "boosted": "#7d8892",
    "forest": "#b4bdc4",
    "failure": "#b4473e",
    "healthy": "#a9b7bb",
    "mode_1": "#13505b",
    "mode_2": "#3d94a3",
    "mode_3": "#9fcfd6",
    "mode_4": "#e0b283",
    "mode_5": "#a8683a",
    "mode_6": "#cfd6da",
}
DARK: Mapping[str, str] = {
    "ink": "#e3eaeb",
    "muted": "#9aa8ad",
    "rule": "#2b373b",
    "paper": "#182124",
    "idle": "#222d31",
    "federated": "#5ac4d6",
    "common": "#7ea9bf",
    "pooled": "#318997",
    "local": "#dfa068",
    "own_trees": "#d6ab4a",
    "boosted": "#8c98a2",
    "forest": "#56636c",
    "failure": "#df7268",
    "healthy": "#66767b",
    "mode_1": "#1f6a77",
    "mode_2": "#49a9ba",
    "mode_3": "#a5d8df",
    "mode_4": "#e3b88b",
    "mode_5": "#b0713f",
    "mode_6": "#5a676f",
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


MOST_BARS = 40
"""Plants that have a bar each; more of them are drawn as points, or the first alone."""


@dataclass(frozen=True)
class Appearance:
    """Say how a contender, which is a way of learning, is called and coloured everywhere."""

    label: str
    colour: str


CONTENDERS: Mapping[str, Appearance] = {
    "federated": Appearance("Federated", "federated"),
    "local_mean": Appearance("Alone, same model", "local"),
    "local_trees_mean": Appearance("Alone, own trees", "own_trees"),
    "pooled": Appearance("Pooled, same model", "pooled"),
    "pooled_gbdt": Appearance("Pooled, gradient boosting", "boosted"),
    "pooled_forest": Appearance("Pooled, random forest", "forest"),
}
COMMON: Mapping[str, Appearance] = {"global": Appearance("Federated, common model", "common")}
"""The common model, where the federated one is each plant's own."""
WITHOUT_MODEL: Mapping[str, Appearance] = {
    "nothing": Appearance("Inspect nothing", "muted"),
    "everything": Appearance("Inspect every row", "muted"),
    "interval": Appearance("Inspect by interval", "muted"),
}


@dataclass(frozen=True)
class Panel:
    """Carry one plot onto the page.

    Parameters
    ----------
    key
        Its name in the page, unique.
    note
        One or two sentences below it.
    wide
        Whether it takes the page's whole width.
    """

    key: str
    title: str
    figure: go.Figure
    note: str = ""
    wide: bool = False


def contender(who: str) -> Appearance:
    """Return how a contender is shown; one that is not known is grey and keeps its name."""
    known = CONTENDERS.get(who) or COMMON.get(who) or WITHOUT_MODEL.get(who)
    return known or Appearance(who.replace("_", " "), "muted")


def colour_of(who: str) -> str:
    """Return a contender's light colour."""
    return LIGHT[contender(who).colour]


def mode_colour(position: int) -> str:
    """Return the light colour of the failure mode at a position; they repeat after six."""
    return LIGHT[f"mode_{position % 6 + 1}"]


def night() -> dict[str, str]:
    """Return the dark colour of each light one."""
    return {LIGHT[name]: DARK[name] for name in LIGHT}


def blank(height: int, **layout: Any) -> go.Figure:
    """Return an empty figure in the house look.

    Parameters
    ----------
    height
        In pixels; the width follows the page.
    layout
        Anything that plotly's layout takes.
    """
    figure = go.Figure(layout={"template": template(), "height": height})
    figure.update_layout(**layout)
    return figure


def template() -> go.layout.Template:
    """Return the template: no frame, faint grid, quiet labels, legend above."""
    axis = {
        "automargin": True,
        "gridcolor": LIGHT["rule"],
        "linecolor": LIGHT["rule"],
        "zeroline": False,
        "ticks": "",
        "title": {"font": {"size": 12, "color": LIGHT["muted"]}, "standoff": 8},
        "tickfont": {"size": 12, "color": LIGHT["muted"]},
    }
    label = {"bgcolor": LIGHT["paper"], "bordercolor": LIGHT["rule"], "font": {"family": FONT, "color": LIGHT["ink"]}}
    places = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "top", "yref": "container"}
    legend = {**places, "font": {"size": 12}}
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 13, "color": LIGHT["ink"]},
            "paper_bgcolor": LIGHT["paper"],
            "plot_bgcolor": LIGHT["paper"],
            "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
            "xaxis": axis,
            "yaxis": {**axis, "ticklabelstandoff": 6},
            "legend": legend,
            "hoverlabel": label,
            "bargap": 0.3,
            "dragmode": False,
        }
    )


def mark(figure: go.Figure, x: float, text: str) -> None:
    """Draw a thin vertical line with a word beside it."""
    figure.add_vline(
        x=x,
        line={"width": 1, "dash": "dot", "color": LIGHT["muted"]},
        annotation={
            "text": text,
            "font": {"size": 11, "color": LIGHT["muted"]},
            "xanchor": "left",
            "yanchor": "top",
            "y": 1,
            "xshift": 2,
        },
    )
