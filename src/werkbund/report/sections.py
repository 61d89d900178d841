"""What the page says, section by section, before any of it is HTML.

A section whose data the run did not write keeps its place with one plain sentence, so that a reader sees what was
not done rather than wondering where it is.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict

from werkbund.report import plots
from werkbund.report.content import LONGEST_TABLE, UNFINISHED, Section, Table
from werkbund.report.effort import effort
from werkbund.report.folder import RunFolder
from werkbund.report.plots.theme import CONTENDERS, contender
from werkbund.report.text import figure, plural, whole
from werkbund.report.values import Scores

_COLUMNS = (
    ("Average precision", "average_precision", 3),
    ("F1", "f1", 3),
    ("Precision", "precision", 3),
    ("Recall", "recall", 3),
    ("ROC AUC", "roc_auc", 3),
    ("Cost per 1,000", "cost", 0),
)


def compared(run: RunFolder) -> Section:
    """Return the comparison of all contenders on the same test rows."""
    scored = run.result.scores if run.result else {}
    order = [who for who in CONTENDERS if who in scored] + [who for who in scored if who not in CONTENDERS]
    rows = tuple((contender(who).label, *_cells(scored[who])) for who in order)
    modes = plots.by_mode(run)
    return Section(
        "comparison",
        "Comparison",
        "Does federating pay?",
        _setting(run, len(order)),
        (*plots.comparison(run), *((modes,) if modes else ())),
        (Table(("This run", *(head for head, _, _ in _COLUMNS)), rows), *_seed_table(run))
        if rows
        else _seed_table(run),
        absent=UNFINISHED,
    )


def _setting(run: RunFolder, contenders: int) -> str:
    """Say what is compared with what."""
    if run.comparison:
        bars = (
            f"Bars are means over {plural(len(run.seeds), 'seed')} with 95% intervals; the table is one of these runs."
        )
        return f"All contenders are scored on the same held-out rows. {bars}"
    if contenders == 1:
        return "Only the federated model was trained, so there is nothing to compare it with."
    return "All contenders are scored on the same held-out rows; “alone” is the mean over the plants' own models."


def _cells(scores: Scores) -> tuple[str, ...]:
    return tuple(figure(scores[key], digits) for _, key, digits in _COLUMNS)


def _seed_table(run: RunFolder) -> tuple[Table, ...]:
    if not run.comparison:
        return ()
    rows = tuple(
        (
            f"{contender(row.who).label}: {row.metric.replace('_', ' ')}",
            figure(row.mean),
            f"{figure(row.low)} to {figure(row.high)}",
            ", ".join(figure(value) for value in row.values),
        )
        for row in run.comparison
    )
    return (Table(("Over seeds", "Mean", "95% interval", "Each seed"), rows, folded="All seeds"),)


def thresholds(run: RunFolder) -> Section:
    """Return what the scores look like and what a threshold costs."""
    panels = plots.scores(run.result) if run.result else ()
    known = run.result is not None and math.isfinite(run.result.threshold)
    at = f" It raises an alarm from a probability of {run.result.threshold:.3g}." if run.result and known else ""
    lead = f"The model gives each row a probability of failure.{at}"
    absent = UNFINISHED if run.result is None else "The final model's scores were not counted in this run."
    return Section("threshold", "Alarms", "Scores, alarms and their cost", lead, panels, absent=absent)


def course(run: RunFolder) -> Section:
    """Return how training went: curves, who took part, and what it took."""
    chosen = plots.selection(run)
    panels = (*plots.learning(run), *((chosen,) if chosen else ()))
    tables = (*effort(run), *_failures(run))
    stopped = f" Why it ended: {run.result.stopped.rstrip('.')}." if run.result and run.result.stopped else ""
    lead = f"{plural(len(run.trained), 'round')} of training.{stopped}" if run.trained else ""
    absent = "The rounds of each seed lie in its own folder." if run.comparison else "No round is finished yet."
    return Section(
        "rounds", "Training", "How the federation learnt", lead, panels, tables if run.rounds else (), absent=absent
    )


def _failures(run: RunFolder) -> tuple[Table, ...]:
    failed = [(line.round, run.client(client), reason) for line in run.rounds for client, reason in line.failures]
    if not failed:
        return (Table(("Failures of plants",), (("No plant failed in any round.",),), numeric=False),)
    rounds = defaultdict(list)
    for round, name, reason in failed:
        rounds[name, reason].append(round)
    often = sorted(rounds.items(), key=lambda item: -len(item[1]))[:LONGEST_TABLE]
    rows = tuple((name, reason, whole(len(seen)), _ranges(seen)) for (name, reason), seen in often)
    return (Table(("Failures of plants", "Reason", "Times", "In rounds"), rows, numeric=False),)


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


def data(run: RunFolder) -> Section:
    """Return how the plants' data differ, and what the checks found."""
    origin = run.about.get("data") or {}
    panels = plots.skew(run.skew) if run.skew and run.skew.names else ()
    findings = [finding for finding in run.about.get("findings") or () if isinstance(finding, dict)]
    rank = {"error": 0, "warning": 1, "note": 2}
    ordered = sorted(findings, key=lambda one: rank.get(str(one.get("level")), 3))
    rows = tuple(
        (str(one.get("level", "")), str(one.get("column", "")), str(one.get("message", "")), _affected(one.get("rows")))
        for one in ordered
    )
    counts = Counter(str(one.get("level")) for one in findings)
    summary = ", ".join(
        plural(count, level) for level, count in sorted(counts.items(), key=lambda c: rank.get(c[0], 3))
    )
    found = Table((f"Quality: {summary}", "Column", "Finding", "Rows"), rows, numeric=False)
    clean = Table(("Quality",), (("The checks found nothing to report.",),), numeric=False)
    checked = (found,) if rows else (clean,) if "findings" in run.about else ()
    return Section(
        "data",
        "Data",
        "The data, and how the plants differ",
        str(origin.get("note", "")),
        panels,
        checked,
        absent="The run did not write how its plants' data differ.",
    )


def _affected(rows: object) -> str:
    return whole(float(rows)) if isinstance(rows, int | float) and rows else ""
