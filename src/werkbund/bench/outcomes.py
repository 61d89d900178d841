"""The runs of a bench found again: by case, the momentum that suits a method, and what uniform reaches at any cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import numpy as np

from werkbund.bench.cases import SCORE, Outcome
from werkbund.bench.plan import UNIFORM, WINDOW, Case, Plan, Rival
from werkbund.core.arrays import Float64Array


class Outcomes:
    """Find what runs reached.

    Parameters
    ----------
    plan
        The bench.
    outcomes
        Of all runs that were done.
    """

    def __init__(self, plan: Plan, outcomes: Iterable[Outcome]) -> None:
        self._plan = plan
        self._by_case = {outcome.case: outcome for outcome in outcomes}
        self._momenta: dict[Rival, float | None] = {}
        self._rungs: dict[str, tuple[Rival, ...]] = {}

    def of(self, case: Case) -> Outcome:
        """Return a run's outcome; one that was not done has no figures."""
        return self._by_case.get(case, Outcome(case))

    def run(self, setting: str, seed: int, rival: Rival) -> Outcome:
        """Return the outcome of a reported run, which has the momentum that suits the rival."""
        return self.of(rival.case(setting, seed, self.momentum_of(rival)))

    def momentum_of(self, rival: Rival) -> float | None:
        """Return the momentum of the best mean score on validation rows, over settings and the seeds that choose.

        A run that failed counts as a score of 0. Of equal ones the first stands.
        """
        if rival not in self._momenta:
            self._momenta[rival] = max(self._plan.momenta, key=lambda momentum: self._validation(rival, momentum))
        return self._momenta[rival]

    def uniform_at(self, setting: str, seed: int, currency: str, cost: float) -> float:
        """Return the score that uniform selection reaches on the same data for a cost; NaN where it is not known.

        Between the two of `rungs` that cost less and more, the score is linear in the logarithm of the cost. Below the
        cheapest run it is this run's own where it had cost as much; above the dearest, that one's.

        Parameters
        ----------
        setting, seed
            Which data.
        currency
            One of `CURRENCIES`.
        cost
            In it.
        """
        runs = [self.run(setting, seed, rival) for rival in self.rungs(currency)]
        known = sorted((run.figures[currency], run.figures[SCORE]) for run in runs if SCORE in run.figures)
        if not known or not cost > 0:
            return math.nan
        costs, scores = (np.array(column) for column in zip(*known, strict=True))
        if cost < costs[0]:
            cheapest = min((run for run in runs if SCORE in run.figures), key=lambda run: run.figures[currency])
            return _stopped(cheapest, currency, cost)
        return float(np.interp(math.log(cost), np.log(costs), scores))

    def rungs(self, currency: str) -> tuple[Rival, ...]:
        """Return the uniform runs, the cheapest first, that are worth their cost in a currency.

        On the seeds that choose, each has a better mean score on validation rows than every cheaper one, so that
        uniform pays with fewer rounds or another cohort as suits it. Without such seeds all stand.
        """
        if currency not in self._rungs:
            ladder = [rival for rival in self._plan.rivals if rival.selector == UNIFORM]
            self._rungs[currency] = self._worth(ladder, currency) if self._plan.tuned else tuple(ladder)
        return self._rungs[currency]

    def _worth(self, ladder: Sequence[Rival], currency: str) -> tuple[Rival, ...]:
        best, kept = 0.0, list[Rival]()
        for rival in sorted(ladder, key=lambda rival: self._mean(rival, self.momentum_of(rival), currency)):
            score = self._validation(rival, self.momentum_of(rival))
            if score > best:
                best, kept = score, [*kept, rival]
        return tuple(kept)

    def _validation(self, rival: Rival, momentum: float | None) -> float:
        """Return the mean score on validation rows over the seeds that choose; a run that failed counts as 0."""
        return self._mean(rival, momentum, "validation")

    def _mean(self, rival: Rival, momentum: float | None, name: str) -> float:
        plan = self._plan
        runs = (self.of(rival.case(*at, momentum)) for at in product(plan.settings, plan.tuned))
        values = [run.figures.get(name, math.nan) for run in runs]
        return float(np.mean(np.nan_to_num(values))) if values else 0.0

    def __contains__(self, case: Case) -> bool:
        return case in self._by_case


def spent(outcome: Outcome) -> Mapping[str, Float64Array]:
    """Return what had been spent when the weights of each point of a run's course were there, (points,) by currency."""
    course = outcome.course
    if course is None:
        return {}
    return {"bytes": course.bytes, "joules": course.joules, "seconds": course.seconds, "examples": outcome.examples}


def _stopped(run: Outcome, currency: str, cost: float) -> float:
    """Return the mean of a run's last scores until it had cost so much."""
    if run.course is None:
        return math.nan
    scores = run.course.scores[spent(run)[currency] <= cost]
    known = scores[~np.isnan(scores)][-WINDOW:]
    return float(known.mean()) if len(known) else math.nan
