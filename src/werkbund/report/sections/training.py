"""How the federation learnt: its curves, who took part, who failed, and what it all took."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict

import numpy as np
import plotly.graph_objects as go

from werkbund.core.arrays import Float64Array
from werkbund.evaluation import Expenditure, LearningCurve
from werkbund.report.folder import RunFolder
from werkbund.report.page import LONGEST_TABLE, PageSection, TextTable
from werkbund.report.text import MISSING, bytes_text, duration, energy_text, number_text, plural, whole
from werkbund.report.theme import LIGHT, Panel, blank, colour_of, contender, mark
from werkbund.report.values import RoundLine

MOST_BANDS = 60
"""Rows that the map of who trained has at most."""

SHARES = (0.5, 0.8, 0.9, 0.95)
"""Of the final validation score, for which it is said what they took."""

_WINDOW = 3
"""Rounds over which a score is averaged."""


def training(run: RunFolder) -> PageSection:
    """Return how training went: curves, who took part, and what it took."""
    who_trained = selection(run)
    panels = (*learning(run), *((who_trained,) if who_trained else ()))
    tables = (*effort(run), *_failures(run), *_late(run), *outlying(run), *_refused(run))
    stopped = f" Why it ended: {run.result.stopped.rstrip('.')}." if run.result and run.result.stopped else ""
    lead = f"{plural(len(run.trained), 'round')} of training.{stopped}" if run.trained else ""
    absent = "The rounds of each seed lie in its own folder." if run.comparison else "No round is finished yet."
    return PageSection(
        "rounds", "Training", "How the federation learnt", lead, panels, tables if run.rounds else (), absent=absent
    )


def learning(run: RunFolder) -> tuple[Panel, ...]:
    """Return the curves for which there are at least two rounds."""
    if len(run.rounds) < 2:
        return ()
    panels = (_precision(run), _loss(run), _step(run))
    return tuple(panel for panel in panels if panel is not None)


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
    """Return one line over the rounds; None without a point."""
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
    """Mark each failure: (round, label of its band, what to show on pointing at it)."""
    if failed:
        xs, ys, texts = zip(*failed, strict=True)
        marker = {"symbol": "x", "size": 7, "color": LIGHT["failure"]}
        hover = "%{text}<extra>failed in round %{x}</extra>"
        figure.add_scatter(x=xs, y=ys, text=texts, mode="markers", marker=marker, hovertemplate=hover)


def _failed(run: RunFolder, labels: list[str], size: int) -> list[tuple[int, str, str]]:
    """Return (round, label of the plant's band of `size` plants, name and reason) for each failure."""
    positions = {name: position for position, name in enumerate(run.clients)}
    named = [(line.round, run.client(client), reason) for line in run.trained for client, reason in line.failures]
    return [
        (round, labels[positions[name] // size], f"{name}: {reason}")
        for round, name, reason in named
        if name in positions
    ]


def _taking_part(run: RunFolder, size: int) -> str:
    """Say how many plants were asked in a round, and what crosses and bands mean."""
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


def _failures(run: RunFolder) -> tuple[TextTable, ...]:
    """Return who failed, why, how often and in which rounds, the most frequent first."""
    failed = [(line.round, run.client(client), reason) for line in run.rounds for client, reason in line.failures]
    if not failed:
        return (TextTable(("Failures of plants",), (("No plant failed in any round.",),), numeric=False),)
    rounds = defaultdict(list)
    for round, name, reason in failed:
        rounds[name, reason].append(round)
    often = sorted(rounds.items(), key=lambda item: -len(item[1]))[:LONGEST_TABLE]
    rows = tuple((name, reason, whole(len(seen)), _ranges(seen)) for (name, reason), seen in often)
    return (TextTable(("Failures of plants", "Reason", "Times", "In rounds"), rows, numeric=False),)


def _late(run: RunFolder) -> tuple[TextTable, ...]:
    """Return whose updates came late and counted, and how late; nothing where everybody was waited for."""
    ages = defaultdict(list)
    for line in run.rounds:
        for client, rounds in line.stale:
            ages[run.client(client)].append(rounds)
    often = sorted(ages.items(), key=lambda item: -len(item[1]))[:LONGEST_TABLE]
    rows = tuple(
        (name, whole(len(late)), number_text(float(np.mean(late)), 1), whole(max(late))) for name, late in often
    )
    head = ("Late updates of plants", "Counted", "Rounds late, on average", "At most")
    return (TextTable(head, rows),) if rows else ()


def outlying(run: RunFolder) -> tuple[TextTable, ...]:
    """Return whose updates were far longer than the others', and which bound would hold them; nothing for nobody."""
    found = defaultdict(list)
    for line in run.rounds:
        for client, length in line.outlying:
            found[run.client(client)].append(
                (line.round, length / line.usual_norm if line.usual_norm > 0 else math.nan)
            )
    if not found:
        return ()
    often = sorted(found.items(), key=lambda item: -len(item[1]))[:LONGEST_TABLE]
    rows = tuple(
        (name, number_text(max(times for _, times in seen), 0), whole(len(seen)), _ranges([round for round, _ in seen]))
        for name, seen in often
    )
    head = ("Long updates of plants", "Longest, times the middle one", "Times", "In rounds")
    return (TextTable(head, rows, numeric=False), *_suggested(run))


def _suggested(run: RunFolder) -> tuple[TextTable, ...]:
    """Return the key that bounds what one plant's update can move, at twice the usual length; nothing if it is set."""
    usual = [line.usual_norm for line in run.rounds if line.usual_norm > 0]
    if not usual or re.search(r"^clip_norm", run.config.partition("[strategy.aggregation]")[2], re.MULTILINE):
        return ()
    key = f"strategy.aggregation.clip_norm = {2 * float(np.median(usual)):.2g}"
    return (TextTable(("To bound what one plant can move",), ((f"{key}: twice the middle length",),), numeric=False),)


def _refused(run: RunFolder) -> tuple[TextTable, ...]:
    """Return which rounds left the weights as they were, and why; nothing for none."""
    rounds = defaultdict(list)
    for line in run.rounds:
        if line.refused:
            rounds[line.refused].append(line.round)
    rows = tuple((reason, _ranges(seen)) for reason, seen in rounds.items())
    return (TextTable(("Rounds that changed nothing", "In rounds"), rows, numeric=False),) if rows else ()


def _ranges(rounds: list[int]) -> str:
    """Return rounds with runs shortened: 1, 3 to 5."""
    spans: list[list[int]] = []
    for round in sorted(set(rounds)):
        if spans and round == spans[-1][1] + 1:
            spans[-1][1] = round
        else:
            spans.append([round, round])
    shown = [str(first) if first == last else f"{first} to {last}" for first, last in spans[:8]]
    return ", ".join(shown) + (", …" if len(spans) > 8 else "")


def effort(run: RunFolder) -> tuple[TextTable, ...]:
    """Return what all rounds took, and what it took to reach shares of the final validation score."""
    if not run.rounds:
        return ()
    return (_totals(run), *_milestones(run))


def _totals(run: RunFolder) -> TextTable:
    """Return bytes, time and energy of all rounds; a row that is not known is left out."""
    up, down = (sum(getattr(line, key) for line in run.rounds) for key in ("bytes_up", "bytes_down"))
    seconds, simulated = (sum(getattr(line, key) for line in run.rounds) for key in ("seconds", "simulated_seconds"))
    joules, whole_run = sum(line.joules for line in run.rounds), run.result.seconds if run.result else math.nan
    asked = sum(len(line.cohort) for line in run.rounds)
    rows = (
        ("Left the plants, as weights and counts", bytes_text(up)),
        ("Sent to the plants", bytes_text(down)),
        ("Left a plant in one round, on average", bytes_text(up / asked) if asked else MISSING),
        ("Simulated time of all rounds", duration(simulated) if simulated > 0 else MISSING),
        ("Simulated energy of all plants", energy_text(joules) if joules > 0 else MISSING),
        ("Time of all rounds", duration(seconds)),
        ("Time of the whole run, baselines included", duration(whole_run)),
    )
    return TextTable(("What it took", ""), tuple(row for row in rows if row[1] != MISSING))


def _milestones(run: RunFolder) -> tuple[TextTable, ...]:
    """Return what it took to reach shares of the final validation score; nothing for a run of a few rounds."""
    curve = learning_curve(run.rounds)
    final = curve.final(_WINDOW)
    if not final > 0 or len(run.trained) < 2 * _WINDOW:
        return ()
    simulated = any(line.simulated_seconds > 0 for line in run.rounds)
    efforts = {share: curve.until(share * final, _WINDOW) for share in SHARES}
    head = ("Until validation average precision", "Rounds", "Simulated time" if simulated else "Time", "Energy", "Data")
    rows = tuple(
        _row(f"{number_text(share * final)}, {share:.0%} of the end", spent) for share, spent in efforts.items()
    )
    return (TextTable(head, rows),) if simulated else (TextTable(*_without_energy(head, rows)),)


def _row(label: str, spent: Expenditure) -> tuple[str, ...]:
    return (label, whole(spent.rounds), duration(spent.seconds), energy_text(spent.joules), bytes_text(spent.bytes))


def _without_energy(
    head: tuple[str, ...], rows: tuple[tuple[str, ...], ...]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    return (*head[:3], head[4]), tuple((*row[:3], row[4]) for row in rows)


def learning_curve(rounds: tuple[RoundLine, ...], split: str = "validation") -> LearningCurve:
    """Return how average precision went over the rounds; time is simulated where a world was."""
    spent = {name: _before(rounds, name) for name in ("time", "joules", "bytes")}
    scores = [line.scores[split]["average_precision"] if split in line.scores else math.nan for line in rounds]
    scored = np.array([line.scored for line in rounds], dtype=np.float64)
    return LearningCurve(scored, np.array(scores, dtype=np.float64), spent["time"], spent["joules"], spent["bytes"])


def _before(rounds: tuple[RoundLine, ...], name: str) -> Float64Array:
    """Return what was spent before each round, (rounds,): a round scores the weights that it began with.

    `name` is time (seconds), joules or bytes.
    """
    simulated = any(line.simulated_seconds > 0 for line in rounds)
    each = {
        "time": [line.simulated_seconds if simulated else line.seconds for line in rounds],
        "joules": [line.joules for line in rounds],
        "bytes": [line.bytes_up + line.bytes_down for line in rounds],
    }[name]
    return np.concatenate(([0.0], np.cumsum(np.nan_to_num(each))[:-1]))
