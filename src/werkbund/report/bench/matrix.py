"""The page of a bench of defences: what each keeps of the score under each attack, and what back doors reach."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkbund.core import DataError
from werkbund.evaluation import Interval
from werkbund.report.bench.values import interval
from werkbund.report.page import Page, PageSection, TextTable, write_page
from werkbund.report.text import MISSING, duration, number_text, plural
from werkbund.report.theme import LIGHT, Panel, blank
from werkbund.report.values import Json

MATRIX = "attacks.json"
"""Name of the file that holds a finished bench of defences."""

REFERENCE, DEFAULT = "reference", "fedavg"


@dataclass(frozen=True)
class MatrixCell:
    """Hold what one defence reached under one attack by one share of the clients.

    Parameters
    ----------
    score
        Average precision on the honest clients' test rows.
    kept, of_default
        As a share of what the defence, and what the default rule, reaches where nobody attacks.
    success, success_reference
        Share of failures that a back door's pattern hides, and as many where nobody attacks; NaN for other attacks.
    errors
        What runs failed with.
    """

    share: float
    defence: str
    attack: str
    score: Interval
    kept: Interval
    of_default: Interval
    success: Interval
    success_reference: Interval
    errors: tuple[str, ...]

    @classmethod
    def parse(cls, written: Json) -> MatrixCell:
        """Read one entry of `cells`."""
        names = ("average_precision", "kept", "of_default", "success", "success_reference")
        score, kept, of_default, success, reference = (interval(written[name]) for name in names)
        errors = tuple(map(str, written["errors"]))
        where = float(written["share"]), str(written["defence"]), str(written["attack"])
        return cls(*where, score, kept, of_default, success, reference, errors)


@dataclass(frozen=True)
class MatrixFolder:
    """Hold what a bench of defences wrote for people.

    Parameters
    ----------
    about
        attacks.json as it stands.
    cells
        One a share, defence and attack.
    """

    path: Path
    about: Mapping[str, Any]
    cells: tuple[MatrixCell, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of the clients that attack."""
        return tuple(float(share) for share in self.about["shares"])

    @property
    def attacks(self) -> tuple[str, ...]:
        """The attacks, the reference first."""
        return (REFERENCE, *map(str, self.about["attacks"]))

    def cell(self, share: float, defence: str, attack: str) -> MatrixCell:
        """Return the cell of a defence and an attack."""
        return next(cell for cell in self.cells if (cell.share, cell.defence, cell.attack) == (share, defence, attack))

    def defences(self, share: float) -> tuple[str, ...]:
        """Return the defences, the one that keeps most in its worst case first, those that failed last."""

        def worst(defence: str) -> float:
            kept = [self.cell(share, defence, attack).of_default.mean for attack in self.attacks]
            return min((-1.0 if math.isnan(value) else value for value in kept), default=-1.0)

        return tuple(sorted(map(str, self.about["defences"]), key=worst, reverse=True))


def read_matrix(path: Path) -> MatrixFolder:
    """Read the folder of a bench of defences.

    Raises
    ------
    DataError
        If it is none, or cannot be read.
    """
    file = path / MATRIX
    if not file.is_file():
        raise DataError(f"{path} must be the folder of a finished bench with {MATRIX}; run the bench again to finish")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        return MatrixFolder(path, about, tuple(MatrixCell.parse(cell) for cell in about["cells"]))
    except Exception as error:  # what is wrong shows wherever it is first looked at
        raise DataError(f"{file} was not written by this version, or was edited: {error!r}; run it again") from error


def write_matrix_report(folder: Path) -> Path:
    """Write `report.html` into the folder of a bench of defences and return its path.

    Raises
    ------
    DataError
        If the folder holds no finished one.
    """
    return write_page(matrix_page(read_matrix(folder)), folder)


def matrix_page(matrix: MatrixFolder) -> Page:
    """Return the page: its sentence, facts and a section a share."""
    about = matrix.about
    return Page(
        name=matrix.path.resolve().name,
        kind="attack bench",
        sentence=matrix_sentence(matrix),
        outcome="pays" if all(best["is_enough"] for best in about["best"]) else "level",
        sections=(*(_share_section(matrix, share) for share in matrix.shares), _details(matrix)),
        remarks=(
            "A run that attackers brought down gave no model, and counts as an average precision of 0.",
            "The best defence of each attack is picked by these same runs, and looks a little better for it.",
            f"Intervals are over {plural(len(about['seeds']), 'seed')}: they are resamplings of one table.",
            *_failed(matrix),
        ),
        facts=(
            plural(len(about["defences"]), "defence"),
            plural(len(about["attacks"]), "attack"),
            plural(len(about["seeds"]), "seed"),
            plural(int(about["rounds"]), "round"),
            duration(float(about["seconds"])),
        ),
    )


def matrix_sentence(matrix: MatrixFolder) -> str:
    """Say under how many attacks some defence keeps enough, and under which none does."""
    best, enough = matrix.about["best"], float(matrix.about["enough"])
    if not best:
        return "No defence stood any attack to the end, so there is nothing to compare."
    below = [each for each in best if not each["is_enough"]]
    short = [f"{each['attack']} by {each['share']:.0%} of the plants ({each['keeps']:.0%})" for each in below]
    first = (
        f"Under {len(best) - len(short)} of {plural(len(best), 'attack')} some defence keeps at least {enough:.0%} of "
        "the average precision that federated averaging has without attack"
    )
    return f"{first}; the best fall short under {', '.join(short)}." if short else f"{first}."


