"""The report on a run: its sections, its few large numbers, and the page that they make."""

from __future__ import annotations

import math
from pathlib import Path

from werkbund.report.content import Section
from werkbund.report.folder import RunFolder, read_run
from werkbund.report.page import Page, Tile, render_page, write_page
from werkbund.report.plants import plants
from werkbund.report.provenance import card, methods, repeat
from werkbund.report.sections import compared, course, data, thresholds
from werkbund.report.text import duration, figure, plural
from werkbund.report.verdict import judge


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into a run's folder and return its path.

    The same folder gives the same bytes.

    Raises
    ------
    DataError
        If the folder is no run folder, or a file in it cannot be read.
    """
    return write_page(page_of(read_run(run_dir)), run_dir)


def render(run: RunFolder) -> str:
    """Return the whole page as text."""
    return render_page(page_of(run))


def page_of(run: RunFolder) -> Page:
    """Return what the page of a run shows."""
    verdict = judge(run)
    return Page(
        name=run.name,
        kind="federation report",
        sentence=verdict.sentence,
        outcome=verdict.outcome,
        sections=sections(run),
        remarks=verdict.remarks,
        facts=facts(run),
        caption=_caption(run),
        tiles=tiles(run),
    )


def sections(run: RunFolder) -> tuple[Section, ...]:
    """Return the page's sections in reading order."""
    made = (compared, plants, thresholds, course, data, card, methods, repeat)
    return tuple(make(run) for make in made)


def facts(run: RunFolder) -> tuple[str, ...]:
    """Return what was run, in a few short phrases."""
    origin = run.about.get("data") or {}
    seconds = run.result.seconds if run.result else math.nan
    phrases = (
        plural(len(run.clients), "plant") if run.clients else "",
        plural(int(origin["rows"]), "row") if origin.get("rows") else "",
        plural(int(origin["positives"]), "failure") if origin.get("positives") is not None else "",
        plural(len(run.trained), "round") if run.trained else "",
        duration(seconds) if math.isfinite(seconds) else "",
    )
    return tuple(phrase for phrase in phrases if phrase)


def tiles(run: RunFolder) -> tuple[Tile, ...]:
    """Return the few numbers to remember; none before the final evaluation."""
    scores = run.scores("federated")
    found: list[Tile] = []
    if scores.known("average_precision"):
        found.append(
            Tile("Average precision", figure(scores["average_precision"], 2), _beside(run, "average_precision", 2))
        )
    caught = scores["recall"] * scores["positives"]
    if math.isfinite(caught):
        hint = f"{scores['recall']:.0%} of those in held-out rows"
        found.append(Tile("Failures found", f"{caught:.0f} of {scores['positives']:.0f}", hint))
    if scores.known("precision"):
        alarms = caught / scores["precision"] if scores["precision"] > 0 else math.nan
        hint = f"{alarms:,.0f} alarms in {scores['rows']:,.0f} rows" if math.isfinite(alarms + scores["rows"]) else ""
        found.append(Tile("Alarms that are right", f"{scores['precision']:.0%}", hint))
    if scores.known("cost"):
        found.append(Tile("Cost per 1,000 rows", figure(scores["cost"], 0), _beside(run, "cost", 0)))
    return tuple(found)


def _beside(run: RunFolder, metric: str, digits: int) -> str:
    others = {"alone": run.scores("local_mean")[metric], "pooled": run.scores("pooled")[metric]}
    return " · ".join(f"{who} {value:,.{digits}f}" for who, value in others.items() if math.isfinite(value))


def _caption(run: RunFolder) -> str:
    """Say which run the tiles belong to where the verdict speaks of several seeds."""
    several = len(run.seeds) > 1 and bool(run.comparison)
    return f"One of these runs in detail: seed {run.about.get('seed', 'unknown')}" if several else ""
