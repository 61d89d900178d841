from __future__ import annotations

from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import polars as pl
import pytest

from werkbund.core.errors import DataError
from werkbund.data.schema import Column, Derived, Schema
from werkbund.data.statistics import SurveyCounts, squares, squares_each, survey, survey_each

SCHEMA = Schema(
    label="failed",
    features=(Column("speed", "number", "rpm"), Column("torque", "number", "Nm"), Column("kind", "category")),
    derived=(Derived("power", "speed * torque / 9.55", "W"),),
)


def table(rows: int = 200, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    torque = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(40, 10, rows))
    return pl.DataFrame(
        {
            "speed": rng.normal(1500, 100, rows),
            "torque": torque,
            "kind": rng.choice(["L", "M", ""], rows),
            "failed": rng.integers(0, 2, rows),
        }
    )


def parts(frame: pl.DataFrame) -> list[pl.DataFrame]:
    bounds = [0, 1, 5, 150, frame.height]
    return [frame[first:last] for first, last in pairwise(bounds)]


def test_counts_of_clients_add_up_to_those_of_all_rows() -> None:
    frame = table()
    total = reduce(add, (survey(part, SCHEMA) for part in parts(frame)))
    pooled = survey(frame, SCHEMA)
    np.testing.assert_allclose(total.sum, pooled.sum, rtol=1e-13)
    for name in ("labels", "count", "missing"):
        np.testing.assert_array_equal(total.to_arrays()[name], pooled.to_arrays()[name])
    assert total.vocabulary == pooled.vocabulary == {"kind": ("L", "M")}


def test_mean_and_deviation_are_those_of_the_values_present() -> None:
    frame = table()
    total = reduce(add, (survey(part, SCHEMA) for part in parts(frame)))
    spread = sum(squares(part, SCHEMA, total.mean) for part in parts(frame))
    torque = frame["torque"].to_numpy()
    power = frame["speed"].to_numpy() * torque / 9.55
    expected = [frame["speed"].to_numpy(), torque, power]
    np.testing.assert_allclose(total.mean, [np.nanmean(values) for values in expected], rtol=1e-12)
    np.testing.assert_allclose(np.sqrt(spread / total.count), [np.nanstd(values) for values in expected], rtol=1e-12)


def test_a_small_spread_far_from_zero_keeps_its_digits() -> None:
    offset = 1e9
    noise = np.random.default_rng(1).normal(0, 1e-2, 1000)
    frame = table(1000).with_columns(speed=pl.Series(noise + offset))
    mean = survey(frame, SCHEMA).mean
    exact = np.std(frame["speed"].to_numpy() - offset)  # the subtraction is exact
    assert np.sqrt(squares(frame, SCHEMA, mean)[0] / 1000) == pytest.approx(exact, rel=1e-9)


def test_prevalence_is_the_share_of_failures() -> None:
    frame = table()
    assert survey(frame, SCHEMA).prevalence == pytest.approx(frame["failed"].mean())


def test_arrays_and_vocabulary_hold_everything() -> None:
    counted = survey(table(), SCHEMA)
    as_floats = {name: array.astype(np.float64) for name, array in counted.to_arrays().items()}
    back = SurveyCounts.from_arrays(counted.features, as_floats, counted.vocabulary)
    for name, array in counted.to_arrays().items():
        np.testing.assert_array_equal(back.to_arrays()[name], array)
        assert back.to_arrays()[name].dtype == array.dtype
    assert back.vocabulary == counted.vocabulary


def test_a_column_without_a_value_has_mean_zero() -> None:
    frame = table().with_columns(torque=pl.lit(None, dtype=pl.Float64))
    counted = survey(frame, SCHEMA)
    assert counted.mean[1:].tolist() == [0.0, 0.0]
    assert counted.missing.tolist() == [0, 200, 200]


def test_a_client_without_a_row_adds_nothing() -> None:
    frame = table()
    whole, empty = survey(frame, SCHEMA), survey(frame[:0], SCHEMA)
    np.testing.assert_array_equal((whole + empty).sum, whole.sum)
    assert empty.rows == 0
    assert empty.prevalence == 0.0
    assert squares(frame[:0], SCHEMA, whole.mean).tolist() == [0.0, 0.0, 0.0]


def test_surveys_of_different_schemas_are_not_added() -> None:
    other = Schema(label="failed", features=(Column("speed", "number"),))
    with pytest.raises(DataError, match="same columns"):
        survey(table(), SCHEMA) + survey(table(), other)


def test_arrays_of_another_length_are_refused() -> None:
    counted = survey(table(), SCHEMA)
    with pytest.raises(DataError, match="arrays to match"):
        SurveyCounts.from_arrays(counted.features[:1], counted.to_arrays(), counted.vocabulary)


def test_missing_arrays_are_named() -> None:
    with pytest.raises(DataError, match=r"\['count', 'sum'\]"):
        SurveyCounts.from_arrays((), {"labels": np.zeros(2), "missing": np.zeros(0)}, {})


def test_many_clients_at_once_count_as_each_alone() -> None:
    rng = np.random.default_rng(5)
    sizes = np.array([7, 0, 1, 30, 0, 12])
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    rows = int(sizes.sum())
    numbers = np.where(rng.random(rows) < 0.2, np.nan, rng.normal(300.0, 2.0, rows))
    kinds = [("L", "M", None)[kind] for kind in rng.integers(0, 3, rows)]
    frame = pl.DataFrame({"t": numbers, "kind": kinds, "y": rng.integers(0, 2, rows)})
    schema = Schema(label="y", features=(Column("t", "number"), Column("kind", "category")))
    arrays, vocabularies = survey_each(frame, schema, offsets)
    deviations = squares_each(frame, schema, np.array([300.0]), offsets)
    for client, (first, last) in enumerate(pairwise(offsets.tolist())):
        own = frame.slice(first, last - first)
        if own.height == 0:
            assert all((array[client] == 0).all() for array in arrays.values())
            continue
        alone = survey(own, schema)
        for name, array in alone.to_arrays().items():
            np.testing.assert_array_equal(arrays[name][client], array)
        assert vocabularies[client] == alone.vocabulary
        np.testing.assert_array_equal(deviations[client], squares(own, schema, np.array([300.0])))
