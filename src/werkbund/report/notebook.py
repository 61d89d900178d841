"""A finished run as a notebook shows it: the verdict, and all contenders on the plants' own rows."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from werkbund.evaluation import Contest, Interval
from werkbund.report.folder import read_run
from werkbund.report.text import MISSING, interval_text
from werkbund.report.theme import contender
from werkbund.report.verdict import judge

_TITLES = {"rmse": "RMSE", "average_precision": "average precision", "cost": "cost per 1000 rows"}


def run_html(folder: Path) -> str:
    """Return a piece of HTML about a finished run, without scripts or styles of its own.

    Raises
    ------
    DataError
        If the folder is none of a finished run.
    """
    run = read_run(folder)
    verdict, contest = judge(run), run.own_rows
    remarks = "".join(f"<li>{escape(remark)}</li>" for remark in verdict.remarks)
    table = _table(contest) if contest is not None else ""
    report = f"<p>Report: <code>{escape(str(folder / 'report.html'))}</code></p>"
    return f"<p><b>{escape(verdict.sentence)}</b></p>{table}<ul>{remarks}</ul>{report}"


def _table(contest: Contest) -> str:
    """Return the contenders' figures on own rows, each with its interval."""
    names = list(contest.figures.get("federated", {}))
    head = "".join(f"<th>{escape(_TITLES.get(name, name))}, own rows</th>" for name in names)
    lines = "".join(
        f"<tr><th>{escape(contender(who).label)}</th>"
        + "".join(f"<td>{_figure(of[name].by_rows, name) if name in of else ''}</td>" for name in names)
        + "</tr>"
        for who, of in contest.figures.items()
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _figure(figure: Interval, name: str) -> str:
    digits = 0 if name == "cost" else 2
    return MISSING if math.isnan(figure.mean) else interval_text(figure, lambda value: f"{value:.{digits}f}")
