"""The report as one file that needs nothing else: no network, no server, no second file.

The plotting library is written into the page once. A content security policy in the page forbids it every request,
so that opening the report tells nobody anything.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import jinja2
from plotly.offline import get_plotlyjs

from werkbund.report.content import Section
from werkbund.report.folder import RunFolder, read_run
from werkbund.report.plants import plants
from werkbund.report.plots.theme import DARK, LIGHT, Panel, night
from werkbund.report.provenance import card, methods, repeat
from werkbund.report.sections import compared, course, data, thresholds
from werkbund.report.text import duration, figure, plural
from werkbund.report.verdict import judge


@dataclass(frozen=True)
class Tile:
    """Hold one large number with its name and what to compare it with."""

    label: str
    value: str
    hint: str = ""


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into a run's folder and return its path.

    The same folder gives the same bytes. A report that is there is replaced at once, never half.

    Raises
    ------
    DataError
        If the folder is no run folder, or a file in it cannot be read.
    """
    page = render(read_run(run_dir))
    target, draft = run_dir / "report.html", run_dir / ".report.html.part"
    draft.write_text(page, encoding="utf-8")
    os.replace(draft, target)
    return target


def render(run: RunFolder) -> str:
    """Return the whole page as text."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("werkbund.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template("report.html.j2").render(
        run=run,
        verdict=judge(run),
        tiles=tiles(run),
        caption=_caption(run),
        facts=facts(run),
        sections=sections(run),
        light=LIGHT,
        dark=DARK,
        night=_in_script(json.dumps(night())),
        plotly_js=get_plotlyjs(),
        spec=_spec,
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


def _spec(panel: Panel) -> str:
    return _in_script(panel.figure.to_json())


def _in_script(text: str) -> str:
    """Return JSON that cannot end the script element that holds it; the template takes it as it is."""
    return text.replace("<", "\\u003c")
