"""Labels are read as they are written, whatever number of values they have."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.errors import DataError
from werkbund.data.targets import binary_labels

WORDS = ("OK", "Lager", "Elektrik", "Hydraulik", "x")


@given(st.lists(st.sampled_from(WORDS), max_size=30), st.sets(st.sampled_from(WORDS), min_size=1))
def test_a_row_is_a_failure_if_it_has_one_of_the_values_that_mean_it(values: list[str], meant: set[str]) -> None:
    column = pl.Series("Status", values, pl.String)
    expected = [float(value in meant) for value in values]
    assert binary_labels(column, tuple(meant)).tolist() == expected
    assert binary_labels(column.cast(pl.Categorical), tuple(meant)).tolist() == expected
    for one in meant:
        assert binary_labels(column, one).tolist() == [float(value == one) for value in values]


@given(st.lists(st.integers(-2, 4), max_size=30), st.sets(st.integers(-2, 4), min_size=1))
def test_numbers_are_values_too(values: list[int], meant: set[int]) -> None:
    expected = [float(value in meant) for value in values]
    for kind in (pl.Int64, pl.Float64):
        assert binary_labels(pl.Series("code", values, kind), tuple(meant)).tolist() == expected


def test_truths_and_their_values() -> None:
    column = pl.Series("failed", [True, False, True])
    assert binary_labels(column, None).tolist() == [1.0, 0.0, 1.0]
    assert binary_labels(column, 0).tolist() == [0.0, 1.0, 0.0]


def test_more_values_than_two_need_their_meaning() -> None:
    with pytest.raises(DataError, match="must have two values, got 3"):
        binary_labels(pl.Series("Status", ["a", "b", "c"]), None)
