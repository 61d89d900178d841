"""What the runs of a bench say together: each selector against uniform, at equal cost, with intervals over seeds.

A selector that asks or trains more clients than its cohort is set against a uniform that trains as many as it asked and
trained. Differences are paired by setting and seed: the same rows, the same first weights, the same world.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from werkbund.bench.cases import SCORE, Outcome
from werkbund.bench.plan import UNIFORM, WINDOW, Case, Plan
from werkbund.evaluation import NEVER, Expenditure, Interval, mean_interval, paired_difference

EFFORTS = ("rounds", "seconds", "joules", "bytes")
FIGURES = (SCORE, f"worst_{SCORE}", "log_loss", "worst_log_loss", "jain", "never", "contacts", "cohort", "failures")
ALL_SETTINGS = "all"

Verdict = Literal["better", "worse", "no clear difference", "unknown"]


@dataclass(frozen=True)
class Line:
    """Hold what one selector did in one setting, or over all of them.

    Parameters
    ----------
    selector, setting
        `setting` is `all` for the mean over settings, seed by seed.
    figures
        Mean and interval over seeds, by name of `FIGURES` and `to_target_...` of `EFFORTS`, of those runs that reached
        the target.
    reached, runs
        How many runs reached the target, and how many there were.
    equal_cost
        Average precision minus that of uniform with as many clients as this one asks and trains.
    equal_cohort
        The same against uniform with a cohort of the same size.
    savings
        By name of `EFFORTS`: cost to the target as a multiple of uniform's with the same cohort, below 1 being
        cheaper; a geometric mean, over the runs where both reached it.
    verdict
        Of `equal_cost`.
    errors
        What runs failed with.
    """

    selector: str
    setting: str
    figures: Mapping[str, Interval]
    reached: int
    runs: int
    equal_cost: Interval
    equal_cohort: Interval
    savings: Mapping[str, Interval]
    verdict: Verdict
    errors: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as values that JSON can hold."""
        return {
            "selector": self.selector,
            "setting": self.setting,
            "verdict": self.verdict,
            "reached": self.reached,
            "runs": self.runs,
            "equal_cost": self.equal_cost.to_json(),
            "equal_cohort": self.equal_cohort.to_json(),
            "figures": {name: interval.to_json() for name, interval in self.figures.items()},
            "savings": {name: interval.to_json() for name, interval in self.savings.items()},
            "errors": list(self.errors),
        }


class Outcomes:
    """Find outcomes by their run.

    Parameters
    ----------
    outcomes
        Of all runs that were done.
    """

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        self._by_case = {outcome.case: outcome for outcome in outcomes}

    def of(self, case: Case) -> Outcome:
        """Return a run's outcome; one that was not done has no figures."""
        return self._by_case.get(case, Outcome(case))

    def matching(self, case: Case, most: int) -> Case:
        """Return the uniform run that costs as much: with as many clients a round as this one asked and trained."""
        contacts = self.of(case).figures.get("contacts", math.nan)
        count = case.count if math.isnan(contacts) else max(round(contacts), case.count)
        return Case(case.setting, case.seed, UNIFORM, min(count, most))

    def __contains__(self, case: Case) -> bool:
        return case in self._by_case


def matched_cases(plan: Plan, outcomes: Outcomes) -> tuple[Case, ...]:
    """Return the uniform runs at equal cost that are still to be done, none twice."""
    wanted = dict.fromkeys(outcomes.matching(case, plan.num_clients) for case in plan.cases())
    return tuple(case for case in wanted if case not in outcomes)


def lines(plan: Plan, outcomes: Outcomes) -> tuple[Line, ...]:
    """Return a line for each selector and setting, and one for each selector over all settings."""
    return tuple(
        _line(plan, outcomes, selector, setting)
        for selector in plan.selectors
        for setting in (*plan.settings, *((ALL_SETTINGS,) if len(plan.settings) > 1 else ()))
    )


