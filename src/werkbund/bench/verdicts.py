"""What the runs of a bench say together: each method against uniform at equal cost, with intervals over seeds.

There are four ways to call two runs equally dear. In each of them uniform selection gets what the method's own run
took, be it more or less than a uniform of the same cohort takes: uniform runs with fewer rounds, smaller and larger
cohorts say what it would have reached. Differences are paired by setting and seed: the same rows, first weights and
world.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from werkbund.bench.cases import SCORE, Outcome
from werkbund.bench.outcomes import Outcomes
from werkbund.bench.plan import CURRENCIES, UNIFORM, WINDOW, Plan, Rival
from werkbund.evaluation import NEVER, RANGES, Expenditure, Interval, mean_interval, paired_difference

EFFORTS = ("rounds", "seconds", "joules", "bytes")
FIGURES = (
    *(SCORE, f"worst_{SCORE}", "log_loss", "worst_log_loss", "jain", "never", "contacts", "cohort", "failures"),
    "server_seconds",
)
ALL_SETTINGS = "all"

Verdict = Literal["better", "worse", "no clear difference", "unknown"]


@dataclass(frozen=True)
class Line:
    """Hold what one method did in one setting, or over all of them.

    Parameters
    ----------
    selector, setting
        `setting` is `all` for the mean over settings, seed by seed.
    momentum
        Of the server, chosen for it; None as the configuration says.
    figures
        Mean and interval over seeds, by name of `FIGURES` and `to_target_...` of `EFFORTS`, of those runs that reached
        the target.
    reached, runs
        How many runs reached the target, and how many there were.
    equal
        By currency: average precision minus what uniform reaches for the same cost.
    equal_cohort
        Average precision minus that of uniform with a cohort of the same size, whatever each cost.
    cost
        By currency: what its runs took as a multiple of those of uniform with the same cohort; a geometric mean.
    savings
        By name of `EFFORTS`: cost to the target as a multiple of uniform's with the same cohort, below 1 being
        cheaper; a geometric mean, over the runs where both reached it.
    verdicts
        Of `equal`.
    errors
        What runs failed with.
    """

    selector: str
    setting: str
    momentum: float | None
    figures: Mapping[str, Interval]
    reached: int
    runs: int
    equal: Mapping[str, Interval]
    equal_cohort: Interval
    cost: Mapping[str, Interval]
    savings: Mapping[str, Interval]
    verdicts: Mapping[str, Verdict]
    errors: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the line as values that JSON can hold."""
        spans = {"equal": self.equal, "cost": self.cost, "figures": self.figures, "savings": self.savings}
        return {
            "selector": self.selector,
            "setting": self.setting,
            "momentum": self.momentum,
            "verdicts": dict(self.verdicts),
            "reached": self.reached,
            "runs": self.runs,
            "equal_cohort": self.equal_cohort.to_json(),
            **{key: {name: span.to_json() for name, span in named.items()} for key, named in spans.items()},
            "errors": list(self.errors),
        }


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
    course = outcomes.run(setting, seed, Rival(UNIFORM, plan.cohort)).course
    return math.nan if course is None else plan.share * course.final(WINDOW)


def mean_course(plan: Plan, outcomes: Outcomes, setting: str, selector: str) -> list[float]:
    """Return the mean score over seeds after each round from 0; as long as all runs went."""
    courses = [outcomes.run(setting, seed, Rival(selector, plan.cohort)).course for seed in plan.seeds]
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


Grid = Sequence[Sequence[Outcome]]
"""Runs, (seeds, settings)."""


def _line(plan: Plan, outcomes: Outcomes, selector: str, setting: str) -> Line:
    settings = plan.settings if setting == ALL_SETTINGS else (setting,)
    rival, plain = Rival(selector, plan.cohort), Rival(UNIFORM, plan.cohort)
    ours, theirs = (
        [[outcomes.run(name, seed, who) for name in settings] for seed in plan.seeds] for who in (rival, plain)
    )
    scores = _by_seed(ours, SCORE)
    efforts, uniform = ([[_effort(plan, outcomes, run) for run in row] for row in grid] for grid in (ours, theirs))
    to_target = {
        f"to_target_{name}": mean_interval([_mean(getattr(effort, name) for effort in row) for row in efforts])
        for name in EFFORTS
    }
    equal = {name: paired_difference(scores, _matched(outcomes, ours, name)) for name in CURRENCIES}
    return Line(
        selector,
        setting,
        outcomes.momentum_of(rival),
        {**{name: _figure(_by_seed(ours, name), name) for name in FIGURES}, **to_target},
        sum(not math.isnan(effort.rounds) for row in efforts for effort in row),
        len(plan.seeds) * len(settings),
        equal,
        paired_difference(scores, _by_seed(theirs, SCORE)),
        {name: _ratio(_figures(ours, name), _figures(theirs, name)) for name in CURRENCIES},
        {name: _ratio(_attributes(efforts, name), _attributes(uniform, name)) for name in EFFORTS},
        {name: verdict_of(equal[name]) for name in CURRENCIES},
        tuple(sorted({run.error for row in ours for run in row if run.error})),
    )


def _effort(plan: Plan, outcomes: Outcomes, run: Outcome) -> Expenditure:
    target = target_of(plan, outcomes, run.case.setting, run.case.seed)
    return NEVER if run.course is None or math.isnan(target) else run.course.until(target, WINDOW)


def _figures(grid: Grid, name: str) -> list[list[float]]:
    """Return a figure of each run, (seeds, settings); NaN where it has none."""
    return [[run.figures.get(name, math.nan) for run in row] for row in grid]


def _attributes(efforts: Sequence[Sequence[Expenditure]], name: str) -> list[list[float]]:
    return [[float(getattr(effort, name)) for effort in row] for row in efforts]


def _by_seed(grid: Grid, name: str) -> list[float]:
    """Return a figure for each seed: the mean over settings, undefined where it is in any of them."""
    return [float(np.mean(row)) for row in _figures(grid, name)]


def _matched(outcomes: Outcomes, grid: Grid, currency: str) -> list[float]:
    """Return what uniform reaches for what these runs cost, for each seed: the mean over settings."""
    return [
        float(
            np.mean(
                [
                    outcomes.uniform_at(run.case.setting, run.case.seed, currency, run.figures.get(currency, math.nan))
                    for run in row
                ]
            )
        )
        for row in grid
    ]


def _ratio(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Interval:
    """Return the geometric mean of ours over theirs, over seeds, with its interval, where both are known."""
    logs = [_mean(map(_log_ratio, mine, other)) for mine, other in zip(ours, theirs, strict=True)]
    log = mean_interval(logs)
    return Interval(math.exp(log.mean), math.exp(log.low), math.exp(log.high), log.n)


def _log_ratio(ours: float, theirs: float) -> float:
    return math.log(ours / theirs) if ours > 0 and theirs > 0 else math.nan


def _figure(values: Sequence[float], name: str) -> Interval:
    """Return the mean of a figure over seeds, with an interval of values that it can have."""
    most = 1.0 if name == "jain" else math.inf
    return mean_interval(values).within(*RANGES.get(name.removeprefix("worst_"), (0.0, most)))


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
