from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from werkbund.core.errors import DataError
from werkbund.data.features import clean, number_matrix
from werkbund.data.schema import Derived


def test_null_nan_infinity_and_empty_text_are_all_missing() -> None:
    frame = pl.DataFrame({"x": [1.0, None, math.nan, math.inf, -math.inf], "c": ["a", None, "", "b", "a"]})
    cleaned = clean(frame, ["x"], ["c"])
    np.testing.assert_array_equal(cleaned["x"].to_numpy(), [1.0, *[math.nan] * 4])
    assert cleaned["x"].null_count() == 0
    assert cleaned["c"].to_list() == ["a", None, None, "b", "a"]


@pytest.mark.parametrize("values", [[True, False], [1, 0], pl.Series([1, 0], dtype=pl.UInt8), [1.0, 0.0]])
def test_every_kind_of_number_is_read_alike(values: pl.Series | list[float]) -> None:
    assert clean(pl.DataFrame({"x": values}), ["x"], [])["x"].to_list() == [1.0, 0.0]


def test_a_column_without_any_value_is_missing_everywhere() -> None:
    assert clean(pl.DataFrame({"x": [None, None]}), ["x"], [])["x"].is_nan().all()


def test_names_are_never_patterns() -> None:
    frame = pl.DataFrame({"*": [1.0], "^.*$": [2.0], "other": ["text"]})
    matrix = number_matrix(clean(frame, ["*", "^.*$"], []), ["*", "^.*$"], ())
    assert matrix.tolist() == [[1.0, 2.0]]


def test_columns_that_are_not_named_are_ignored() -> None:
    frame = pl.DataFrame({"label": ["odd"], "x": [1.0]})
    assert clean(frame, ["x"], []).columns == ["x"]


def test_missing_columns_are_all_named() -> None:
    with pytest.raises(DataError, match=r"'speed', 'kind'"):
        clean(pl.DataFrame({"x": [1.0]}), ["x", "speed"], ["kind"])


def test_text_declared_numeric_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"'x' must hold numbers, got String"):
        clean(pl.DataFrame({"x": ["1,5", "2"]}), ["x"], [])


def test_a_derived_feature_is_missing_where_it_is_not_finite_or_its_input_is_missing() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0, None], "y": [0.0, 4.0, 1.0]})
    matrix = number_matrix(clean(frame, ["x", "y"], []), ["x", "y"], (Derived("ratio", "x / y"),))
    np.testing.assert_array_equal(matrix[:, 2], [math.nan, 0.5, math.nan])


def test_a_derived_feature_may_read_a_category() -> None:
    limit = Derived("limit", "CASE WHEN c = 'L' THEN 11 ELSE 13 END")
    matrix = number_matrix(clean(pl.DataFrame({"c": ["L", "H", None]}), [], ["c"]), [], (limit,))
    assert matrix.tolist() == [[11.0], [13.0], [13.0]]
