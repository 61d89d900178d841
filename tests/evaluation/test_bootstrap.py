"""Draws of machines against scikit-learn, draw by draw, and against what theory says of the mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from werkbund.core.errors import DataError
from werkbund.evaluation.bootstrap import FEWEST_MACHINES, NUM_RUNS, Resamples, percentile_interval, reach_of, units_of


def _repeated(draws: Resamples, number: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the rows of one draw, each as often as it is drawn."""
    return np.repeat(np.arange(len(draws.units)), draws.times[number].astype(int)[draws.units])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 80), st.integers(1, 20), st.booleans())
def test_each_draws_average_precision_is_scikit_learns_on_the_repeated_rows(
    seed: int, rows: int, machines: int, tied: bool
) -> None:
    rng = np.random.default_rng(seed)
    units = units_of(rng.integers(0, machines, rows))
    scores = rng.integers(0, 4, rows).astype(float) if tied else rng.normal(size=rows)
    labels = (rng.random(rows) < 0.3).astype(float)
    draws = Resamples.of(units, 12, rng)
    reached = draws.average_precisions(scores, labels)
    for number, value in enumerate(reached):
        drawn = _repeated(draws, number)
        if labels[drawn].sum() == 0:
            assert math.isnan(value)
        else:
            assert value == pytest.approx(average_precision_score(labels[drawn], scores[drawn]), abs=1e-12)
        assert draws.rows[number] == len(drawn)
        assert draws.sums(scores)[number] == pytest.approx(scores[drawn].sum())


def test_more_failures_than_steps_cost_next_to_no_precision() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random(9000) < 0.4).astype(float)
    scores = rng.normal(size=9000) + labels
    draws = Resamples(np.zeros(9000, np.int64), np.ones((1, 1)))
    assert draws.average_precisions(scores, labels)[0] == pytest.approx(
        average_precision_score(labels, scores), abs=0.001
    )


def test_many_machines_are_drawn_whole_and_few_in_runs_of_neighbours() -> None:
    many = np.repeat(np.arange(FEWEST_MACHINES), 7)
    assert (units_of(many) == many).all()
    few = np.repeat([5, 3], 100)
    units = units_of(few)
    assert len(np.unique(units)) == NUM_RUNS
    for unit in np.unique(units):
        rows = np.flatnonzero(units == unit)
        assert (np.diff(rows) == 1).all()
        assert len(np.unique(few[rows])) == 1
    assert len(units_of(np.empty(0, np.int64))) == 0


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=400)
    draws = Resamples.of(np.arange(400), 4000, rng)
    interval = percentile_interval(values.mean(), draws.sums(values) / draws.rows, 1)
    half = 1.96 * values.std() / 20
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.08)


def test_intervals_of_few_units_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(4)
    plants, units = 3, 5
    plain, expanded = 0, 0
    for _ in range(400):
        values = rng.normal(size=(plants, units))
        means = [(draws := Resamples.of(np.arange(units), 400, rng)).sums(plant) / draws.rows for plant in values]
        drawn = np.mean(means, axis=0)
        reach = reach_of(np.full(plants, units))
        usual, wide = (
            percentile_interval(values.mean(), drawn, 3),
            percentile_interval(values.mean(), drawn, 3, reach=reach),
        )
        plain += usual.low <= 0 <= usual.high
        expanded += wide.low <= 0 <= wide.high
    assert plain / 400 < 0.92, "draws of five units vary by too little"
    assert expanded / 400 == pytest.approx(0.95, abs=0.025)


def test_draws_that_lie_to_one_side_of_the_figure_are_moved_back() -> None:
    rng = np.random.default_rng(5)
    drawn = rng.normal(size=20_000) - 0.5
    interval = percentile_interval(0.0, drawn, 1)
    assert (interval.low, interval.high) == pytest.approx((-1.96 + 0.5, 1.96 + 0.5), abs=0.08)


def test_one_unit_says_nothing_of_the_spread() -> None:
    assert math.isnan(reach_of(np.array([1, 1, 0])))
    assert math.isnan(percentile_interval(0.5, np.full(9, 0.5), 1, reach=math.nan).low)


def test_an_interval_of_undefined_draws_is_unknown() -> None:
    nothing = percentile_interval(0.5, np.array([np.nan, np.nan, 0.5]), 1)
    assert nothing.mean == 0.5
    assert math.isnan(nothing.low)
    with pytest.raises(DataError, match="level"):
        percentile_interval(0.5, np.ones(3), 1, level=1.0)
