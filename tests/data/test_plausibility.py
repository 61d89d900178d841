"""Surveys that cannot be true are found by plant and column; those of real tables never are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from werkbund.core.arrays import AnyArray, Arrays
from werkbund.data.plausibility import (
    FAR,
    LARGEST_SUM,
    contradiction,
    odd_squares,
    rows_told,
    too_large,
    unlike_the_others,
)
from werkbund.data.schema import Column, Derived, Schema
from werkbund.data.statistics import SurveyCounts, squares_each, survey_each

SCHEMA = Schema(
    label="failed",
    features=(Column("speed", "number", "rpm", 0.0, 4000.0), Column("torque", "number"), Column("kind", "category")),
    derived=(Derived("power", "speed * torque", "W"),),
)
OFFSETS = np.array([0, 50, 90, 200, 260])


def _frame(seed: int = 0, scale: float = 10.0) -> pl.DataFrame:
    rng, rows = np.random.default_rng(seed), int(OFFSETS[-1])
    torque = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(4 * scale, scale, rows))
    columns = {"speed": rng.normal(1500, 100, rows), "torque": torque, "kind": rng.choice(["L", "M"], rows)}
    return pl.DataFrame({**columns, "failed": rng.integers(0, 2, rows)})


def _survey(seed: int = 0, scale: float = 10.0) -> Arrays:
    return survey_each(_frame(seed, scale), SCHEMA, OFFSETS)[0]


def _mean(survey: Arrays) -> AnyArray:
    total = SurveyCounts.from_arrays(("speed", "torque", "power"), {n: a.sum(0) for n, a in survey.items()}, {})
    return total.mean


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(1e-6, 1e6))
def test_surveys_of_rows_are_plausible(seed: int, scale: float) -> None:
    survey = _survey(seed, scale)
    mean = _mean(survey)
    squares = squares_each(_frame(seed, scale), SCHEMA, mean, OFFSETS)
    assert contradiction(survey, SCHEMA) is None
    assert rows_told(survey).tolist() == [50, 40, 110, 60]
    assert unlike_the_others(survey, SCHEMA) == {}
    assert odd_squares(squares, survey, mean, SCHEMA) == {}


def _nothing(array: AnyArray, place: int) -> AnyArray:
    new = array.copy()
    new[place] = 0
    return new


@pytest.mark.parametrize("name", ["labels", "count", "sum"])
def test_so_are_those_of_which_a_policy_withholds_something(name: str) -> None:
    survey = _survey()
    if name in ("count", "sum"):  # of a column: all of its values look as if they were missing
        missing = survey["missing"].copy()
        missing[1] += survey["count"][1]
        survey = {
            **survey,
            "missing": missing,
            "count": _nothing(survey["count"], 1),
            "sum": _nothing(survey["sum"], 1),
        }
    else:
        survey = {**survey, "labels": _nothing(survey["labels"], 1)}
    assert contradiction(survey, SCHEMA) is None
    assert rows_told(survey)[1] == 40
    assert unlike_the_others(survey, SCHEMA) == {}


def _one(value: float) -> Callable[[AnyArray], AnyArray]:
    def lie(old: AnyArray) -> AnyArray:
        new = old.astype(np.float64)
        new[2, 0] = value
        return new

    return lie


@pytest.mark.parametrize(
    ("name", "lie", "said"),
    [
        ("count", _one(2.0**48), "more than the 1e\\+09 that any plant has"),
        ("labels", _one(2.0**47), "more than the 1e\\+09"),
        ("labels", lambda old: np.full_like(old, 10**9), "more than the 1e\\+09"),
        ("count", _one(3), "not over the same rows"),
        ("missing", _one(30), "not over the same rows"),
        ("labels", _one(1), "not over the same rows"),
        ("count", _one(0.5), "whole numbers"),
        ("sum", _one(1e30), "mean of its speed, .* outside the plausible range 0 to 4000; name what"),
        ("sum", _one(-1e299), "mean of its speed"),
        ("sum", _one(110 * 4001.0), "mean of its speed"),
    ],
)
def test_a_survey_that_cannot_be_true_is_described(name: str, lie: Callable[[AnyArray], AnyArray], said: str) -> None:
    survey = _survey()
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(contradiction({**survey, name: lie(survey[name])}, SCHEMA))


@given(st.integers(0, 3), st.integers(0, 2), st.sampled_from([1e30, -1e299, 1e12, -1e9]))
def test_a_mean_far_from_the_other_plants_is_found_without_a_range(place: int, column: int, value: float) -> None:
    schema = replace(SCHEMA, features=tuple(replace(c, low=None, high=None) for c in SCHEMA.features))
    survey = _survey()
    total = survey["sum"].copy()
    total[place, column] = value * survey["count"][place, column]
    found = unlike_the_others({**survey, "sum": total}, schema)
    if abs(value) > 2 * FAR * abs(float(np.median(survey["sum"][:, column] / survey["count"][:, column]))):
        assert list(found) == [place]
        assert f"its {('speed', 'torque', 'power')[column]}, {value:g}, is far from" in found[place]
        assert "leave the plant out" in found[place]


@given(st.integers(0, 3), st.integers(0, 2), st.sampled_from([1e30, 1e250, 1e300]))
def test_squares_far_from_the_other_plants_are_found(place: int, column: int, value: float) -> None:
    survey = _survey()
    mean = _mean(survey)
    squares = squares_each(_frame(), SCHEMA, mean, OFFSETS)
    squares[place, column] = value
    assert list(odd_squares(squares, survey, mean, SCHEMA)) == [place]


def test_squares_are_at_least_what_the_own_mean_takes() -> None:
    survey = _survey()
    mean = _mean(survey)
    squares = squares_each(_frame(), SCHEMA, mean, OFFSETS)
    squares[1] = 1e-9
    assert "smaller spread than its own mean allows" in odd_squares(squares, survey, mean, SCHEMA)[1]


def test_of_two_plants_nobody_can_say_which_is_far() -> None:
    survey = {name: array[:2] for name, array in _survey().items()}
    survey["sum"] = survey["sum"] * np.array([[1.0], [1e12]])
    assert unlike_the_others(survey, SCHEMA) == {}


def test_a_mean_in_another_unit_is_said_to_be() -> None:
    survey = _survey()
    slow = {**survey, "sum": survey["sum"].copy()}
    schema = replace(SCHEMA, features=(replace(SCHEMA.features[0], low=500.0), *SCHEMA.features[1:]))
    slow["sum"][2, 0] /= 60
    said = contradiction(slow, schema)
    assert said is not None
    assert 'and looks like 1/s (unit = "1/s" in its client.toml)' in said


@pytest.mark.parametrize("value", [1e145, -1e300, float("inf")])
def test_a_sum_that_no_reading_gives_is_said_with_its_column(value: float) -> None:
    sums = _survey()["sum"].copy()
    sums[1, 1] = value
    said = too_large(sums, "sum", LARGEST_SUM, SCHEMA)
    assert said is not None
    assert said.startswith(f"the sum of its torque, {abs(value):g}, is too large")
    assert "data.missing" in said
    assert too_large(_survey()["sum"], "sum", LARGEST_SUM, SCHEMA) is None
