"""A plant takes part when its policy says so, and tells nothing about too few rows."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.arrays import AnyArray
from werkbund.core.kinds import Kind
from werkbund.data import Column, Schema
from werkbund.data.statistics import feature_names, squares_each, survey_each
from werkbund.engine.kinds import EVALUATE, TRAIN, UPLOAD
from werkbund.learner.counts import count_scores
from werkbund.plant.leaving import KINDS
from werkbund.plant.policy import Policy, withhold_counts, withhold_squares, withhold_survey
from werkbund.plant.settings import load_settings
from werkbund.selection.questions import CENTROIDS, HOLD, LOSS

NOON = datetime(2026, 3, 4, 12, 0)
TODAY = {"2026-03-04": 3, "2026-03-03": 99}


def test_a_policy_is_that_of_the_plants_file(tmp_path: Path) -> None:
    (tmp_path / "client.toml").write_text(
        '[client]\nname = "a"\n[server]\naddress = "h:1"\n[data]\npath = "a.csv"\n[policy]\nsignals = ["counts"]\n'
        f'minimum_rows = 5\nminimum_failures = 2\nrounds_a_day = 7\nhours = "22:00-06:00"\nbundles = ["{"ab" * 32}"]\n'
    )
    policy = Policy.of(load_settings(tmp_path))
    assert policy == Policy(
        frozenset({"counts"}), 5, 2, 7, "22:00-06:00", False, frozenset({"ab" * 32}), minimum_bin_rows=5
    )
    told = policy.for_server()
    assert told["refused"] == ["rows", "loss", "vocabulary", "delivery", "norm", "centroids", "trees"]
    assert (told["hours"], told["rounds_a_day"], told["minimum_rows"]) == ("22:00-06:00", 7, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_plant_that_pauses_does_nothing(kind: Kind) -> None:
    assert "policy.pause" in str(Policy(pause=True).refusal(kind, NOON, {}))
    assert Policy().refusal(kind, NOON, {}) is None


@pytest.mark.parametrize(
    ("hours", "time", "taken"),
    [
        ("", "03:00", True),
        ("08:00-16:00", "07:59", False),
        ("08:00-16:00", "08:00", True),
        ("08:00-16:00", "15:59", True),
        ("08:00-16:00", "16:00", False),
        ("22:00-06:00", "21:59", False),
        ("22:00-06:00", "22:00", True),
        ("22:00-06:00", "00:00", True),
        ("22:00-06:00", "05:59", True),
        ("22:00-06:00", "06:00", False),
        ("22:00-06:00", "12:00", False),
        ("00:00-24:00", "23:59", True),
        ("18:00-24:00", "00:00", False),
    ],
)
def test_hours_begin_and_end_to_the_minute_over_midnight_too(hours: str, time: str, taken: bool) -> None:
    now = datetime.fromisoformat(f"2026-03-04T{time}:30")
    for kind in (TRAIN, EVALUATE):
        refusal = Policy(hours=hours).refusal(kind, now, {})
        assert (refusal is None) == taken
        if refusal is not None:
            assert hours in refusal
            assert time in refusal


def test_hours_are_told_by_the_clock_on_the_wall() -> None:
    night = datetime.fromisoformat("2026-03-04T23:00:00+09:00")
    assert Policy(hours="22:00-06:00").refusal(TRAIN, night, {}) is None


@pytest.mark.parametrize("kind", [TRAIN, HOLD])
@pytest.mark.parametrize(("limit", "taken"), [(0, True), (3, False), (4, True), (2, False)])
def test_rounds_of_the_day_are_counted_for_training_alone(limit: int, taken: bool, kind: Kind) -> None:
    policy = Policy(rounds_a_day=limit)
    assert (policy.refusal(kind, NOON, TODAY) is None) == taken
    for other in (EVALUATE, UPLOAD, LOSS, CENTROIDS):
        assert policy.refusal(other, NOON, TODAY) is None
    assert policy.refusal(kind, NOON.replace(day=5), TODAY) is None


SCHEMA = Schema("y", (Column("few", "number"), Column("many", "number"), Column("kind", "category")))


def table(rows: int, few: int, failures: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "few": [float(i) if i < few else None for i in range(rows)],
            "many": [float(i) for i in range(rows)],
            "kind": ["rare" if i < 3 else "common" for i in range(rows)],
            "y": [int(i < failures) for i in range(rows)],
        },
        schema_overrides={"few": pl.Float64},
    )


def surveyed(frame: pl.DataFrame) -> tuple[dict[str, AnyArray], dict[str, dict[str, int]]]:
    arrays, _ = survey_each(frame, SCHEMA, np.array([0, frame.height]))
    return arrays, {"kind": dict(frame["kind"].value_counts().iter_rows())}


def test_a_column_with_too_few_values_says_that_all_are_missing() -> None:
    arrays, levels = surveyed(table(30, few=9, failures=4))
    kept, vocabulary = withhold_survey(arrays, levels, 10)
    assert feature_names(SCHEMA) == ("few", "many")
    assert kept["count"].tolist() == [[0, 30]]
    assert kept["missing"].tolist() == [[30, 0]]
    assert kept["sum"].tolist() == [[0.0, sum(range(30))]]
    assert kept["labels"].tolist() == [[26, 4]]
    assert vocabulary == {"kind": ("common",)}


def test_a_column_with_enough_values_is_told() -> None:
    arrays, levels = surveyed(table(30, few=10, failures=4))
    kept, vocabulary = withhold_survey(arrays, levels, 3)
    for name, array in arrays.items():
        np.testing.assert_array_equal(kept[name], array)
        assert kept[name].dtype == array.dtype
    assert vocabulary == {"kind": ("common", "rare")}


def test_a_table_with_too_few_rows_says_nothing() -> None:
    arrays, levels = surveyed(table(9, few=9, failures=4))
    kept, vocabulary = withhold_survey(arrays, levels, 10)
    assert not any(array.any() for array in kept.values())
    assert vocabulary == {"kind": ()}


@pytest.mark.parametrize(("minimum", "labels"), [(0, [26, 4]), (4, [26, 4]), (5, [0, 0])])
def test_few_failures_are_not_told(minimum: int, labels: list[int]) -> None:
    arrays, levels = surveyed(table(30, few=9, failures=4))
    assert withhold_survey(arrays, levels, 10, minimum)[0]["labels"].tolist() == [labels]


def test_a_survey_without_the_axis_of_clients_is_cut_alike() -> None:
    arrays, levels = surveyed(table(30, few=9, failures=4))
    kept, _ = withhold_survey({name: array[0] for name, array in arrays.items()}, levels, 10)
    for name, array in withhold_survey(arrays, levels, 10)[0].items():
        np.testing.assert_array_equal(kept[name], array[0])


def test_squares_of_withheld_columns_are_zero() -> None:
    frame = table(30, few=9, failures=4)
    arrays, levels = surveyed(frame)
    squares = squares_each(frame, SCHEMA, np.array([0.0, 0.0]), np.array([0, 30]))
    kept, _ = withhold_survey(arrays, levels, 10)
    for count in (arrays["count"], kept["count"]):
        assert withhold_squares(squares, count, 10).tolist() == [[0.0, squares[0, 1]]]
    np.testing.assert_array_equal(withhold_squares(squares[0], arrays["count"][0], 1), squares[0])


def scored(rows: int, failures: int, modes: int = 2, axis: bool = True) -> dict[str, AnyArray]:
    """Return counts of rows of which the first are failures, one of them of the second mode."""
    labels = (np.arange(rows) < failures).astype(np.float32)
    flags = np.zeros((rows, modes), np.bool_)
    flags[:failures, :1] = True
    flags[:1, 1:] = failures > 0
    counted = count_scores(np.linspace(-2, 2, rows), labels, flags, np.array([0, rows]))
    return counted if axis else {name: array[0] for name, array in counted.items()}


def answer(validation: dict[str, AnyArray], test: dict[str, AnyArray]) -> dict[str, AnyArray]:
    named = {f"validation.{name}": array for name, array in validation.items()}
    return named | {f"test.{name}": array for name, array in test.items()}


def splits_in(counts: dict[str, AnyArray]) -> set[str]:
    return {name.split(".")[0] for name in counts}


@pytest.mark.parametrize("axis", [True, False])
def test_a_split_with_too_few_rows_is_left_out(axis: bool) -> None:
    counts = answer(scored(19, 6, axis=axis), scored(20, 6, axis=axis))
    kept = withhold_counts(counts, 20, 0)
    assert splits_in(kept) == {"test"}
    for name, array in kept.items():
        np.testing.assert_array_equal(array, counts[name])


@pytest.mark.parametrize("axis", [True, False])
def test_a_split_with_too_few_failures_is_left_out_and_rare_modes_count_nothing(axis: bool) -> None:
    counts = answer(scored(30, 4, axis=axis), scored(30, 5, axis=axis))
    kept = withhold_counts(counts, 20, 5)
    assert splits_in(kept) == {"test"}
    assert np.atleast_3d(kept["test.modes"]).sum() == 5
    assert kept["test.modes"].shape == counts["test.modes"].shape
    assert kept["test.modes"].sum(axis=-1).ravel().tolist() == [5, 0]
    np.testing.assert_array_equal(kept["test.histogram"], counts["test.histogram"])


def test_without_a_minimum_of_failures_none_are_needed() -> None:
    assert splits_in(withhold_counts(answer(scored(30, 0), scored(30, 1)), 20, 0)) == {"validation", "test"}
    assert withhold_counts(answer(scored(30, 0), scored(30, 0)), 20, 1) == {}


def test_other_arrays_of_an_answer_pass_and_counts_without_a_histogram_do_not() -> None:
    update = np.ones((1, 3))
    kept = withhold_counts({"update": update, "test.brier": np.ones(1)}, 1, 0)
    assert list(kept) == ["update"]
    assert kept["update"] is update


def test_a_federation_without_modes_is_cut_alike() -> None:
    assert withhold_counts(answer(scored(30, 9, modes=0), {}), 20, 5)["validation.modes"].shape[1] == 0


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60), st.integers(1, 40), st.integers(0, 10))
def test_no_figure_is_over_fewer_rows_than_the_plant_allows(
    rows: int, few: int, failures: int, minimum_rows: int, minimum_failures: int
) -> None:
    few, failures = min(few, rows), min(failures, rows)
    arrays, levels = surveyed(table(rows, few, failures))
    kept, vocabulary = withhold_survey(arrays, levels, minimum_rows, minimum_failures)
    assert all(count == 0 or count >= minimum_rows for count in kept["count"].ravel())
    assert not kept["sum"][kept["count"] == 0].any()
    assert kept["labels"][0].sum() in (0, rows)
    assert all(levels["kind"][level] >= minimum_rows for level in vocabulary["kind"])
    told = withhold_counts(answer(scored(rows, failures), {}), minimum_rows, minimum_failures)
    if told:
        assert told["validation.histogram"].sum() >= minimum_rows
        assert told["validation.histogram"][0, 1].sum() >= minimum_failures
        by_mode = told["validation.modes"].sum(axis=-1).ravel()
        assert all(number == 0 or number >= minimum_failures for number in by_mode)
    else:
        assert rows < minimum_rows or failures < minimum_failures
