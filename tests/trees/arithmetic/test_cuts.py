from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from werkbund.core.arrays import Int64Array
from werkbund.trees.arithmetic.cells import last_of_bins

COUNTS = st.lists(st.one_of(st.integers(1, 4), st.integers(1, 90)), min_size=1, max_size=14)


def _error(counts: list[int], last: Int64Array) -> int:
    """Return the most rows between any place where values could be divided and the nearest cut, ends included."""
    ends = np.concatenate(([0], np.cumsum(counts)))
    cuts = ends[np.concatenate(([0], last + 1, [len(counts)]))]
    return int(np.abs(ends[:, None] - cuts).min(axis=1).max())


def _least_error(counts: list[int], num_bins: int) -> int:
    """Try every way to cut, by dynamic programming over the number of bins."""
    ends: list[int] = np.concatenate(([0], np.cumsum(counts))).tolist()

    def error(first: int, stop: int) -> int:
        return max(min(ends[k] - ends[first], ends[stop] - ends[k]) for k in range(first, stop + 1))

    best: list[int] = [0, *[10**9] * len(counts)]  # of the first intervals, with so many bins
    for _ in range(num_bins):
        best = [0, *(min(max(best[i], error(i, j)) for i in range(j)) for j in range(1, len(ends)))]
    return best[-1]


@settings(max_examples=100, deadline=None)
@given(COUNTS, st.integers(2, 8))
def test_no_other_cuts_have_a_smaller_largest_error(counts: list[int], num_bins: int) -> None:
    last = last_of_bins(np.array(counts), np.ones(len(counts), np.bool_), num_bins)
    assert len(last) < num_bins
    assert (np.diff(last) > 0).all()
    assert _error(counts, last) == _least_error(counts, num_bins)


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.integers(2, 8), st.randoms(use_true_random=False))
def test_intervals_of_several_values_are_taken_as_any_values(counts: list[int], num_bins: int, chance: object) -> None:
    """Whatever values such an interval holds, no threshold is further from a cut than half its bin's rows."""
    single = np.array([chance.random() < 0.5 for _ in counts])  # type: ignore[attr-defined]
    last = last_of_bins(np.array(counts), single, num_bins)
    ends = np.concatenate(([0], np.cumsum(counts)))
    cuts = ends[np.concatenate(([0], last + 1, [len(counts)]))]
    inner = [np.arange(a, b) for a, b, one in zip(ends[:-1], ends[1:], single, strict=True) if not one]
    places = np.concatenate([ends, *inner])
    error = np.abs(places[:, None] - cuts).min(axis=1).max()
    rows, unseen = ends[-1], np.array(counts)[~single].max(initial=0)
    assert error <= max(rows / num_bins, unseen / 2)
    assert error <= rows / (2 * num_bins) + max(counts) / 2


def test_every_heavy_value_beside_light_ones_takes_one_cut() -> None:
    counts = np.tile([90, 1], 100)
    last = last_of_bins(counts, np.ones(200, np.bool_), 101)
    assert _error(counts.tolist(), last) == 1
    heavy_of_bin = [int((own == 90).sum()) for own in np.split(counts, last + 1)]
    assert max(heavy_of_bin) == 1


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.integers(2, 8))
def test_no_cut_is_left_over(counts: list[int], num_bins: int) -> None:
    last = last_of_bins(np.array(counts), np.ones(len(counts), np.bool_), num_bins)
    assert len(last) == min(num_bins, len(counts)) - 1


def test_cuts_that_are_left_over_lie_all_over_the_range() -> None:
    last = last_of_bins(np.ones(1000, np.int64), np.ones(1000, np.bool_), 255)
    rows = np.diff(np.concatenate(([0], last + 1, [1000])))
    assert set(rows.tolist()) <= {2, 3, 5}
    assert max(abs((last < end).sum() - 255 * end / 1000) for end in range(0, 1001, 50)) <= 5


def test_cuts_that_are_left_over_go_where_the_error_is_largest() -> None:
    counts = np.array([5, 5, 5, 2, 90, 90, 2])  # three bins of an error of 5 would do
    sizes = [len(own) for own in np.split(counts, last_of_bins(counts, np.ones(7, np.bool_), 4) + 1)]
    assert _error(counts.tolist(), last_of_bins(counts, np.ones(7, np.bool_), 3)) == 5
    assert sizes == [1, 2, 2, 2] or sizes == [2, 1, 2, 2]


@pytest.mark.parametrize("num_bins", [2, 5, 255])
def test_one_interval_and_none_need_no_cut(num_bins: int) -> None:
    for counts in ([7], []):
        assert len(last_of_bins(np.array(counts, np.int64), np.ones(len(counts), np.bool_), num_bins)) == 0
