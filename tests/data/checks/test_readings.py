"""One bad reading is found with its plant, column and rows, and the lines that are proposed mend it."""

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
from werkbund.config.rows import ColumnMapping
from werkbund.core.arrays import Float64Array
from werkbund.data.ai4i import generated_table
from werkbund.data.checks import Finding, check
from werkbund.data.checks.lines import PlantLines
from werkbund.data.checks.readings import CODES, FAR
from werkbund.data.schema import Schema
from werkbund.data.table import Table
from werkbund.federation.tables import read_table

RULES = {"far", "sentinel", "stuck", "unit"}
NAMES = ("oil temp", "vibration", "flow")
PLANTS = ("Ulm", "Linz", "Graz")
ROWS = 240


def frame(seed: int = 0, plants: int = 3) -> pl.DataFrame:
    """Return readings of some plants, each with three machines, in order of time."""
    rng = np.random.default_rng(seed)
    rows = ROWS * plants
    level = np.repeat(rng.normal(0, 3, plants), ROWS)
    return pl.DataFrame(
        {
            "oil temp": np.round(60 + level + rng.normal(0, 5, rows), 1),
            "vibration": np.round(rng.lognormal(1, 0.5, rows), 2),
            "flow": 1200 + 20 * level + rng.normal(0, 90, rows),
            "plant": np.repeat(PLANTS[:plants], ROWS),
            "machine": np.arange(rows) // (ROWS // 3),
            "hour": np.arange(rows) % ROWS,
            "failed": (rng.random(rows) < 0.1).astype(int),
        }
    )


def config(folder: Path, rows: pl.DataFrame, **data: Any) -> dict[str, Any]:
    rows.write_parquet(folder / "rows.parquet")
    roles = {"label": "failed", "client": "plant", "machine": "machine", "time": "hour"}
    return {"data": {"path": str(folder / "rows.parquet"), **roles, **data}}


def found(values: dict[str, Any]) -> list[Finding]:
    return [finding for finding in check(read_table(check_config(values))) if finding.rule in RULES]


def mended(values: dict[str, Any], finding: Finding) -> dict[str, Any]:
    """Return the configuration with the proposed lines."""
    return {"data": {**values["data"], **tomllib.loads(finding.lines)["data"]}}


def spoiled(rows: pl.DataFrame, column: str, places: list[int], value: float) -> pl.DataFrame:
    values = rows[column].to_numpy().copy()
    values[places] = value
    return rows.with_columns(pl.Series(column, values))


@settings(deadline=None, derandomize=True, max_examples=20)
@given(seed=st.integers(0, 10_000), plants=st.integers(1, 3))
def test_ordinary_readings_raise_no_alarm(seed: int, plants: int) -> None:
    table = Table(frame(seed, plants), *_meaning())
    assert [finding for finding in check(table) if finding.rule in RULES] == []


def _meaning() -> tuple[Schema, Any]:
    table = generated_table(rows=100, plants=2, seed=0)
    features = tuple(type(table.schema.features[0])(name, "number") for name in NAMES)
    return Schema("failed", features, client="plant", machine="machine", time="hour"), table.origin


@pytest.mark.parametrize("plants", [1, 4, 10])
def test_generated_rows_raise_no_alarm(plants: int) -> None:
    findings = check(generated_table(rows=4000, plants=plants, seed=1))
    assert [finding for finding in findings if finding.rule in RULES] == []


