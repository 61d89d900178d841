"""Messages about column names say which one was probably meant."""

from __future__ import annotations

import polars as pl
import pytest

from werkbund.core import DataError
from werkbund.data.names import nearest, require


@pytest.mark.parametrize("typed", ["Tool waer [min]", "tool wear [min]", "Tool wear"])
def test_the_nearest_name_ignores_case_and_slips(typed: str) -> None:
    assert "did you mean 'Tool wear [min]'" in nearest(typed, ["Torque [Nm]", "Tool wear [min]", "Type"])


def test_without_a_near_name_the_known_ones_are_listed() -> None:
    assert nearest("zzz", ["a", "b"]) == "; the columns are 'a', 'b'"
    assert nearest("zzz", [f"column {number}" for number in range(20)]).endswith(", ...")
    assert nearest("zzz", []) == ""


def test_all_missing_columns_are_named_once() -> None:
    with pytest.raises(DataError, match="columns of the label, missing 'x', 'y'"):
        require(pl.DataFrame({"a": [1]}), ("x", "a", "y", "x"), "the label")


def test_nothing_missing_is_no_error() -> None:
    require(pl.DataFrame({"a": [1]}), ("a",), "anything")
