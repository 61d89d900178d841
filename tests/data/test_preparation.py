from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from werkbund.core.errors import DataError, ModelError
from werkbund.data.preparation import Preparation
from werkbund.data.schema import Column, Derived, Schema
from werkbund.data.statistics import SurveyCounts, squares, survey

SCHEMA = Schema(
    label="failed",
    features=(Column("speed", "number", "rpm"), Column("kind", "category"), Column("torque", "number", "Nm")),
    derived=(Derived("power", "speed * torque / 9.55", "W"),),
)


def fitted(frame: pl.DataFrame, schema: Schema = SCHEMA) -> Preparation:
    counted = survey(frame, schema)
    return Preparation.fit(schema, counted, squares(frame, schema, counted.mean))


def table(rows: int = 300) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "speed": rng.normal(1500, 100, rows),
            "torque": rng.normal(40, 10, rows),
            "kind": rng.choice(["M", "L", "H"], rows),
            "failed": rng.integers(0, 2, rows),
        }
    )


def test_features_equal_those_of_scikit_learn() -> None:
    frame = table()
    power = (pl.col("speed") * pl.col("torque") / 9.55).alias("power")
    raw = frame.select("speed", "torque", power).to_numpy()
    levels = OneHotEncoder(sparse_output=False).fit_transform(frame.select("kind").to_numpy())
    expected = np.hstack([StandardScaler().fit_transform(raw), levels])
    features = fitted(frame).transform(frame)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


def test_feature_names_follow_the_features() -> None:
    frame = table().with_columns(torque=pl.when(pl.col("failed") == 1).then(None).otherwise(pl.col("torque")))
    prepared = fitted(frame)
    assert prepared.feature_names == (
        "speed",
        "torque",
        "power",
        "kind=H",
        "kind=L",
        "kind=M",
        "torque missing",
        "power missing",
    )
    assert prepared.transform(frame).shape == (300, prepared.num_features)


@pytest.mark.parametrize("gap", [None, math.nan, math.inf, -math.inf])
def test_a_missing_number_becomes_the_mean_and_raises_its_indicator(gap: float | None) -> None:
    frame = table().with_columns(torque=pl.when(pl.int_range(300) < 3).then(None).otherwise(pl.col("torque")))
    row = pl.DataFrame({"speed": [1500.0], "torque": [gap], "kind": ["L"]}, schema_overrides={"torque": pl.Float64})
    prepared = fitted(frame)
    named = dict(zip(prepared.feature_names, prepared.transform(row)[0].tolist(), strict=True))
    assert (named["torque"], named["power"]) == (0.0, 0.0)
    assert (named["torque missing"], named["power missing"]) == (1.0, 1.0)


def test_a_number_missing_only_at_scoring_becomes_the_mean() -> None:
    frame = table()
    row = pl.DataFrame({"speed": [1500.0], "torque": [None], "kind": ["L"]})
    assert fitted(frame).transform(row)[0, 1:3].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("level", ["X", "", None])
def test_an_unknown_or_missing_level_is_all_zeros(level: str | None) -> None:
    row = pl.DataFrame({"speed": [1500.0], "torque": [40.0], "kind": pl.Series([level], dtype=pl.String)})
    assert fitted(table()).transform(row)[0, 3:].tolist() == [0.0, 0.0, 0.0]


def test_codes_are_levels_as_they_are_written() -> None:
    frame = table().with_columns(kind=pl.col("failed"))
    prepared = fitted(frame)
    assert prepared.categories == (("kind", ("0", "1")),)
    np.testing.assert_array_equal(prepared.transform(frame)[:, -1], frame["failed"].to_numpy())


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e6 / 3])
def test_a_constant_column_becomes_zero(constant: float) -> None:
    frame = table().with_columns(speed=pl.lit(constant))
    prepared = fitted(frame)
    assert prepared.scale[0] == 1.0
    np.testing.assert_allclose(prepared.transform(frame)[:, 0], 0.0, atol=1e-8)


def test_a_category_that_is_always_missing_has_no_feature() -> None:
    frame = table().with_columns(kind=pl.lit(None, dtype=pl.String))
    assert fitted(frame).transform(frame).shape == (300, 3)


def test_the_difference_is_taken_in_double_before_scaling() -> None:
    schema = Schema(
        label="failed",
        features=(Column("air", "number", "K"), Column("process", "number", "K")),
        derived=(Derived("cold", "process - air < 8.6"),),
    )
    frame = pl.DataFrame({"air": [300.1, 298.3], "process": [308.7, 306.8], "failed": [0, 1]})
    prepared = Preparation(("air", "process"), schema.derived, (300.0, 310.0, 0.0), (2.0, 1.0, 1.0))
    assert prepared.transform(frame)[:, 2].tolist() == [float(308.7 - 300.1 < 8.6), 1.0]
    assert float(np.float32(308.7) - np.float32(300.1) < np.float32(8.6)) != float(308.7 - 300.1 < 8.6)


