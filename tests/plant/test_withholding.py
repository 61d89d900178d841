from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from werkbund.config import check_config
from werkbund.core.edges import NUM_BINS
from werkbund.core.kinds import Kind
from werkbund.core.store import RowStore
from werkbund.core.types import Replies, Tasks
from werkbund.data import Column, Origin, Schema, Table
from werkbund.data.answers import SQUARES, SURVEY
from werkbund.engine import InProcessGrid, Worker
from werkbund.engine.kinds import EVALUATE, TRAIN
from werkbund.federation.preparing import StatisticsWork, learn_preparation
from werkbund.partition.split import split_rows
from werkbund.plant.briefing import Briefing
from werkbund.plant.leaving import DELIVER, HELLO
from werkbund.plant.parts import Parts
from werkbund.plant.policy import Policy
from werkbund.plant.withholding import few_counts, few_figures, few_squares, few_values, levels_of

SCHEMA = Schema("failed", (Column("heat", "number"), Column("load", "number"), Column("area", "category")))
ROWS = 200
ASKED = Tasks(HELLO, 0, np.array([0]))


@pytest.fixture(scope="module")
def parts() -> Parts:
    """Return a plant of 200 rows, of which few have a heat, and few are in one of its areas."""
    rng = np.random.default_rng(0)
    heat = [float(value) if row < 40 else None for row, value in enumerate(rng.random(ROWS))]
    area = ["rare" if row % 40 == 0 else "hall" if row % 2 else "yard" for row in range(ROWS)]
    failed = [int(row % 10 == 0) for row in range(ROWS)]
    frame = pl.DataFrame({"failed": failed, "heat": heat, "load": rng.random(ROWS), "area": area})
    config = check_config({"model": {"kind": "logistic"}, "training": {"batched": False, "compiled": False}})
    part = split_rows(np.zeros(ROWS, np.int64), 0.25, 0.15, np.random.default_rng(0))
    bare = Parts("Hof", Briefing("run", config, 0), Table(frame, SCHEMA, Origin("file")), part)
    work = Worker(StatisticsWork(bare.population.splits["train"], SCHEMA).handlers())
    learnt = learn_preparation(InProcessGrid(("Hof",), work), SCHEMA, 5.0)
    return Parts("Hof", Briefing("run", config, 0, (), None, learnt.preparation, (108, 12)), bare.table, part)


def _survey(parts: Parts) -> Replies:
    return parts.statistics[SURVEY](Tasks(SURVEY, 0, np.zeros(1, np.int64)), RowStore())


def test_levels_are_counted_over_training_rows(parts: Parts) -> None:
    levels = levels_of(parts)
    assert set(levels) == {"area"}
    assert sum(levels["area"].values()) == parts.num_training_rows
    assert 0 < levels["area"]["rare"] < 10


@pytest.mark.parametrize("minimum", [1, 10, 50, 100])
def test_a_survey_says_nothing_about_columns_and_levels_of_few_rows(minimum: int, parts: Parts) -> None:
    told, whole = few_values(ASKED, _survey(parts), Policy(minimum_rows=minimum), parts), _survey(parts)
    vocabulary = json.loads(str(told.clear["vocabulary"][0]))
    enough = {level for level, rows in levels_of(parts)["area"].items() if rows >= minimum}
    assert set(vocabulary["area"]) == enough
    count = whole.sums["count"][0]
    for name in ("count", "sum"):
        assert (told.sums[name][0] != 0).tolist() == (count >= minimum).tolist()
    assert (told.sums["count"] + told.sums["missing"] == parts.num_training_rows).all()
    assert told.clear["rows"].tolist() == [parts.num_training_rows]


def test_a_survey_with_nothing_to_withhold_is_left_as_it_is(parts: Parts) -> None:
    told, whole = few_values(ASKED, _survey(parts), Policy(minimum_rows=1), parts), _survey(parts)
    for name, array in whole.sums.items():
        np.testing.assert_array_equal(told.sums[name], array)
    assert json.loads(str(told.clear["vocabulary"][0])) == json.loads(str(whole.clear["vocabulary"][0]))


def test_squares_of_a_column_with_few_values_are_withheld(parts: Parts) -> None:
    replies = Replies(SQUARES, 0, np.array([0]), {"squares": np.array([[3.0, 4.0]])})
    assert few_squares(ASKED, replies, Policy(minimum_rows=50), parts).sums["squares"].tolist() == [[0.0, 4.0]]
    assert few_squares(ASKED, replies, Policy(minimum_rows=1), parts).sums["squares"].tolist() == [[3.0, 4.0]]


def _counts(rows: int, failures: int) -> dict[str, Any]:
    histogram = np.zeros((2, NUM_BINS), np.int64)
    histogram[:, 0] = rows - failures, failures
    modes = np.zeros((2, NUM_BINS), np.int64)
    modes[:, 0] = failures, 1
    return {"test.histogram": histogram, "test.modes": modes, "test.brier": np.array(1.0)}


@pytest.mark.parametrize("each", [True, False])
@pytest.mark.parametrize("kind", [TRAIN, EVALUATE])
@pytest.mark.parametrize(
    ("rows", "failures", "told"), [(30, 5, True), (19, 5, False), (30, 2, False), (20, 3, True), (0, 0, False)]
)
def test_a_split_of_few_rows_or_failures_says_nothing(
    rows: int, failures: int, told: bool, kind: Kind, each: bool, parts: Parts
) -> None:
    counts = _counts(rows, failures)
    sums: dict[str, Any] = {"update": np.ones((1, 3))} if kind == TRAIN else {}
    sums |= {name: array[None] for name, array in counts.items()} if each else {}
    replies = Replies(kind, 1, np.array([0]), sums, {}, "layout", {} if each else counts)
    found = few_counts(ASKED, replies, Policy(minimum_rows=20, minimum_failures=3), parts)
    assert found.pooled == {}
    assert ("update" in found.sums) is (kind == TRAIN)
    assert ("test.histogram" in found.sums) is ("test.brier" in found.sums) is told
    if told:
        assert found.sums["test.histogram"].shape == (1, 2, NUM_BINS)
        assert found.sums["test.modes"][0].sum(axis=-1).tolist() == [failures, 0]


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (Policy(minimum_rows=1), True),
        (Policy(minimum_rows=150), False),
        (Policy(minimum_rows=1, minimum_failures=100), False),
        (Policy(signals=frozenset({"counts"}), minimum_rows=1), False),
    ],
)
def test_figures_and_the_reason_that_quotes_them_go_together(policy: Policy, told: bool, parts: Parts) -> None:
    reason = "brier 0.1000 against 0.2000 of the model in use"
    clear = {
        "accepted": np.array([json.dumps({"accepted": False, "reason": reason})]),
        "figures": np.array(['{"offered": {"brier": 0.1}}']),
    }
    found = few_figures(ASKED, Replies(DELIVER, 1, np.array([0]), {}, clear), policy, parts)
    verdict = json.loads(str(found.clear["accepted"][0]))
    assert verdict["accepted"] is False
    assert (verdict["reason"] == reason) is told
    assert ("figures" in found.clear) is told
    assert told or "0." not in str(found.clear)


def test_what_a_plant_says_about_itself_passes(parts: Parts, tmp_path: Path) -> None:
    replies = Replies(HELLO, 0, np.array([0]), {}, {"facts": np.array(["{}"])})
    assert few_counts(ASKED, replies, Policy(), parts).clear["facts"].tolist() == ["{}"]
