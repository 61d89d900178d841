"""A contest from plants' figures, against Student's t by SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from werkbund.evaluation import Costs, Summary, contest_of, rule
from werkbund.evaluation.judging import weighted_interval

COSTS = Costs(5.0, 1.0)


def plants(gains: list[float], rows: int = 200) -> list[Summary]:
    return [
        Summary(
            f"plant {number}",
            rows,
            20,
            {
                "federated": {"average_precision": 0.6 + gain, "cost": 100.0},
                "local_mean": {"average_precision": 0.6, "cost": 150.0},
            },
        )
        for number, gain in enumerate(gains)
    ]


def test_equal_plants_give_students_interval() -> None:
    gains = [0.1, 0.2, 0.15, 0.05, 0.12]
    contest = contest_of(plants(gains), COSTS)
    interval = contest.minus["local_mean"]["average_precision"].by_rows
    low, high = stats.t.interval(0.95, 4, np.mean(gains), stats.sem(gains))
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert rule(contest).outcome == "pays"


def test_habits_cost_what_their_mistakes_cost() -> None:
    contest = contest_of(plants([0.1, 0.2]), COSTS)
    assert contest.figures["nothing"]["cost"].by_rows.mean == pytest.approx(1000 * 5 * 0.1)
    assert contest.figures["everything"]["cost"].by_rows.mean == pytest.approx(1000 * 0.9)


def test_few_or_differing_plants_decide_nothing() -> None:
    assert rule(contest_of(plants([0.2]), COSTS)).outcome == "level"
    assert rule(contest_of(plants([0.4, -0.3, 0.2]), COSTS)).outcome == "level"
    assert rule(contest_of(plants([-0.2, -0.22, -0.21]), COSTS)).outcome == "loses"


def test_a_plant_that_does_not_know_its_figure_is_left_out_of_the_mean() -> None:
    known = plants([0.1, 0.2, 0.3])
    unknown = Summary("silent", 10**6, 0, {"federated": {"average_precision": math.nan}})
    contest = contest_of([*known, unknown], COSTS)
    assert contest.minus["local_mean"]["average_precision"].by_rows.n == 3


def test_a_weight_counts_as_many_plants_at_the_mean() -> None:
    mean = weighted_interval(np.array([0.0, 1.0]), np.array([3.0, 1.0]))
    assert mean.mean == 0.25
    assert weighted_interval(np.array([np.nan]), np.ones(1)).n == 0


def test_no_interval_leaves_what_a_figure_can_be() -> None:
    high = contest_of(plants([0.0, 0.39, 0.39]), COSTS)
    assert high.figures["federated"]["average_precision"].by_rows.high == 1.0
    wide = contest_of(plants([0.4, -0.6, 0.4]), COSTS).minus["local_mean"]["average_precision"].by_plants
    assert (wide.low, wide.high) == (-1.0, 1.0)
