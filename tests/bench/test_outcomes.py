"""What uniform reaches at any cost, and the momentum that suits a method, on outcomes that are made up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.bench import Outcome, plan_of
from werkbund.bench.outcomes import Outcomes
from werkbund.bench.plan import CURRENCIES, Plan, Rival
from werkbund.config import check_config
from werkbund.evaluation import LearningCurve


def _plan(tuned: int = 0) -> Plan:
    config = check_config({"clients": {"count": 10}})
    return plan_of(config, ["md"], ["natural"], range(2), cohort=4, tuned=tuned, momenta=(0.0, 0.9))


def _run(rival: Rival, seed: int, cost: float, score: float) -> Outcome:
    points = np.arange(4.0)
    course = LearningCurve(points, points / 10, *(cost * points / 3 for _ in range(3)))
    figures = {**dict.fromkeys(CURRENCIES, cost), "average_precision": score}
    return Outcome(rival.case("natural", seed, None), figures, course, cost * points / 3)


def _ladder(costs: list[float], scores: list[float]) -> Outcomes:
    plan = _plan()
    rivals = [rival for rival in plan.rivals if rival.selector == "uniform"]
    assert len(rivals) == len(costs)
    return Outcomes(
        plan, [_run(rival, 0, *at) for rival, at in zip(rivals, zip(costs, scores, strict=True), strict=True)]
    )


def test_the_ladder_reaches_from_the_smallest_cohort_to_everybody() -> None:
    ladder = [rival for rival in _plan().rivals if rival.selector == "uniform"]
    assert [rival.rounds for rival in ladder if rival.cohort == 4][:-1] == [19, 38, 75]
    cohorts = [rival.cohort for rival in ladder if rival.rounds is None]
    assert cohorts == sorted(set(cohorts))
    assert (cohorts[0], cohorts[-1]) == (1, 10)
    assert 4 in cohorts


@pytest.mark.parametrize("currency", CURRENCIES)
def test_between_two_runs_the_score_is_linear_in_the_logarithm_of_the_cost(currency: str) -> None:
    number = sum(rival.selector == "uniform" for rival in _plan().rivals)
    outcomes = _ladder([10.0**i for i in range(number)], [0.1 * i for i in range(number)])
    for exponent in (0.0, 0.5, 1.0, 2.25):
        assert outcomes.uniform_at("natural", 0, currency, 10.0**exponent) == pytest.approx(0.1 * exponent)
    assert outcomes.uniform_at("natural", 0, currency, 1e30) == pytest.approx(0.1 * (number - 1))


@pytest.mark.parametrize(("cost", "score"), [(2.9, 0.1), (2.0, 0.1), (1.9, 0.05), (0.5, 0.0)])
def test_below_the_cheapest_run_it_is_that_run_where_it_had_cost_as_much(cost: float, score: float) -> None:
    """Its course is 0, 0.1, 0.2, 0.3 for a third of the cost each; the mean of the last five counts."""
    number = sum(rival.selector == "uniform" for rival in _plan().rivals)
    outcomes = _ladder([3.0 * 2**i for i in range(number)], [0.5] * number)
    assert outcomes.uniform_at("natural", 0, "bytes", cost) == pytest.approx(score)


def test_what_is_not_known_is_not_made_up() -> None:
    outcomes = Outcomes(_plan(), [])
    assert np.isnan(outcomes.uniform_at("natural", 0, "bytes", 5.0))
    number = sum(rival.selector == "uniform" for rival in _plan().rivals)
    assert np.isnan(_ladder([1.0 + i for i in range(number)], [0.5] * number).uniform_at("natural", 0, "bytes", np.nan))


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=2), st.booleans())
def test_the_momentum_of_the_better_mean_on_validation_rows_is_taken_and_a_failed_run_counts_nothing(
    scores: list[float], fails: bool
) -> None:
    plan = _plan(tuned=2)
    rival = Rival("md", 4)
    told = dict(zip(plan.momenta, scores, strict=True))
    done = [
        Outcome(rival.case("natural", seed, momentum), {"validation": score})
        for momentum, score in told.items()
        for seed in plan.tuned
    ]
    if fails:
        done = [outcome for outcome in done if outcome.case.momentum == 0.0]
        told[0.9] = 0.0
    assert told[Outcomes(plan, done).momentum_of(rival)] == max(told.values())


def test_a_uniform_run_that_a_cheaper_one_beats_on_the_seeds_that_choose_is_no_rung() -> None:
    """Its score on reported seeds says nothing here."""
    plan = _plan(tuned=1)
    ladder = [rival for rival in plan.rivals if rival.selector == "uniform"]
    validation = [0.3, 0.1, 0.4, 0.4, 0.6, 0.5, *([0.7] * len(ladder))]
    seeds = (0, *plan.tuned)
    done = [
        Outcome(
            rival.case("natural", seed, momentum),
            {
                **dict.fromkeys(CURRENCIES, 2.0**place),
                "validation": validation[place],
                "average_precision": 1.0 - place,
            },
        )
        for place, rival in enumerate(ladder)
        for seed in seeds
        for momentum in plan.momenta
    ]
    for currency in CURRENCIES:
        assert Outcomes(plan, done).rungs(currency) == tuple(ladder[place] for place in (0, 2, 4, 6))