def test_a_value_too_large_for_single_precision_counts_as_missing() -> None:
    row = pl.DataFrame({"speed": [1e300], "torque": [1e300], "kind": ["L"]})
    assert fitted(table()).transform(row)[0, :3].tolist() == [0.0, 0.0, 0.0]


def test_values_too_large_to_be_summed_are_refused_by_name() -> None:
    frame = table().with_columns(speed=pl.lit(1e308))
    with pytest.raises(DataError, match="speed"):
        fitted(frame)


def test_raw_values_are_neither_scaled_nor_filled() -> None:
    frame = table(4).with_columns(
        pl.Series("speed", [1000.0, None, math.inf, 2.0]), pl.Series("kind", ["L", "?", None, "M"])
    )
    preparation = fitted(table())
    torque = frame["torque"].to_numpy()
    expected = {
        "speed": [1000.0, math.nan, math.nan, 2.0],
        "torque": torque.tolist(),
        "power": [1000.0 * torque[0] / 9.55, math.nan, math.nan, 2.0 * torque[3] / 9.55],
        "kind": [1.0, math.nan, math.nan, 2.0],  # H, L, M
    }
    assert preparation.raw_names == tuple(expected)
    assert preparation.levels == (0, 0, 0, 3)
    np.testing.assert_array_equal(preparation.raw(frame), np.column_stack(list(expected.values())))


def test_every_feature_belongs_to_one_raw_column() -> None:
    gaps = table().with_columns(pl.Series("torque", [None, *range(1, 300)], dtype=pl.Float64))
    preparation = fitted(gaps)
    groups = preparation.feature_groups
    assert tuple(groups) == preparation.raw_names
    assert sorted(place for places in groups.values() for place in places) == [*range(preparation.num_features)]
    assert [preparation.feature_names[place] for place in groups["torque"]] == ["torque", "torque missing"]
    assert [preparation.feature_names[place] for place in groups["kind"]] == ["kind=H", "kind=L", "kind=M"]


def test_json_keeps_every_bit() -> None:
    prepared = fitted(table())
    back = Preparation.from_json(json.loads(json.dumps(prepared.to_json())))
    assert back == prepared
    assert back.fingerprint == prepared.fingerprint
    np.testing.assert_array_equal(back.transform(table()), prepared.transform(table()))


def test_the_fingerprint_tells_the_last_bit_of_a_mean() -> None:
    prepared = fitted(table())
    other = replace(prepared, mean=(np.nextafter(prepared.mean[0], 0.0).item(), *prepared.mean[1:]))
    assert other.fingerprint != prepared.fingerprint


def test_an_incomplete_description_is_refused() -> None:
    with pytest.raises(ModelError, match="scale"):
        Preparation.from_json({name: v for name, v in fitted(table()).to_json().items() if name != "scale"})


def test_no_row_gives_no_feature_row() -> None:
    assert fitted(table()).transform(table()[:0]).shape == (0, 6)


def test_counts_of_another_schema_are_refused() -> None:
    other = Schema(label="failed", features=(Column("speed", "number"),))
    counted = survey(table(), other)
    with pytest.raises(DataError, match="survey every client"):
        Preparation.fit(SCHEMA, counted, np.zeros(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": (0.0,)}, "must have 3 values"),
        ({"scale": (1.0, 0.0, 1.0)}, "torque"),
        ({"missing": ("kind",)}, "kind"),
        ({"units": ("rpm",)}, "2 units"),
    ],
)
def test_an_impossible_preparation_cannot_exist(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        replace(fitted(table()), **change)


def test_a_preparation_without_a_feature_is_refused() -> None:
    with pytest.raises(DataError, match="at least one feature"):
        Preparation((), (), (), (), (("kind", ()),))


def test_a_column_of_which_nobody_told_a_value_counts_as_0_whatever_is_in_it() -> None:
    schema = Schema("failed", (Column("heat", "number"), Column("load", "number")))
    told = SurveyCounts(
        ("heat", "load"), np.array([30, 9]), np.array([0, 39]), np.array([39, 0]), np.array([0.0, 78.0]), {}
    )
    preparation = Preparation.fit(schema, told, np.array([0.0, 39.0]))
    frame = pl.DataFrame({"heat": [900.0, -5e6, None], "load": [2.0, 3.0, 1.0]})
    np.testing.assert_array_equal(np.abs(preparation.transform(frame)[:, 0]) < 1e-20, True)
    np.testing.assert_array_equal(preparation.transform(frame)[:, 1], np.array([0.0, 1.0, -1.0], np.float32))
