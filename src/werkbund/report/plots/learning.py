"""How the federation learnt, round by round, and who took part."""

from __future__ import annotations

import math
from collections import Counter

import plotly.graph_objects as go

from werkbund.report.folder import RunFolder
from werkbund.report.plots.theme import LIGHT, Panel, blank, colour_of, contender, mark

MOST_BANDS = 60


def learning(run: RunFolder) -> tuple[Panel, ...]:
    """Return the curves for which there are at least two rounds."""
    if len(run.rounds) < 2:
        return ()
    found = (_precision(run), _loss(run), _step(run))
    return tuple(panel for panel in found if panel is not None)


def _precision(run: RunFolder) -> Panel | None:
    splits = {"validation": ("solid", LIGHT["federated"], 2.2), "test": ("dot", LIGHT["ink"], 1.3)}
    figure = blank(330, hovermode="x unified")
    for split, (dash, colour, width) in splits.items():
        points = [(line.scored, line.scores[split]["average_precision"]) for line in run.rounds if split in line.scores]
        known = [(x, y) for x, y in points if math.isfinite(y)]
        if not known:
            continue
        xs, ys = zip(*known, strict=True)
        line = {"color": colour, "dash": dash, "width": width}
        figure.add_scatter(x=xs, y=ys, mode="lines", name=f"{split.capitalize()} rows", line=line)
    if not figure.data:
        return None
    levels = [who for who in ("local_mean", "pooled") if run.scores(who).known("average_precision")]
    for who in levels:
        _level(figure, run.scores(who)["average_precision"], who)
    if run.result and run.result.best_round is not None:
        mark(figure, run.result.best_round, f"kept: round {run.result.best_round}")
    figure.update_xaxes(title_text="Round", showgrid=False)
    figure.update_yaxes(range=[0, 1.02], hoverformat=".3f")
    dashed = " Dashed: what is reached on the test rows without federating." if levels else ""
    note = f"Every choice follows the validation rows alone.{dashed}"
    return Panel("learn-precision", "Average precision", figure, note, wide=True)


def _level(figure: go.Figure, value: float, who: str) -> None:
    line = {"width": 1.4, "dash": "dash", "color": colour_of(who)}
    text = {"text": contender(who).label, "font": {"size": 11, "color": LIGHT["muted"]}}
    figure.add_hline(y=value, line=line, annotation=text, annotation_position="top left")


def _loss(run: RunFolder) -> Panel | None:
    points = [(line.round, line.loss) for line in run.trained if math.isfinite(line.loss)]
    return _line("learn-loss", "Training loss", points, "Mean over the rows of the plants that trained in the round.")


def _step(run: RunFolder) -> Panel | None:
    points = [(line.round, line.update_norm) for line in run.trained if math.isfinite(line.update_norm)]
    note = "Length of the step that the shared weights take; it shrinks as the plants come to agree."
    return _line("learn-step", "Step of the shared weights", points, note)


def _line(key: str, title: str, points: list[tuple[int, float]], note: str) -> Panel | None:
    if not points:
        return None
    xs, ys = zip(*points, strict=True)
    figure = blank(230, showlegend=False)
    hover = "round %{x}: %{y:.4g}<extra></extra>"
    figure.add_scatter(x=xs, y=ys, mode="lines", line={"color": LIGHT["federated"], "width": 1.8}, hovertemplate=hover)
    figure.update_xaxes(title_text="Round", showgrid=False)
    figure.update_yaxes(rangemode="tozero")
    return Panel(key, title, figure, note)


def selection(run: RunFolder) -> Panel | None:
    """Return who was chosen when, and who failed; None if nobody trained or the clients have no names.

    Above `MOST_BANDS` clients, neighbours share a band and its colour is the share of them that was chosen.
    """
    if not run.trained or not run.clients:
        return None
    size = math.ceil(len(run.clients) / MOST_BANDS)
    bands = [run.clients[start : start + size] for start in range(0, len(run.clients), size)]
    labels = [band[0] if len(band) == 1 else f"{band[0]} … {band[-1]}" for band in bands]
    figure = blank(70 + (20 if len(bands) <= 30 else 13) * len(bands), showlegend=False)
    figure.add_heatmap(
        z=_shares(run, [len(band) for band in bands], size),
        x=[line.round for line in run.trained],
        y=labels,
        zmin=0,
        zmax=1,
        xgap=1 if len(run.trained) <= 120 else 0,
        ygap=1,
        showscale=False,
        colorscale=[[0, LIGHT["idle"]], [1, LIGHT["pooled"]]],
        hovertemplate="%{y}, round %{x}: %{z:.0%} chosen<extra></extra>",
    )
    _crosses(figure, _failed(run, labels, size))
    ends = [run.trained[0].round - 0.5, run.trained[-1].round + 0.5]
    figure.update_xaxes(title_text="Round", showgrid=False, range=ends)
    figure.update_yaxes(range=[len(bands) - 0.5, -0.5], showgrid=False, type="category")
    return Panel("selection", "Who trained in which round", figure, _taking_part(run, size), wide=True)


def _shares(run: RunFolder, counts: list[int], size: int) -> list[list[float]]:
    """Return which share of each band was chosen in each round: (bands, rounds)."""
    shares = [[0.0] * len(run.trained) for _ in counts]
    for column, line in enumerate(run.trained):
        for band, chosen in Counter(client // size for client in line.cohort).items():
            if band < len(counts):
                shares[band][column] = chosen / counts[band]
    return shares


def _crosses(figure: go.Figure, failed: list[tuple[int, str, str]]) -> None:
    if failed:
        xs, ys, texts = zip(*failed, strict=True)
        marker = {"symbol": "x", "size": 7, "color": LIGHT["failure"]}
        hover = "%{text}<extra>failed in round %{x}</extra>"
        figure.add_scatter(x=xs, y=ys, text=texts, mode="markers", marker=marker, hovertemplate=hover)


def _failed(run: RunFolder, labels: list[str], size: int) -> list[tuple[int, str, str]]:
    positions = {name: position for position, name in enumerate(run.clients)}
    named = [(line.round, run.client(client), reason) for line in run.trained for client, reason in line.failures]
    return [
        (round, labels[positions[name] // size], f"{name}: {reason}")
        for round, name, reason in named
        if name in positions
    ]


def _taking_part(run: RunFolder, size: int) -> str:
    total, chosen = len(run.clients), [len(line.cohort) for line in run.trained]
    low, high = min(chosen), max(chosen)
    often = (
        f"All {total} plants were"
        if low == total
        else f"{low if low == high else f'{low} to {high}'} of {total} plants were"
    )
    failed = sum(len(line.failures) for line in run.trained)
    crosses = " A cross marks a plant that did not answer usefully." if failed else ""
    banded = f" Each band stands for {size} plants; the darker, the more of them." if size > 1 else ""
    return f"{often} asked to train in {'every' if low == high else 'each'} round.{crosses}{banded}"
