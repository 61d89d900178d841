"""Whatever file a table comes from, missing is null and a text is a text."""

from __future__ import annotations

import math
from decimal import Decimal

import polars as pl
import pytest
from polars.testing import assert_frame_equal, assert_series_equal

from werkbund.data.tidying import tidy


def one(series: pl.Series) -> pl.Series:
    return tidy(series.alias("x").to_frame())["x"]


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64])
def test_readings_that_are_not_finite_are_null(dtype: type[pl.DataType]) -> None:
    column = one(pl.Series([1.5, math.nan, math.inf, -math.inf, None], dtype=dtype))
    assert column.dtype == dtype
    assert column.to_list() == [1.5, None, None, None, None]


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["L", " M "])])
def test_categories_become_texts(dtype: pl.DataType) -> None:
    assert_series_equal(one(pl.Series(["L", " M ", None], dtype=dtype)), pl.Series("x", ["L", "M", None]))


def test_wide_numbers_become_doubles() -> None:
    assert one(pl.Series([Decimal("1.25"), None])).to_list() == [1.25, None]
    assert one(pl.Series([2**70, None], dtype=pl.Int128)).to_list() == [2.0**70, None]


def test_padded_numbers_become_numbers_and_other_texts_stay() -> None:
    assert_series_equal(one(pl.Series([" 1", "2 ", ""])), pl.Series("x", [1, 2, None]))
    assert_series_equal(one(pl.Series([" 1.5", "2", " NaN"])), pl.Series("x", [1.5, 2.0, None]))
    assert_series_equal(one(pl.Series([" 1", "x"])), pl.Series("x", ["1", "x"]))
    assert_series_equal(one(pl.Series(["1", "2"])), pl.Series("x", ["1", "2"]))
    assert one(pl.Series([" ", "  "])).dtype == pl.String


def test_a_tidy_table_stays_as_it_is() -> None:
    frame = pl.DataFrame({"a": [1, None], "b": [True, None], "c": ["x", None], "d": [0.5, None], "e": [None, None]})
    assert_frame_equal(tidy(frame), frame)
    assert_frame_equal(tidy(tidy(frame)), frame)
    assert tidy(frame.clear()).schema == frame.schema
