"""A look at new rows alarms where a sensor or the climate has moved, and hardly ever where nothing has."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.cli.test_commands import werkbund
from werkbund.core.errors import DataError, ModelError
from werkbund.data import AI4I_SCHEMA, Preparation, rules, squares, survey
from werkbund.data.generator import Plants, draw_plants, simulate
from werkbund.federation import Run
from werkbund.inference import Scorer, look
from werkbund.learner import ModelSpec, build_network, layout_of
from werkbund.model import TrainedModel
from werkbund.model.reference import BinnedColumn, ModelReference, memory

PLANTS = draw_plants(3, np.random.default_rng(7))
ROWS, LOOKS = 1500, 100


@pytest.fixture(scope="module")
def watched() -> tuple[Scorer, ModelReference]:
    """Return a model with random weights on rows of three plants, and what these looked like."""
    frame = simulate(PLANTS, rows=6000, seed=100)
    counted = survey(frame, AI4I_SCHEMA)
    learnt = Preparation.fit(AI4I_SCHEMA, counted, squares(frame, AI4I_SCHEMA, counted.mean))
    network = build_network(ModelSpec("logistic"), learnt.num_features, seed=1)
    weights = np.random.default_rng(2).normal(0, 0.5, layout_of(network).num_parameters).astype(np.float32)
    model = TrainedModel.of(network, ModelSpec("logistic"), weights, learnt, 0.3, AI4I_SCHEMA.label)
    return Scorer.of(model), ModelReference.of(model, frame, simulate(PLANTS, rows=2000, seed=101))


def _alarms(watched: tuple[Scorer, ModelReference], plants: Plants, looks: int, rows: int = ROWS) -> list[set[str]]:
    found = (look(*watched, simulate(plants, rows=rows, seed=1000 + seed)) for seed in range(looks))
    return [{moved.column for moved in each.alarms} for each in found]


def test_undisturbed_rows_give_alarms_as_rarely_as_is_promised(watched: tuple[Scorer, ModelReference]) -> None:
    """5 of 100 are promised; with a true rate of 5 % more than 10 have a chance of 1 %."""
    alarms = _alarms(watched, PLANTS, LOOKS)
    assert sum(bool(each) for each in alarms) <= 10


def test_a_torque_sensor_that_reads_a_tenth_too_much_is_found_within_500_rows(
    watched: tuple[Scorer, ModelReference],
) -> None:
    wrong = replace(PLANTS, torque_gain=PLANTS.torque_gain * 1.1)
    assert all(rules.TORQUE in each for each in _alarms(watched, wrong, 10, rows=500))


def test_a_climate_that_is_6_kelvin_hotter_is_found_within_1500_rows(watched: tuple[Scorer, ModelReference]) -> None:
    hotter = replace(PLANTS, air_mean=PLANTS.air_mean + 6.0)
    assert all(rules.AIR in each for each in _alarms(watched, hotter, 10))


def test_it_says_what_moved_by_how_much_and_since_when(watched: tuple[Scorer, ModelReference]) -> None:
    wrong = replace(PLANTS, torque_gain=PLANTS.torque_gain * 1.3)
    before, after = (simulate(plants, rows=1000, seed=5) for plants in (PLANTS, wrong))
    found = look(*watched, pl.concat([before, after]))
    torque = next(moved for moved in found.alarms if moved.column == rules.TORQUE)
    assert 850 <= torque.since <= 1150
    assert torque.mean == pytest.approx(pl.concat([before, after])[rules.TORQUE].mean())
    assert torque.text.startswith("Torque is 4")
    assert "Nm on average (usual 4" in torque.text
    assert "retrain" in found.advice
    assert found.moved[0].chance <= found.moved[-1].chance


def test_too_few_rows_are_refused(watched: tuple[Scorer, ModelReference]) -> None:
    with pytest.raises(DataError, match="at least 100 rows"):
        look(*watched, simulate(PLANTS, rows=99, seed=1))


@pytest.mark.parametrize(
    ("make", "least", "most"),
    [
        (lambda rng: rng.normal(size=8192), 1.0, 3.0),
        (lambda rng: np.repeat(rng.normal(size=512), 16), 12.0, 24.0),
        (lambda rng: np.cumsum(rng.normal(size=8192)), 400.0, 4096.0),
    ],
)
def test_memory_is_the_length_over_which_rows_say_the_same(
    make: Callable[[np.random.Generator], np.ndarray], least: float, most: float
) -> None:
    assert least <= memory(make(np.random.default_rng(3))) <= most


def test_histograms_count_every_reading_once_and_standardise_it() -> None:
    values = np.concatenate((np.random.default_rng(0).normal(5, 2, 5000), [np.nan, 1e9, -1e9]))
    column = BinnedColumn.of(values, 5 + 2 * np.arange(-8.0, 8.25, 0.25))
    assert column.rows == 5002
    scores = column.scores(values[:5000])
    assert abs(scores.mean()) < 0.05
    assert 0.9 < scores.std() < 1.1


def test_a_reference_is_written_and_read_whole(watched: tuple[Scorer, ModelReference], tmp_path: Path) -> None:
    reference = watched[1]
    reference.write(tmp_path)
    read = ModelReference.read(tmp_path)
    assert json.dumps([column.to_json() for column in read.columns.values()]) == json.dumps(
        [column.to_json() for column in reference.columns.values()]
    )
    (tmp_path / "reference.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be read"):
        ModelReference.read(tmp_path)
    with pytest.raises(ModelError, match="must be there"):
        ModelReference.read(tmp_path / "elsewhere")


@pytest.mark.parametrize("done", ["trees"], indirect=True)
def test_the_command_tells_people_and_programs_and_ends_with_1_on_drift(done: Run, tmp_path: Path) -> None:
    frame = simulate(PLANTS, rows=900, seed=5)
    frame.with_columns(pl.col(rules.TORQUE) * 1.25).write_csv(tmp_path / "new.csv")
    finished = werkbund("watch", done.folder, "new.csv", folder=tmp_path)
    assert finished.returncode == 1, finished.stderr
    assert "Torque is 5" in finished.stdout
    assert "check the sensor first" in finished.stdout
    told = json.loads(werkbund("watch", done.folder / "model.onnx", "new.csv", "--json", folder=tmp_path).stdout)
    assert told["drift"] is True
    assert rules.TORQUE in {column["column"] for column in told["columns"] if column["is_alarm"]}