def _failed(matrix: MatrixFolder) -> tuple[str, ...]:
    failed = {cell.defence: cell.errors[0] for cell in matrix.cells if cell.errors}
    return tuple(f"{defence} did not finish every run: {error}" for defence, error in failed.items())


def _share_section(matrix: MatrixFolder, share: float) -> PageSection:
    """Return the matrix of one share of attackers: heat maps, and every figure with its interval."""
    defences, about = matrix.defences(share), matrix.about
    lead = (
        f"{about['clients'] or 'As many as the table names'} plants, {share:.0%} of which attack from the first round "
        f"on. Average precision on the test rows of the others, mean of the last {about['window']} rounds, as a share "
        "of what federated averaging reaches on the same rows where nobody attacks (column reference)."
    )
    panels = [_heat(matrix, share, defences)]
    doors = [attack for attack in matrix.attacks if _has_success(matrix, share, attack)]
    if doors:
        panels.append(_hidden(matrix, share, defences, doors))
    head = ("Defence", "Attack", "Average precision", "of its own without attack", "of federated averaging's", "Hidden")
    rows = tuple(_row(matrix.cell(share, defence, attack)) for defence in defences for attack in matrix.attacks)
    table = TextTable(head, rows, folded="All figures with their 95% intervals")
    title = f"{share:.0%} of the plants attack"
    return PageSection(f"share-{share:g}", f"{share:.0%}", title, lead, tuple(panels), (table,))


def _row(cell: MatrixCell) -> tuple[str, ...]:
    success, without = cell.success.mean, cell.success_reference.mean
    hidden = f"{success:.0%} ({without:.0%} without)" if _is_known(cell.success) else MISSING
    return (cell.defence, cell.attack, _span(cell.score), _span(cell.kept), _span(cell.of_default), hidden)


def _span(span: Interval) -> str:
    """Return a mean with its interval."""
    if not math.isfinite(span.low):
        return number_text(span.mean)
    return f"{number_text(span.mean)} ({number_text(span.low)} to {number_text(span.high)})"


def _is_known(span: Interval) -> bool:
    return math.isfinite(span.mean)


def _has_success(matrix: MatrixFolder, share: float, attack: str) -> bool:
    return any(_is_known(matrix.cell(share, str(defence), attack).success) for defence in matrix.about["defences"])


def _heat(matrix: MatrixFolder, share: float, defences: Sequence[str]) -> Panel:
    """Return what each defence keeps under each attack, at one look."""
    rows = [[matrix.cell(share, defence, attack).of_default.mean for attack in matrix.attacks] for defence in defences]
    note = "Mean over seeds; 100% is federated averaging without attack. The defence with the best worst case is first."
    return _map(f"attack-kept-{share:g}", "Score kept", (matrix.attacks, defences), rows, note)


def _hidden(matrix: MatrixFolder, share: float, defences: Sequence[str], doors: Sequence[str]) -> Panel:
    """Return how many failures each back door hides, beside how many the pattern hides where nobody attacks."""
    columns = [name for door in doors for name in (door, f"{door}, nobody attacks")]
    rows = []
    for defence in defences:
        cells = [matrix.cell(share, defence, door) for door in doors]
        rows.append([1 - span.mean for cell in cells for span in (cell.success, cell.success_reference)])
    note = "Share of the other plants' failures that still raise an alarm once the pattern is stamped on them."
    return _map(f"attack-doors-{share:g}", "Failures found behind the back door", (columns, defences), rows, note)


def _map(
    key: str, title: str, axes: tuple[Sequence[str], Sequence[str]], rows: Sequence[Sequence[float]], note: str
) -> Panel:
    """Return a heat map of shares, (defences, columns); the larger the better."""
    figure = blank(150 + 24 * len(rows), showlegend=False)
    figure.add_heatmap(
        z=rows,
        x=list(axes[0]),
        y=list(axes[1]),
        text=[[f"{value:.0%}" if math.isfinite(value) else MISSING for value in row] for row in rows],
        texttemplate="%{text}",
        zmin=0,
        zmax=1,
        colorscale=[[0, LIGHT["failure"]], [0.6, LIGHT["paper"]], [1, LIGHT["pooled"]]],
        showscale=False,
        xgap=2,
        ygap=2,
        hovertemplate="%{y}, %{x}: %{z:.1%}<extra></extra>",
    )
    figure.update_xaxes(side="top", showgrid=False, type="category", tickangle=-40)
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category", tickfont_color=LIGHT["ink"], dtick=1)
    return Panel(key, title, figure, note, wide=True)


def _details(matrix: MatrixFolder) -> PageSection:
    about = matrix.about
    rows = tuple(
        (f"{best['attack']}, {best['share']:.0%}", best["defence"], f"{best['keeps']:.1%}") for best in about["best"]
    )
    settings = (
        ("Command", " ".join(about.get("command") or ()) or MISSING),
        ("Seeds", ", ".join(map(str, about["seeds"]))),
    )
    tables = (
        TextTable(("Attack", "Best defence", "Keeps"), rows, numeric=False),
        TextTable(("How it was run", ""), settings, numeric=False),
    )
    return PageSection("details", "Details", "The best defence of each attack", "", (), tables)