@settings(deadline=None, derandomize=True, max_examples=20)
@given(
    seed=st.integers(0, 1000),
    column=st.sampled_from(NAMES),
    value=st.sampled_from([1e30, -1e30, 1e300, 1e20, -1e10, 3.4028234663852886e38]),
    places=st.lists(st.integers(0, 3 * ROWS - 1), min_size=1, max_size=4, unique=True),
)
def test_far_readings_are_found_and_the_lines_mend_them(
    tmp_path_factory: Any, seed: int, column: str, value: float, places: list[int]
) -> None:
    values = config(tmp_path_factory.mktemp("far"), spoiled(frame(seed), column, places, value))
    (finding,) = found(values)
    assert (finding.rule, finding.column, finding.rows) == ("far", column, len(places))
    assert set(finding.clients) == {PLANTS[place // ROWS] for place in places}
    assert all(name in finding.message for name in finding.clients)
    assert finding.level == ("error" if abs(value) > 1e140 else "warning")
    assert found(mended(values, finding)) == []


def test_many_different_far_readings_get_a_bound(tmp_path: Path) -> None:
    rows = frame()
    for place in range(8):
        rows = spoiled(rows, "flow", [place], -(10.0 ** (12 + place)))
    values = config(tmp_path, rows)
    (finding,) = found(values)
    assert '["< ' in finding.lines
    assert found(mended(values, finding)) == []


@given(st.integers(0, 100))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_readings_that_span_decades_by_themselves_are_not_far(seed: int) -> None:
    currents = np.exp(np.random.default_rng(seed).normal(0, 6, 3 * ROWS))
    table = Table(frame(seed).with_columns(flow=pl.Series(currents)), *_meaning())
    assert [finding for finding in check(table) if finding.rule in RULES] == []


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    seed=st.integers(0, 1000),
    column=st.sampled_from(NAMES),
    code=st.sampled_from([-999.0, -9999.0, 9999.0, 65535.0, -32768.0, 32767.0, 99999.0, -99999.0]),
    places=st.lists(st.integers(0, 3 * ROWS - 1), min_size=1, max_size=30, unique=True),
)
def test_codes_are_found_and_the_lines_mend_them(
    tmp_path_factory: Any, seed: int, column: str, code: float, places: list[int]
) -> None:
    values = config(tmp_path_factory.mktemp("code"), spoiled(frame(seed), column, places, code))
    (finding,) = [finding for finding in found(values) if finding.rule == "sentinel"]
    assert (finding.column, finding.rows) == (column, len(places))
    assert set(finding.clients) == {PLANTS[place // ROWS] for place in places}
    after = read_table(check_config(mended(values, finding)))
    assert [finding for finding in check(after) if finding.rule in RULES] == []


@pytest.mark.parametrize("code", [999.0, 9999.0, 65535.0, 32767.0])
def test_a_number_amid_all_others_is_no_code(code: float) -> None:
    wide: Float64Array = np.random.default_rng(0).uniform(0, 1.2 * code, 3 * ROWS).round(1)
    wide[5] = code
    table = Table(frame().with_columns(flow=pl.Series(wide)), *_meaning())
    assert code in CODES
    assert [finding for finding in check(table) if finding.rule in RULES] == []


@settings(deadline=None, derandomize=True, max_examples=20)
@given(
    seed=st.integers(0, 1000),
    column=st.sampled_from(NAMES),
    machine=st.integers(0, 8),
    start=st.integers(0, 30),
    length=st.integers(25, 80),
)
def test_a_reading_that_stands_still_is_found_and_the_lines_mend_it(
    tmp_path_factory: Any, seed: int, column: str, machine: int, start: int, length: int
) -> None:
    rows = frame(seed)
    own = np.arange(machine * 80 + start, min(machine * 80 + start + length, (machine + 1) * 80)).tolist()
    stuck = spoiled(rows, column, own, float(rows[column][own[0]]))
    shuffled = stuck.sample(fraction=1.0, shuffle=True, seed=seed)  # the time column tells the order
    values = config(tmp_path_factory.mktemp("stuck"), shuffled)
    (finding,) = found(values)
    assert (finding.rule, finding.column, finding.clients) == ("stuck", column, (PLANTS[machine // 3],))
    assert len(own) <= finding.rows <= len(own) + 2
    assert f"of machine {machine}" in finding.message
    assert found(mended(values, finding)) == []


def test_a_machine_that_is_off_every_night_is_not_stuck() -> None:
    night = pl.col("hour") % 24 < 9
    rows = frame().with_columns(pl.when(night).then(0.0).otherwise(pl.col(name)).alias(name) for name in NAMES[1:])
    assert [finding for finding in check(Table(rows, *_meaning())) if finding.rule in RULES] == []


def test_a_counter_that_stands_still_is_not_stuck() -> None:
    hours = np.concatenate([np.maximum(np.arange(ROWS), 60) for _ in PLANTS]).astype(float)
    rows = frame().with_columns(flow=pl.Series(hours), machine=pl.col("plant"))
    assert [finding for finding in check(Table(rows, *_meaning())) if finding.rule in RULES] == []


def test_a_setting_that_changes_from_batch_to_batch_is_not_stuck() -> None:
    rng = np.random.default_rng(3)
    steps = np.repeat(rng.choice([100.0, 120.0, 140.0], 3 * ROWS), rng.integers(5, 60, 3 * ROWS))[: 3 * ROWS]
    rows = frame().with_columns(flow=pl.Series(steps))
    assert [finding for finding in check(Table(rows, *_meaning())) if finding.rule in RULES] == []


@pytest.mark.parametrize(("value", "rule"), [(-999.0, "sentinel"), (2 * FAR**2, "far")])
def test_a_plant_is_told_what_to_write_in_its_own_file(value: float, rule: str) -> None:
    schema, origin = _meaning()
    table = Table(spoiled(frame(), "flow", [7, 8], value), schema, origin)
    (finding,) = [finding for finding in check(table, PlantLines()) if finding.rule in RULES]
    assert finding.rule == rule
    entry = tomllib.loads(finding.lines)["columns"]["flow"]
    assert ColumnMapping.model_validate(entry).missing == [value]