def target_of(plan: Plan, outcomes: Outcomes, setting: str, seed: int) -> float:
    """Return the average precision to reach: the plan's, or a share of what uniform ends with."""
    if plan.target is not None:
        return plan.target
    course = outcomes.of(Case(setting, seed, UNIFORM, plan.cohort)).course
    return math.nan if course is None else plan.share * course.final(WINDOW)


def mean_course(plan: Plan, outcomes: Outcomes, setting: str, selector: str) -> list[float]:
    """Return the mean score over seeds after each round from 0; as long as all runs went."""
    courses = [outcomes.of(Case(setting, seed, selector, plan.cohort)).course for seed in plan.seeds]
    scores = [course.scores for course in courses if course is not None]
    if not scores:
        return []
    length = min(map(len, scores))
    return [round(float(value), 4) for value in np.mean([course[:length] for course in scores], axis=0)]


def verdict_of(difference: Interval) -> Verdict:
    """Return what an interval of differences says, higher being better."""
    if math.isnan(difference.low) or math.isnan(difference.high):
        return "unknown"
    return "better" if difference.low > 0 else "worse" if difference.high < 0 else "no clear difference"


def _line(plan: Plan, outcomes: Outcomes, selector: str, setting: str) -> Line:
    settings = plan.settings if setting == ALL_SETTINGS else (setting,)
    grid = [[Case(name, seed, selector, plan.cohort) for name in settings] for seed in plan.seeds]
    plain = [[Case(name, seed, UNIFORM, plan.cohort) for name in settings] for seed in plan.seeds]
    equal = [[outcomes.matching(case, plan.num_clients) for case in row] for row in grid]
    figures = {name: mean_interval(_by_seed(outcomes, grid, name)) for name in FIGURES}
    efforts, uniform = ([[_effort(plan, outcomes, case) for case in row] for row in rows] for rows in (grid, plain))
    reached = sum(not math.isnan(effort.rounds) for row in efforts for effort in row)
    for name in EFFORTS:
        figures[f"to_target_{name}"] = mean_interval(
            [_mean(getattr(effort, name) for effort in row) for row in efforts]
        )
    scores = _by_seed(outcomes, grid, SCORE)
    equal_cost = paired_difference(scores, _by_seed(outcomes, equal, SCORE))
    is_uniform = selector == UNIFORM
    return Line(
        selector,
        setting,
        figures,
        reached,
        len(plan.seeds) * len(settings),
        equal_cost,
        paired_difference(scores, _by_seed(outcomes, plain, SCORE)),
        {name: _saving(efforts, uniform, name) for name in EFFORTS},
        "no clear difference" if is_uniform else verdict_of(equal_cost),
        tuple(sorted({error for row in grid for case in row if (error := outcomes.of(case).error)})),
    )


def _effort(plan: Plan, outcomes: Outcomes, case: Case) -> Expenditure:
    course, target = outcomes.of(case).course, target_of(plan, outcomes, case.setting, case.seed)
    return NEVER if course is None or math.isnan(target) else course.until(target, WINDOW)


def _by_seed(outcomes: Outcomes, rows: Sequence[Sequence[Case]], name: str) -> list[float]:
    """Return a figure for each seed: the mean over settings, undefined where it is in any of them."""
    return [float(np.mean([outcomes.of(case).figures.get(name, math.nan) for case in row])) for row in rows]


def _saving(ours: Sequence[Sequence[Expenditure]], theirs: Sequence[Sequence[Expenditure]], name: str) -> Interval:
    """Return the geometric mean of ours over theirs, over seeds, with its interval, where both reached the target."""
    logs = [
        _mean(_log_ratio(getattr(a, name), getattr(b, name)) for a, b in zip(mine, uniform, strict=True))
        for mine, uniform in zip(ours, theirs, strict=True)
    ]
    log = mean_interval(logs)
    return Interval(math.exp(log.mean), math.exp(log.low), math.exp(log.high), log.n)


def _log_ratio(ours: float, theirs: float) -> float:
    return math.log(ours / theirs) if ours > 0 and theirs > 0 else math.nan


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
