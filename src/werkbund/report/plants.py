"""The section on plants: what each gets, what it made of the model, and what it tells."""

from __future__ import annotations

from werkbund.report import plots
from werkbund.report.content import LONGEST_TABLE, UNFINISHED, Section, Table
from werkbund.report.folder import RunFolder
from werkbund.report.plots.clients import most_failures
from werkbund.report.text import MISSING, figure, signed, whole
from werkbund.report.values import ClientLine, Scores


def plants(run: RunFolder) -> Section:
    """Return what each plant gets on its own test rows."""
    lines = run.result.clients if run.result else ()
    panel = plots.gains(run)
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
    some = len(shown) < len(lines)
    folded = f"The {len(shown)} plants with most failures in numbers" if some else "Every plant in numbers"
    return Section(
        "plants",
        "Plants",
        "What each plant gets",
        "Each plant's own held-out rows, scored by the shared model and by the model it would have alone.",
        (panel,) if panel else (),
        (*((Table(head, rows, folded=folded),) if rows else ()), *_delivered(run), *_told(run)),
        absent=UNFINISHED if run.result is None else "Results by plant were not written for this run.",
    )


def _delivered(run: RunFolder) -> tuple[Table, ...]:
    """Return what plants of a real federation made of the model."""
    if run.result is None or not run.result.delivered:
        return ()
    rows = tuple((name, *verdict) for name, verdict in run.result.delivered.items())
    return (Table(("Plant", "The delivered model", "Why"), rows, numeric=False),)


def _told(run: RunFolder) -> tuple[Table, ...]:
    """Return what plants of a real federation told beside their updates, and what they kept to themselves."""
    plants = [one for one in run.about.get("plants") or () if isinstance(one, dict)]
    rows = tuple(
        (
            str(one.get("name")),
            str(one.get("werkbund") or MISSING),
            MISSING if one.get("rows") is None else whole(float(one["rows"])),
            ", ".join(map(str, one.get("refused") or ())) or "nothing",
        )
        for one in plants
    )
    head = ("Plant", "Werkbund", "Rows", "Keeps to itself")
    return (Table(head, rows, numeric=False, folded="What each plant tells beside its updates"),) if rows else ()


def _plant_row(line: ClientLine) -> tuple[str, ...]:
    alone = line.local or Scores({})
    ours, theirs = line.federated["average_precision"], alone["average_precision"]
    return (
        line.name,
        whole(line.federated["rows"]),
        whole(line.federated["positives"]),
        figure(ours),
        figure(theirs),
        signed(ours - theirs, 3),
        f"{line.federated['recall']:.0%}" if line.federated.known("recall") else MISSING,
        figure(line.federated["cost"], 0),
        figure(alone["cost"], 0),
    )
