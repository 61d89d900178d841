"""A time column means the same whatever it is written in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.errors import DataError
from werkbund.data import Column, Origin, Schema, Table
from werkbund.data.table import in_time_order
from werkbund.data.times import moments

FORMS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y %H:%M:%S", "%Y-%m-%dT%H:%M:%S+00:00")
STAMPS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda stamp: stamp.replace(microsecond=0))


@given(st.lists(STAMPS, min_size=1, max_size=20), st.sampled_from(FORMS))
def test_hours_are_those_of_the_standard_library(stamps: list[datetime], form: str) -> None:
    texts = pl.Series("t", [stamp.strftime(form) for stamp in stamps])
    expected = [stamp.replace(tzinfo=UTC).timestamp() / 3600 for stamp in stamps]
    np.testing.assert_allclose(moments(texts), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(moments(pl.Series("t", stamps)), expected, rtol=0, atol=1e-6)


def test_forms_may_be_mixed_and_values_missing() -> None:
    column = pl.Series("t", ["31.01.2024 14:00", None, "2024-01-31", "2024-01-31T14:00:00+01:00"])
    hours = moments(column) - moments(pl.Series("t", [date(2024, 1, 31)]))
    np.testing.assert_array_equal(hours, [14.0, np.nan, 0.0, 13.0])


def test_clock_changes_are_told_apart_where_the_offset_is_said() -> None:
    column = pl.Series("t", ["2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00"])
    assert np.diff(moments(column)).tolist() == [1.0]


@pytest.mark.parametrize("values", [[1, 5, None], [1.0, 5.0, None], ["1", "5", None]])
def test_numbers_stay_in_their_unit(values: list[object]) -> None:
    np.testing.assert_array_equal(moments(pl.Series("cycle", values)), [1.0, 5.0, np.nan])


@pytest.mark.parametrize("odd", ["soon", "01/02/2024", "2024-13-40", "12:30", "32.01.2024"])
def test_what_cannot_be_read_for_certain_is_refused(odd: str) -> None:
    with pytest.raises(DataError, match=r"time 't' must hold dates, times or numbers, 1 of 2 rows cannot be read"):
        moments(pl.Series("t", ["2024-01-01", odd]))


def test_other_types_are_refused() -> None:
    with pytest.raises(DataError, match="time 't' must hold dates, times or numbers, got Boolean"):
        moments(pl.Series("t", [True, False]))


def test_german_dates_are_sorted_as_time_and_not_as_text() -> None:
    stamps = [datetime(2024, 1, 1) + timedelta(days=day) for day in range(400)]
    texts = [stamp.strftime("%d.%m.%Y %H:%M") for stamp in stamps]
    shuffled = np.random.default_rng(0).permutation(400)
    frame = pl.DataFrame({"when": texts, "heat": np.arange(400.0), "failed": 0})[shuffled]
    table = Table(frame, Schema("failed", (Column("heat", "number"),), time="when"), Origin("file"))
    assert in_time_order(table).frame["heat"].to_list() == list(range(400))
    assert sorted(texts) != texts


def test_new_machines_begin_in_order_of_time() -> None:
    texts = ["30.01.2024", "31.01.2024", "01.02.2024", "02.02.2024"]
    frame = pl.DataFrame({"when": texts, "wear": [1.0, 2.0, 0.0, 1.0], "failed": 0})
    schema = Schema("failed", (Column("wear", "number"),), machine_reset="wear", time="when")
    assert schema.machines(frame).tolist() == [0, 0, 1, 1]
