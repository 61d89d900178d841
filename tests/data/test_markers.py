"""A mark takes what it names and nothing else, in a table as in the model."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.errors import ConfigError
from werkbund.data.markers import Marker, interval_of, marked
from werkbund.data.preparation import Preparation
from werkbund.data.schema import Column, Schema
from werkbund.data.schema_json import differences, schema_from_json, schema_to_json
from werkbund.data.statistics import squares, survey

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCHEMA = Schema("failed", (Column("speed", "number", missing=(-999.0, "> 1e6", "< -5e3")), Column("load", "number")))


@given(FINITE, FINITE)
def test_a_bound_is_that_of_python(value: float, bound: float) -> None:
    values = np.array([value])
    assert marked(values, [f"> {bound!r}"])[0] == (value > bound)
    assert marked(values, [f"<{bound!r}"])[0] == (value < bound)


@given(FINITE)
def test_a_number_is_found_in_single_precision_too(value: float) -> None:
    assert marked(np.array([value]), [value])[0]
    with np.errstate(over="ignore"):
        single = float(np.float32(value))
    if math.isfinite(single) and (abs(value) > 1e-30 or single == value):
        assert marked(np.array([single]), [value])[0]


def test_what_lies_beside_a_number_is_kept() -> None:
    assert not marked(np.array([-998.99, -999.01, np.nan, np.inf]), [-999]).any()


@pytest.mark.parametrize("mark", ["999", ">", "> x", ">= 3", "> 1e999", "", math.nan, math.inf])
def test_what_is_no_mark_is_refused(mark: Marker) -> None:
    with pytest.raises(ConfigError, match="a mark must be"):
        interval_of(mark)
    with pytest.raises(ConfigError, match="a mark must be"):
        Column("speed", "number", missing=(mark,))


def _frame(mark: float | None) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    speed = [mark if row % 10 == 0 else value for row, value in enumerate(rng.normal(1500, 100, 200).tolist())]
    return pl.DataFrame({"speed": speed, "load": rng.normal(0, 1, 200), "failed": rng.integers(0, 2, 200)})


@pytest.mark.parametrize("mark", [-999.0, 3e7, 1e300, -6e3])
def test_a_marked_reading_is_a_missing_one_to_the_survey_the_network_and_the_trees(mark: float) -> None:
    with_mark, empty = _frame(mark), _frame(None)
    counted, expected = survey(with_mark, SCHEMA), survey(empty, SCHEMA)
    assert counted.missing.tolist() == expected.missing.tolist() == [20, 0]
    np.testing.assert_array_equal(counted.sum, expected.sum)
    np.testing.assert_array_equal(squares(with_mark, SCHEMA, counted.mean), squares(empty, SCHEMA, counted.mean))
    preparation = Preparation.fit(SCHEMA, counted, squares(with_mark, SCHEMA, counted.mean))
    np.testing.assert_array_equal(preparation.transform(with_mark), preparation.transform(empty))
    np.testing.assert_array_equal(preparation.raw(with_mark), preparation.raw(empty))


def test_marks_travel_with_schema_and_preparation() -> None:
    counted = survey(_frame(-999.0), SCHEMA)
    preparation = Preparation.fit(SCHEMA, counted, squares(_frame(-999.0), SCHEMA, counted.mean))
    assert Preparation.from_json(preparation.to_json()) == preparation
    assert schema_from_json(schema_to_json(SCHEMA)) == SCHEMA
    bare = Schema("failed", (Column("speed", "number"), Column("load", "number")))
    assert "without -999.0, > 1e6" in differences(SCHEMA, bare)[0]


def test_a_schema_described_without_marks_has_none() -> None:
    described = schema_to_json(SCHEMA)
    for column in described["features"]:
        del column["missing"]
    assert all(column.missing == () for column in schema_from_json(described).features)
