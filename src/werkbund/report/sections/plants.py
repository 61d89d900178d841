"""The plants one by one: what each gains, what it made of the model, and what it says beside its updates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from werkbund.report.folder import RunFolder
from werkbund.report.page import LONGEST_TABLE, UNFINISHED, PageSection, TextTable
from werkbund.report.text import MISSING, number_text, plural, signed, whole
from werkbund.report.theme import LIGHT, MOST_BARS, Panel, blank, colour_of, contender
from werkbund.report.values import ClientLine, Scores


def plants(run: RunFolder) -> PageSection:
    """Return what each plant gets on its own test rows."""
    lines = run.result.clients if run.result else ()
    panel = gains(run)
    head = (
        "Plant",
        "Test rows",
        "Failures",
        "Federated",
        "Alone",
        "Difference",
        "Found",
        "Cost per 1,000",
        "Alone, cost",
    )
    shown = most_failures(lines, LONGEST_TABLE)
    rows = tuple(_plant_row(line) for line in shown)
    shortened = len(shown) < len(lines)
    folded = f"The {len(shown)} plants with most failures in numbers" if shortened else "Every plant in numbers"
    return PageSection(
        "plants",
        "Plants",
        "What each plant gets",
        "Each plant's own held-out rows, scored by the shared model and by the model it would have alone.",
        (panel,) if panel else (),
        (TextTable(head, rows, folded=folded),) * bool(rows) + _delivered(run) + _declared(run) + _attackers(run),
        absent=UNFINISHED if run.result is None else "Results by plant were not written for this run.",
    )


def _plant_row(line: ClientLine) -> tuple[str, ...]:
    """Return a plant's figures, with the federated model and with its own."""
    alone = line.local or Scores({})
    federated, local = line.federated["average_precision"], alone["average_precision"]
    return (
        line.name,
        whole(line.federated["rows"]),
        whole(line.federated["positives"]),
        line.federated.text("average_precision"),
        alone.text("average_precision"),
        signed(federated - local, 3),
        f"{line.federated['recall']:.0%}" if line.federated.known("recall") else MISSING,
        number_text(line.federated["cost"], 0),
        number_text(alone["cost"], 0),
    )


def _delivered(run: RunFolder) -> tuple[TextTable, ...]:
    """Return what plants of a real federation made of the model."""
    if run.result is None or not run.result.delivered:
        return ()
    rows = tuple((name, *verdict) for name, verdict in run.result.delivered.items())
    return (TextTable(("Plant", "The delivered model", "Why"), rows, numeric=False),)


def _attackers(run: RunFolder) -> tuple[TextTable, ...]:
    """Return how the model does on the own rows of plants that attacked, and what a back door hides."""
    result = run.result
    if result is None or not result.apart:
        return ()
    rows = [
        (
            line.name,
            whole(line.federated["rows"]),
            whole(line.federated["positives"]),
            line.federated.text("average_precision"),
        )
        for line in result.apart
    ]
    head = ("Plants that attacked, on their own rows", "Test rows", "Failures", "Federated")
    hidden = (("Failures that the pattern hides", f"{result.success:.0%}"),) if math.isfinite(result.success) else ()
    tables = (TextTable(head, tuple(rows)), TextTable(("Back door", "Of the other plants'"), hidden))
    return tables if hidden else tables[:1]


def _declared(run: RunFolder) -> tuple[TextTable, ...]:
    """Return what plants of a real federation declared beside their updates, and what they kept to themselves."""
    declared = [plant for plant in run.about.get("plants") or () if isinstance(plant, dict)]
    rows = tuple(
        (
            str(plant.get("name")),
            str(plant.get("werkbund") or MISSING),
            MISSING if plant.get("rows") is None else whole(float(plant["rows"])),
            ", ".join(map(str, plant.get("refused") or ())) or "nothing",
            f"bins of {_bin_rows(plant)} rows or more" if _bin_rows(plant) > 1 else "score by score",
        )
        for plant in declared
    )
    head = ("Plant", "Werkbund", "Rows", "Keeps to itself", "Counts held-out rows in")
    table = TextTable(head, rows, numeric=False, folded="What each plant tells beside its updates")
    said = (_IN_BINS,) if any(_bin_rows(plant) > 1 for plant in declared) else ()
    return (*said, table) if rows else ()


_SAID = (
    "Some plants count their held-out rows in bins of several rows, so that a count tells no single row's score "
    "(policy.minimum_bin_rows). Where a plant has few held-out rows, average precision comes out too low by it."
)
_IN_BINS = TextTable(("Bins of scores",), ((_SAID,),), numeric=False)


def _bin_rows(plant: Mapping[str, object]) -> int:
    """Return of how many rows a plant's bins are; 0 where it was not said, or in words."""
    told = plant.get("bin_rows")
    return told if isinstance(told, int) else 0


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
    """Say which plants have no bar: those without a test failure, and those beyond the bars that fit."""
    total = len(run.result.clients) if run.result else 0
    sentences = ["Few failures make a rough bar: the count stands beside each name."]
    if total > measurable:
        verb = "has" if total - measurable == 1 else "have"
        sentences.append(f"{plural(total - measurable, 'plant')} {verb} no failure among the test rows, hence no bar.")
    if measurable > shown:
        sentences.append(f"Shown are the {shown} plants with most failures of {measurable}.")
    return " ".join(sentences)
