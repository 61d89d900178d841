from __future__ import annotations

import numpy as np
import pytest

from werkbund.selection import View
from werkbund.selection.facts import durations, rows_of, weights_of


@pytest.mark.parametrize(
    ("rows", "weights", "by_rows"),
    [
        ([30.0, 10.0, 0.0], [30.0, 10.0, 0.0], True),
        ([30.0, np.nan, 10.0], [30.0, 20.0, 10.0], True),
        ([np.nan] * 3, [1.0] * 3, False),
        ([0.0] * 3, [1.0] * 3, False),
    ],
)
def test_who_told_no_rows_counts_as_the_mean_of_the_others(
    rows: list[float], weights: list[float], by_rows: bool
) -> None:
    counted, are_rows = weights_of(View(1, np.arange(3), {"rows": np.array(rows)}))
    assert (counted.tolist(), are_rows) == (weights, by_rows)


def test_a_client_that_declared_nothing_counts_as_the_mean_of_the_others() -> None:
    view = View(1, np.array([0, 1, 5]), {"rows": np.array([2.0, 6.0, np.nan])})
    assert rows_of(view).tolist() == [2.0, 6.0, 4.0]
    assert rows_of(View(1, np.arange(2))).tolist() == [1.0, 1.0]


def test_durations_are_measured_else_expected_else_unknown() -> None:
    facts = {"seconds_down": np.array([1.0, 1.0, np.nan]), "seconds_compute": np.array([3.0, 3.0, np.nan])}
    seconds, known = durations(View(1, np.arange(4), facts, {"seconds": np.array([7.0])}))
    assert seconds[:2].tolist() == [7.0, 4.0]
    assert np.isnan(seconds[2:]).all()
    assert known
    assert not durations(View(1, np.arange(2)))[1]
