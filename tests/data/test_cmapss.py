"""C-MAPSS: known by its form, engines dealt to airlines, official test engines that judge and teach nobody."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.errors import DataError
from werkbund.core.target import NumberTarget
from werkbund.data.cmapss import AIRLINE, CYCLE, LEFT, PART, UNIT, cmapss_table, is_cmapss
from werkbund.federation.job import run
from werkbund.federation.population import divide

LIVES = (40, 50, 60, 45, 55, 65)
STOPS, LEFT_CYCLES = (30, 25), (12, 140)


def _lines(lives: tuple[int, ...], ends: tuple[int, ...], seed: int) -> str:
    """Return engines that run for `lives` cycles of which `ends` were there to come; two sensors wear, one is fixed."""
    rng, lines = np.random.default_rng(seed), []
    for engine, (life, end) in enumerate(zip(lives, ends, strict=True), start=1):
        for cycle in range(1, life + 1):
            wear = (cycle / end) ** 2
            sensors = [500.0, *(100 + wear + rng.normal(0, 0.1, 20)).tolist()]
            settings = rng.normal(0, 1e-4, 2).tolist()
            lines.append(" ".join(f"{value:.4f}" for value in (engine, cycle, *settings, 100.0, *sensors)) + "  ")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cmapss")
    (folder / "train_FD009.txt").write_text(_lines(LIVES, LIVES, 1))
    ends = tuple(stop + left for stop, left in zip(STOPS, LEFT_CYCLES, strict=True))
    (folder / "test_FD009.txt.gz").write_bytes(gzip.compress(_lines(STOPS, ends, 2).encode()))
    (folder / "RUL_FD009.txt").write_text("\n".join(map(str, LEFT_CYCLES)) + "\n")
    return folder / "train_FD009.txt"


def test_it_is_known_by_its_form_and_other_tables_are_not(train: Path, tmp_path: Path) -> None:
    assert is_cmapss(train)
    others = {"a.csv": "1 1 2\n", "b.txt": "unit cycle\n1 1\n", "c.txt": "", "d.txt": " ".join(["2"] * 26), "e.gz": "x"}
    for name, content in others.items():
        (tmp_path / name).write_text(content)
        assert not is_cmapss(tmp_path / name)
    assert not is_cmapss(tmp_path)


def test_rows_are_of_whole_lives_and_of_the_last_cycle_of_each_test_engine(train: Path) -> None:
    frame = cmapss_table(train, 3, 0).frame
    lives = frame.filter(pl.col(PART) == "train")
    assert lives.height == sum(LIVES)
    assert lives.group_by(UNIT).agg(pl.col(LEFT).min(), pl.col(CYCLE).max()).sort(UNIT)[LEFT].to_list() == [0.0] * 6
    judged = frame.filter(pl.col(PART) == "test").sort(UNIT)
    assert judged[CYCLE].to_list() == [float(stop) for stop in STOPS]
    assert judged[LEFT].to_list() == [float(left) for left in LEFT_CYCLES]
    assert lives[AIRLINE].n_unique() == 3
    assert (lives.group_by(UNIT).agg(pl.col(AIRLINE).n_unique())[AIRLINE] == 1).all()


def test_a_sensor_that_never_changes_is_left_out_and_slight_noise_makes_no_new_condition(train: Path) -> None:
    table = cmapss_table(train, 3, 0)
    names = [column.name for column in table.schema.features]
    assert len(names) == 20 * 3 + 1
    assert not any(name.startswith("T2 ") for name in names)
    engine = table.frame.filter(pl.col(UNIT) == "train 0003").sort(CYCLE)
    rows = np.array([line.split() for line in train.read_text().splitlines()], np.float64)
    sensor = rows[rows[:, 0] == 3, 6]
    mean = sensor[30:60].mean()
    assert engine["T24 mean 30"][-1] == pytest.approx(mean, abs=1e-9)
    assert engine["T24 deviation 30"][-1] == pytest.approx(mean - sensor[:20].mean(), abs=1e-9)


def test_test_engines_judge_and_nobody_learns_from_them(train: Path) -> None:
    config = changed(Config(), data={"path": str(train)}, clients={"count": 3})
    table = cmapss_table(train, 3, 0)
    population = divide(table, config).population
    parts = {split: rows.frame[rows.rows][PART].unique().to_list() for split, rows in population.splits.items()}
    assert (parts["train"], parts["validation"], parts["test"]) == (["train"], ["train"], ["test"])
    assert isinstance(population.schema.target, NumberTarget)
    assert len(population.splits["test"].rows) == len(STOPS)


def test_damaged_files_are_refused_by_name(train: Path, tmp_path: Path) -> None:
    copy = tmp_path / train.name
    copy.write_text(train.read_text() + "1 2 3\n")
    with pytest.raises(DataError, match="must have 26 numbers in each line"):
        cmapss_table(copy, 3, 0)
    copy.write_text(train.read_text())
    (tmp_path / "test_FD009.txt").write_text(_lines(STOPS, STOPS, 2))
    (tmp_path / "RUL_FD009.txt").write_text("1\n2\n3\n")
    with pytest.raises(DataError, match="cycles left of 2 engines, got 3"):
        cmapss_table(copy, 3, 0)


REAL = Path(os.environ.get("WERKBUND_DATA", Path(__file__).parents[3] / "shared" / "data")) / "cmapss"


@pytest.mark.skipif(not REAL.is_dir(), reason="C-MAPSS is not here")
def test_federated_trees_foretell_the_lives_of_the_official_engines(tmp_path: Path) -> None:
    grown = {"learning_rate": 0.3, "max_leaves": 8, "min_child_rows": 20, "node_features": 0.3}
    config = changed(
        Config(),
        data={"path": str(REAL / "train_FD001.txt.gz")},
        model={"kind": "trees"},
        trees=grown,
        federation={"rounds": 40},
        clients={"validation": 0.05, "later": 0.0},
        evaluation={"metric": "rmse"},
    )
    done = run(config, out=tmp_path / "run", compare=False)
    figures = json.loads((done.folder / "result.json").read_text())["metrics"]["federated"]
    assert figures["rows"] == 100
    assert figures["rmse"] < 12.5  # ten airlines alone reach 18.5 on average, published federated models 17.0
    assert figures["nasa_score"] < 350.0
