from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.errors import DataError
from werkbund.evaluation import NEVER, LearningCurve, jain_index


def _course(scores: list[float]) -> LearningCurve:
    steps = np.arange(len(scores), dtype=np.float64)
    return LearningCurve(steps, np.array(scores), 10.0 * steps, 2.0 * steps, 100.0 * steps)


def test_the_cost_is_that_of_the_last_round_of_the_window() -> None:
    effort = _course([0.0, 0.9, 0.1, 0.6, 0.6, 0.6]).until(0.6, window=2)
    assert vars(effort) == {"rounds": 4.0, "seconds": 40.0, "joules": 8.0, "bytes": 400.0}
    assert _course([0.0, 0.9, 0.1]).until(0.6).rounds == 1.0


def test_a_target_that_is_not_reached_costs_nobody_knows_what() -> None:
    assert _course([0.1, 0.2]).until(0.3) is NEVER
    assert _course([0.9]).until(0.3, window=2) is NEVER
    assert _course([0.9]).until(0.3, window=0) is NEVER
    assert NEVER.to_json() == {"rounds": None, "seconds": None, "joules": None, "bytes": None}


def test_undefined_scores_are_passed_over() -> None:
    course = _course([math.nan, 0.5, math.nan, 0.7])
    assert course.until(0.6, window=2).rounds == 3.0
    assert course.final(2) == pytest.approx(0.6)
    assert math.isnan(_course([math.nan]).final())


def test_columns_must_be_of_one_length() -> None:
    with pytest.raises(DataError, match="scores has"):
        LearningCurve(np.zeros(2), np.zeros(3), np.zeros(2), np.zeros(2), np.zeros(2))


@given(st.lists(st.floats(0, 1), min_size=3, max_size=20), st.integers(1, 3), st.floats(0.01, 1))
def test_the_target_is_reached_where_a_loop_finds_it(scores: list[float], window: int, target: float) -> None:
    effort = _course(scores).until(target, window)
    ends = [i for i in range(window - 1, len(scores)) if np.mean(scores[i - window + 1 : i + 1]) >= target + 1e-12]
    near = [i for i in range(window - 1, len(scores)) if np.mean(scores[i - window + 1 : i + 1]) >= target - 1e-12]
    if ends:
        assert near[0] <= effort.rounds <= ends[0]
    elif not near:
        assert math.isnan(effort.rounds)


def test_jain_index() -> None:
    assert jain_index([3, 3, 3]) == pytest.approx(1.0)
    assert jain_index([5, 0, 0, 0]) == pytest.approx(0.25)
    assert math.isnan(jain_index([0, 0]))
