"""A table has every column that its schema names, and at least one row."""

from __future__ import annotations

import json

import polars as pl
import pytest

from werkbund.core import DataError
from werkbund.data.schema import Column, Schema
from werkbund.data.table import Origin, Table

SCHEMA = Schema("y", (Column("Torque [Nm]", "number", "Nm"),), client="site", modes=("a",))
FRAME = pl.DataFrame({"y": [0, 1], "Torque [Nm]": [1.0, 2.0], "site": ["p", "q"], "a": [0, 1], "more": [1, 2]})


def test_a_table_may_have_more_columns_than_its_schema() -> None:
    assert Table(FRAME, SCHEMA, Origin("csv")).num_rows == 2


def test_missing_columns_are_named_together() -> None:
    with pytest.raises(DataError, match="missing 'y', 'site'"):
        Table(FRAME.drop("site", "y"), SCHEMA, Origin("csv"))


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(DataError, match=r"did you mean 'torque\[nm\]'"):
        Table(FRAME.rename({"Torque [Nm]": "torque[nm]"}), SCHEMA, Origin("csv"))


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match="at least one row"):
        Table(FRAME.clear(), SCHEMA, Origin("csv"))


def test_an_origin_goes_through_json() -> None:
    origin = Origin("generator", generated={"rows": 10, "seed": 0}, note="Generated.")
    told = json.loads(json.dumps(origin.to_json()))
    assert told.pop("reading")["sentence"] == ""
    assert Origin(**told) == origin
