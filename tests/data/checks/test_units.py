"""A plant that measures in another unit is named, and the lines that are proposed put it beside the others."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from werkbund.config import check_config
from werkbund.data.checks import Finding, check
from werkbund.data.checks.units import doubts, suspicions
from werkbund.data.conversion import convert
from werkbund.data.schema import Column, Schema
from werkbund.data.statistics import squares_each, survey_each
from werkbund.data.units import MISTAKEN, USUAL
from werkbund.federation.tables import read_table

PLANTS = ("Graz", "Linz", "Ulm", "Wien")
ROWS = 150

PAIRS = [
    ("Temperatur_C", "", 60.0, 8.0, 1.0, 273.15),
    ("oil temp", "", 60.0, 8.0, 1.8, 32.0),
    ("Pressure [kPa]", "kPa", 400.0, 30.0, 1 / 6.894757, 0.0),
    ("pressure", "", 90.0, 9.0, 6.894757, 0.0),
    ("pressure_bar", "", 6.0, 0.5, 14.503774, 0.0),
    ("Druck", "", 6.0, 0.5, 14.503774, 0.0),
    ("gap [mm]", "mm", 12.0, 1.5, 1 / 25.4, 0.0),
    ("belt", "", 3.0, 0.4, 3.6, 0.0),
    ("speed", "", 1500.0, 120.0, 1 / 60, 0.0),
    ("load", "", 40.0, 6.0, 1000.0, 0.0),
    ("load", "", 40.0, 6.0, 0.001, 0.0),
    ("load", "", 40.0, 6.0, 10.0, 0.0),
    ("load", "", 40.0, 6.0, 0.01, 0.0),
    ("load [kW]", "kW", 40.0, 6.0, 1000.0, 0.0),
]
WITHOUT_UNIT = [pair for pair in PAIRS if not pair[1]]


def rows(seed: int, column: str, middle: float, spread: float, plants: int) -> pl.DataFrame:
    """Return readings of plants that differ a little, as plants do."""
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.normal(0, 0.15 * spread, plants), ROWS)
    return pl.DataFrame(
        {
            column: middle + levels + rng.normal(0, spread, plants * ROWS),
            "other": rng.normal(0, 1, plants * ROWS),
            "plant": np.repeat(PLANTS[:plants], ROWS),
            "failed": (rng.random(plants * ROWS) < 0.1).astype(int),
        }
    )


def config(folder: Path, table: pl.DataFrame, column: str, unit: str) -> dict[str, Any]:
    table.write_parquet(folder / "rows.parquet")
    columns = {column: {"kind": "number", "unit": unit}, "other": {"kind": "number"}}
    roles = {"label": "failed", "client": "plant"}
    return {"data": {"path": str(folder / "rows.parquet"), **roles, "columns": columns}}


def units_found(values: dict[str, Any]) -> list[Finding]:
    return [finding for finding in check(read_table(check_config(values))) if finding.rule == "unit"]


@settings(deadline=None, derandomize=True, max_examples=25)
@given(seed=st.integers(0, 1000), pair=st.sampled_from(PAIRS), plants=st.integers(3, 4), place=st.integers(0, 2))
def test_the_plant_is_named_and_the_lines_convert_it(
    tmp_path_factory: Any, seed: int, pair: tuple[str, str, float, float, float, float], plants: int, place: int
) -> None:
    column, unit, middle, spread, scale, offset = pair
    table = rows(seed, column, middle, spread, plants)
    there = pl.col("plant") == PLANTS[place]
    spoiled = table.with_columns(pl.when(there).then(pl.col(column) * scale + offset).otherwise(pl.col(column)))
    values = config(tmp_path_factory.mktemp("unit"), spoiled, column, unit)
    (finding,) = units_found(values)
    assert (finding.column, finding.clients, finding.rows) == (column, (PLANTS[place],), ROWS)
    assert PLANTS[place] in finding.message
    mended = {"data": {**values["data"], **tomllib.loads(finding.lines)["data"]}}
    assert units_found(mended) == []
    after = read_table(check_config(mended)).frame[column].to_numpy()
    np.testing.assert_allclose(after, table[column].to_numpy(), rtol=2e-3)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 1000), st.integers(2, 4), st.floats(1.0, 2.5))
def test_plants_that_differ_as_plants_do_are_not_suspected(seed: int, plants: int, faster: float) -> None:
    rng = np.random.default_rng(seed)
    middles = np.array([50.0 * faster**share for share in rng.random(plants).tolist()])
    spreads = np.array([5.0 * faster**share for share in rng.random(plants).tolist()])
    assert suspicions("load", "", middles, spreads) == []
    assert suspicions("speed", "rpm", 30 * middles, 30 * spreads) == []


def test_of_two_plants_the_one_in_kelvin_is_named() -> None:
    for place in (0, 1):
        middles = np.array([60.0, 63.0])
        middles[place] += 273.15
        (found,) = suspicions("Temperatur_C", "", middles, np.array([8.0, 9.0]))
        assert (found.place, found.conversion.other) == (place, "K")


def test_clients_without_readings_or_spread_are_passed_over() -> None:
    middles = np.array([60.0, np.nan, 61.0, 59.0, 333.0])
    spreads = np.array([8.0, np.nan, 0.0, 7.0, 8.0])
    assert [each.place for each in suspicions("oil temp", "", middles, spreads)] == [4]
    assert suspicions("oil temp", "", middles[:2], spreads[:2]) == []


@pytest.mark.parametrize("unit", [*MISTAKEN, ""])
def test_every_conversion_is_the_one_that_readings_are_converted_by(unit: str) -> None:
    known = MISTAKEN[unit] if unit else [each for each in USUAL if each.other]
    for conversion in known:
        to = unit or conversion.to
        by_name = convert(pl.Series("x", [250.0, 400.0]), conversion.other, to).to_list()
        assert [conversion.apply(250.0), conversion.apply(400.0)] == pytest.approx(by_name, rel=1e-5)


def _told(table: pl.DataFrame, column: str, plants: int) -> tuple[Schema, dict[str, Any], Any]:
    """Return what the plants of a table tell for the common scaling, and nothing else."""
    schema = Schema("failed", (Column(column, "number"), Column("other", "number")))
    offsets = np.arange(plants + 1) * ROWS
    survey, _ = survey_each(table, schema, offsets)
    mean = survey["sum"].sum(axis=0) / survey["count"].sum(axis=0)
    return schema, dict(survey), squares_each(table, schema, mean, offsets)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    seed=st.integers(0, 1000), pair=st.sampled_from([each for each in PAIRS if not each[1]]), place=st.integers(0, 2)
)
def test_units_are_found_from_the_sums_that_plants_tell(
    seed: int, pair: tuple[str, str, float, float, float, float], place: int
) -> None:
    column, _, middle, spread, scale, offset = pair
    table = rows(seed, column, middle, spread, 3)
    assert doubts(*_by_name(_told(table, column, 3))) == []
    there = pl.col("plant") == PLANTS[place]
    spoiled = table.with_columns(pl.when(there).then(pl.col(column) * scale + offset).otherwise(pl.col(column)))
    (finding,) = doubts(*_by_name(_told(spoiled, column, 3)))
    assert (finding.column, finding.clients, finding.rows) == (column, (PLANTS[place],), ROWS)
    assert column in tomllib.loads(finding.lines)["columns"]


def _by_name(told: tuple[Schema, dict[str, Any], Any]) -> tuple[Schema, tuple[str, ...], dict[str, Any], Any]:
    schema, survey, squares = told
    return schema, PLANTS[: len(squares)], survey, squares


@pytest.mark.parametrize("value", [1e12, 1e30, -1e100])
def test_of_two_plants_the_one_with_a_far_reading_is_named_by_its_sums(value: float) -> None:
    table = rows(0, "load", 40.0, 6.0, 2)
    values = table["load"].to_numpy().copy()
    values[ROWS + 3] = value
    (finding,) = doubts(*_by_name(_told(table.with_columns(load=pl.Series(values)), "load", 2)))
    assert (finding.rule, finding.column, finding.clients) == ("far", "load", ("Linz",))
    assert "data.missing" in finding.message


def test_plants_that_withhold_their_sums_are_passed_over() -> None:
    schema, names, survey, squares = _by_name(_told(rows(0, "load", 40.0, 6.0, 3), "load", 3))
    for name in ("count", "sum"):
        survey[name][1] = 0
    squares[1] = 0.0
    assert doubts(schema, names, survey, squares) == []
