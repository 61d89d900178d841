"""The page of a run: its sections, its few large numbers, and the file that they make."""

from __future__ import annotations

import math
from pathlib import Path

from werkbund.core import DataError
from werkbund.report.folder import RunFolder, read_run
from werkbund.report.page import Page, PageSection, Tile, render_page, write_page
from werkbund.report.sections import SECTIONS
from werkbund.report.sections.later import ages, later_sentence
from werkbund.report.text import duration, number_text, plural
from werkbund.report.verdict import attack_sentence, judge


def write_report(run_dir: Path | str) -> Path:
    """Write `report.html` into a run's folder and return its path.

    The same folder gives the same bytes.

    Raises
    ------
    DataError
        If the folder is no run folder, or a file in it cannot be read.
    """
    run_dir = Path(run_dir)
    run = read_run(run_dir)
    try:
        page = page_of(run)
    except DataError:
        raise
    except Exception as error:  # sections look at parts of run.json that nobody has looked at before
        raise DataError(f"{run_dir} was not written by this version, or was edited: {error!r}; run again") from error
    return write_page(page, run_dir)


def render(run: RunFolder) -> str:
    """Return the whole page as text."""
    return render_page(page_of(run))


def page_of(run: RunFolder) -> Page:
    """Return the page of a run: its verdict, facts and sections."""
    verdict = judge(run)
    return Page(
        name=run.name,
        kind="federation report on generated rows" if is_generated(run) else "federation report",
        sentence=f"{attack_sentence(run)} {verdict.sentence}".strip(),
        outcome=verdict.outcome,
        sections=sections(run),
        remarks=(*verdict.remarks, *((later_sentence(run),) if ages(run) else ())),
        facts=facts(run),
        caption=_caption(run),
        tiles=tiles(run),
    )


def is_generated(run: RunFolder) -> bool:
    """Say whether the rows of a run were made up, so that nothing follows from it for any plant."""
    return bool((run.about.get("data") or {}).get("generated"))


def sections(run: RunFolder) -> tuple[PageSection, ...]:
    """Return the page's sections in reading order."""
    return tuple(make(run) for make in SECTIONS)


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
    shown: list[Tile] = []
    if scores.known("rmse"):
        hint = f"{scores['close']:.0%} within a fifth of the true number; mean error {scores['bias']:+.1f}"
        shown.append(Tile("Root mean squared error", number_text(scores["rmse"], 1), hint))
    if scores.known("average_precision"):
        shown.append(_tile(run, "Average precision", "average_precision", 2))
    caught = scores["recall"] * scores["positives"]
    if math.isfinite(caught):
        hint = f"{scores['recall']:.0%} of those in held-out rows"
        shown.append(Tile("Failures found", f"{caught:.0f} of {scores['positives']:.0f}", hint))
    if scores.known("precision"):
        alarms = caught / scores["precision"] if scores["precision"] > 0 else math.nan
        hint = f"{alarms:,.0f} alarms in {scores['rows']:,.0f} rows" if math.isfinite(alarms + scores["rows"]) else ""
        shown.append(Tile("Alarms that are right", f"{scores['precision']:.0%}", hint))
    if scores.known("cost"):
        shown.append(_tile(run, "Cost per 1,000 rows", "cost", 0))
    return tuple(shown)


def _tile(run: RunFolder, title: str, metric: str, digits: int) -> Tile:
    """Return a figure on the plants' own rows beside others; on everybody's where there was no contest."""
    contest = run.own_rows
    if contest is None or "federated" not in contest.figures or metric not in contest.figures["federated"]:
        figure, _, allowed = run.scores("federated").text(metric, digits).partition(", ")
        return Tile(title, figure, allowed)
    beside = {"local_mean": "alone", "local_trees_mean": "own trees", "nothing": "no model", "pooled": "pooled"}
    known = {who: contest.figures.get(who, {}).get(metric) for who in beside}
    words = [f"{beside[who]} {mean.by_rows.mean:,.{digits}f}" for who, mean in known.items() if mean]
    federated = contest.figures["federated"][metric].by_rows.mean
    return Tile(f"{title}, own rows", number_text(federated, digits), " · ".join(words))


def _caption(run: RunFolder) -> str:
    """Say which run the tiles belong to where the verdict speaks of several seeds."""
    several = len(run.seeds) > 1 and bool(run.comparison)
    return f"One of these runs in detail: seed {run.about.get('seed', 'unknown')}" if several else ""
