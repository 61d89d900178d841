"""Whether federating pays, decided by the intervals of a contest on the plants' own rows.

The rule was fixed before anyone looked. The federated model must rank failures better, or foretell a number closer,
than each kind of model that a plant can learn alone, by intervals that hold no 0, in the mean weighted by rows and in
the plain mean over plants, and at most plants. It does not pay as soon as one kind of model of the plants' own is so
much better. A model whose alarms cost no less than a habit without any model pays in no case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from werkbund.core.defaults import ENOUGH_FAILURES
from werkbund.evaluation.contest import MEASURES, Contest, PlantLine
from werkbund.evaluation.habits import HABITS
from werkbund.evaluation.intervals import Interval

Outcome = Literal["pays", "mixed", "level", "loses", "unknown"]

ALONE = ("local_mean", "local_trees_mean")
"""The contenders that a plant can be without others: the same model, and the better of its own forest and boosting."""
FEWEST_FAILURES = ENOUGH_FAILURES
"""Failures in the held-out rows below which no interval is believed, as none chooses a round; of a number rows."""
FEWEST_AT_A_PLANT = 5
"""The same for one plant by name."""


@dataclass(frozen=True)
class Ruling:
    """Hold what a contest says.

    Parameters
    ----------
    outcome
        Pays; mixed: for some plants or by one of the two means alone; level: no clear difference; loses; unknown:
        there is nothing to compare.
    rival
        Which of `ALONE` is the stronger one; empty if there is none.
    gain
        By how much the federated model is better than this rival, in the contest's measure: the mean weighted by rows.
    habit
        Which of `HABITS` costs least; empty if costs are not known.
    saving
        Cost of the federated model minus that of the habit, per 1000 rows, weighted by rows.
    better, worse, open
        Plants by name, each by its own interval: clearly better with the federated model than with any of `ALONE`,
        clearly worse than with one of them, and not clear.
    """

    outcome: Outcome
    rival: str
    gain: Interval
    habit: str
    saving: Interval
    better: tuple[str, ...]
    worse: tuple[str, ...]
    open: tuple[str, ...]

    @property
    def useful(self) -> bool:
        """Whether the model's alarms cost less than the cheapest habit."""
        return not self.saving.mean >= 0

    @property
    def surely_useful(self) -> bool:
        """Whether they do so by an interval without 0."""
        return self.saving.high < 0


def rule(contest: Contest) -> Ruling:
    """Decide."""
    measure = contest.measure
    rivals = [who for who in ALONE if measure in contest.minus.get(who, {})]
    habits = {who: contest.minus[who]["cost"].by_rows for who in HABITS if "cost" in contest.minus.get(who, {})}
    habit = max(habits, key=lambda who: habits[who].mean, default="")
    saving = habits.get(habit, _UNKNOWN)
    words = {line.name: _word(contest, line, rivals) for line in contest.plants}
    named = [tuple(name for name, said in words.items() if said == word) for word in ("better", "worse", "open")]
    if not rivals:
        return Ruling("unknown", "", _UNKNOWN, habit, saving, *named)
    rival = max(rivals, key=lambda who: MEASURES[measure] * contest.figures[who][measure].by_rows.mean)
    outcome = _outcome(contest, rivals, rival)
    if outcome == "pays" and saving.mean >= 0:
        outcome = "level"
    return Ruling(outcome, rival, contest.ahead(contest.minus[rival][measure].by_rows), habit, saving, *named)


_UNKNOWN = Interval(math.nan, math.nan, math.nan, 0)


def _outcome(contest: Contest, rivals: list[str], rival: str) -> Outcome:
    if sum(map(contest.evidence, contest.plants)) < FEWEST_FAILURES:
        return "level"
    gains = [contest.minus[who][contest.measure] for who in rivals]
    by_rows = _sign([contest.ahead(gain.by_rows) for gain in gains])
    by_plants = _sign([contest.ahead(gain.by_plants) for gain in gains])
    if by_rows > 0 and by_plants > 0:
        return "pays" if _most_gain(contest, rival) else "mixed"
    if by_rows > 0 or by_plants > 0:
        return "mixed"
    return "loses" if by_rows < 0 or by_plants < 0 else "level"


def _sign(differences: list[Interval]) -> int:
    """Return 1 if all differences are clearly above 0, -1 if one is clearly below though several are read, else 0."""
    if all(difference.low > 0 for difference in differences):
        return 1
    return -1 if any(difference.among(len(differences)).high < 0 for difference in differences) else 0


def _most_gain(contest: Contest, rival: str) -> bool:
    """Say whether the federated model is ahead at more than half of the plants that can be told."""
    known = [
        contest.ahead(line.minus[rival][contest.measure]).mean for line in contest.plants if contest.evidence(line)
    ]
    return sum(value > 0 for value in known) > len(known) / 2


def _word(contest: Contest, line: PlantLine, rivals: list[str]) -> str:
    if contest.evidence(line) < FEWEST_AT_A_PLANT or not rivals:
        return "open"
    sign = _sign([contest.ahead(line.minus[who][contest.measure]) for who in rivals])
    return ("open", "better", "worse")[sign]
