"""What a run took, and what it took to be nearly as good as it became."""

from __future__ import annotations

import math

import numpy as np

from werkbund.evaluation import Effort, LearningCurve
from werkbund.report.content import Table
from werkbund.report.folder import RunFolder
from werkbund.report.text import MISSING, bytes_text, duration, energy_text, figure, whole
from werkbund.report.values import RoundLine

SHARES = (0.5, 0.8, 0.9, 0.95)
_WINDOW = 3


def effort(run: RunFolder) -> tuple[Table, ...]:
    """Return what all rounds took, and what it took to reach shares of the final validation score."""
    if not run.rounds:
        return ()
    return (_totals(run), *_milestones(run))


def course_of(rounds: tuple[RoundLine, ...], split: str = "validation") -> LearningCurve:
    """Return how average precision went over the rounds; time is simulated where a world was."""
    spent = {name: _before(rounds, name) for name in ("time", "joules", "bytes")}
    scores = [line.scores[split]["average_precision"] if split in line.scores else math.nan for line in rounds]
    scored = np.array([line.scored for line in rounds], dtype=np.float64)
    return LearningCurve(scored, np.array(scores, dtype=np.float64), spent["time"], spent["joules"], spent["bytes"])


def _before(rounds: tuple[RoundLine, ...], name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return what was spent before each round: a round scores the weights that it began with."""
    simulated = any(line.simulated_seconds > 0 for line in rounds)
    each = {
        "time": [line.simulated_seconds if simulated else line.seconds for line in rounds],
        "joules": [line.joules for line in rounds],
        "bytes": [line.bytes_up + line.bytes_down for line in rounds],
    }[name]
    return np.concatenate(([0.0], np.cumsum(np.nan_to_num(each))[:-1]))


def _totals(run: RunFolder) -> Table:
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
    return Table(("What it took", ""), tuple(row for row in rows if row[1] != MISSING))


def _milestones(run: RunFolder) -> tuple[Table, ...]:
    course = course_of(run.rounds)
    final = course.final(_WINDOW)
    if not final > 0 or len(run.trained) < 2 * _WINDOW:
        return ()
    simulated = any(line.simulated_seconds > 0 for line in run.rounds)
    found = {share: course.until(share * final, _WINDOW) for share in SHARES}
    head = ("Until validation average precision", "Rounds", "Simulated time" if simulated else "Time", "Energy", "Data")
    rows = tuple(_row(f"{figure(share * final)}, {share:.0%} of the end", one) for share, one in found.items())
    return (Table(head, rows),) if simulated else (Table(*_without_energy(head, rows)),)


def _row(label: str, one: Effort) -> tuple[str, ...]:
    return (label, whole(one.rounds), duration(one.seconds), energy_text(one.joules), bytes_text(one.bytes))


def _without_energy(
    head: tuple[str, ...], rows: tuple[tuple[str, ...], ...]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    return (*head[:3], head[4]), tuple((*row[:3], row[4]) for row in rows)
