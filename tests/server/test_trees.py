"""Trees of plants that are elsewhere are those of one process; what of them leaves is what a plant allows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.deployed import Deployment, DirectGrid
from tests.wire import announced, declared, read_answer
from werkbund.config.reading import changed
from werkbund.core.errors import ConfigError, QuorumError
from werkbund.core.types import Tasks
from werkbund.federation import Run, run
from werkbund.federation.asking import tree_asks
from werkbund.model import load_model
from werkbund.model.trees import TreeModel
from werkbund.plant.leaving import asked_anyway
from werkbund.plant.settings import SIGNAL_NAMES
from werkbund.server.preflight import EVERYBODY, Check
from werkbund.trees.protocol.kinds import TREE_BAG, TREE_KINDS, TREE_LEVEL

ALL = {"signals": list(SIGNAL_NAMES)}
NAMES = ("plant-1", "plant-2", "plant-3")
WAYS: dict[str, dict[str, Any]] = {
    "boosting": {"model": {"kind": "trees"}, "trees": {"max_depth": 3}},
    "forest": {"model": {"kind": "forest"}, "trees": {"count": 4, "together": 2, "max_depth": 4}},
    "bagging": {"model": {"kind": "trees"}, "trees": {"max_depth": 3, "combine": "bagging"}},
}


def _trees(deployed: Any, way: str = "boosting", **policies: dict[str, Any]) -> Deployment:
    sections = {name: dict(keys) for name, keys in WAYS[way].items()}
    sections["model"]["hidden"] = None
    found: Deployment = deployed(
        {name: {**ALL, **policies.get(name.replace("-", "_"), {})} for name in NAMES}, **sections
    )
    return found


def _ensemble(folder: Path) -> str:
    model = load_model(folder / "model")
    assert isinstance(model, TreeModel)
    return model.ensemble.digest


def _failures(folder: Path) -> dict[int, list[str]]:
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    return {line["round"]: [one["reason"] for one in line["failures"]] for line in lines}


@pytest.mark.parametrize("way", WAYS)
def test_the_trees_of_plants_are_those_of_one_process_and_reach_every_plant(way: str, deployed: Any) -> None:
    deployment = _trees(deployed, way)
    there = deployment.run()
    here = run(deployment.config, out=deployment.folder / "local", compare=True)
    assert _ensemble(there.folder) == _ensemble(here.folder)
    assert there.summary["metrics"]["federated"] == here.summary["metrics"]["federated"]
    assert (there.folder / "model.onnx").read_bytes() == (here.folder / "model.onnx").read_bytes()
    assert (there.folder / "report.html").stat().st_size > 1000
    lines = [json.loads((one.folder / "result.json").read_text())["per_client"] for one in (there, here)]
    alone = [[line["local"]["average_precision"] for line in one] for one in lines]
    same = pytest.approx(alone[1], abs=1e-12)  # one counts everybody's rows, on edges for all of them
    assert alone[0] == same, "what a plant compares with is what it grows by itself"
    for name in NAMES:
        taken = there.summary["delivered"][name]["accepted"]
        kept = deployment.store(name).path / "models" / "1"
        assert taken is not None
        assert (_ensemble(kept) == _ensemble(there.folder)) is taken  # who refuses it keeps what it grew by itself
        assert ((kept / "model.onnx").read_bytes() == (there.folder / "model.onnx").read_bytes()) is taken


class Gone(DirectGrid):
    """Let the server die when it asks a question of some round for the so many-th time."""

    round, number, seen = 2, 2, 0

    def send(self, tasks: Tasks) -> None:
        self.seen += tasks.kind in (TREE_LEVEL, TREE_BAG) and tasks.round == self.round
        if self.seen == self.number:
            raise KeyboardInterrupt
        super().send(tasks)


@pytest.mark.parametrize("way", ["boosting", "forest"])
def test_a_run_that_is_gone_on_with_grows_the_same_trees_without_agreeing_again(way: str, deployed: Any) -> None:
    deployment = _trees(deployed, way)
    right = deployment.run(name="whole")
    with pytest.raises(KeyboardInterrupt):
        deployment.run(Gone({name: deployment.desk(name).answer for name in NAMES}))
    grid = deployment.grid()
    done = deployment.resume(grid)
    assert _ensemble(done.folder) == _ensemble(right.folder)
    assert not {ask.tasks.kind for ask in grid.asked} & {"survey", "tree-cells", "tree-survey"}


def test_a_plant_that_leaves_in_the_middle_of_a_tree_is_not_in_it_and_comes_back(deployed: Any) -> None:
    class Away(DirectGrid):
        seen = 0

        def send(self, tasks: Tasks) -> None:
            if tasks.kind == TREE_LEVEL and tasks.round == 2:
                self.seen += 1
            self.offline = {"plant-2"} if self.seen == 2 else set()
            super().send(tasks)

    deployment = _trees(deployed)
    done = deployment.run(Away({name: deployment.desk(name).answer for name in NAMES}))
    assert _failures(done.folder) == {1: [], 2: ["is offline"], 3: [], 4: []}
    assert done.summary["rounds"] == 3


def _run_with_one_remark(deployment: Deployment, grid: DirectGrid) -> tuple[Run, Check]:
    """Return a run, and the one thing that did not fit before it."""
    shown: list[Any] = []
    done = deployment.run(grid, seen=shown.append)
    (check,) = [one for one in shown[0].checks if one.level != "ok" and one.client != EVERYBODY]
    return done, check


def test_a_plant_that_does_not_allow_trees_is_told_before_anything_is_asked_of_it(deployed: Any) -> None:
    usual = [signal for signal in SIGNAL_NAMES if signal != "trees"]
    deployment = _trees(deployed, plant_2={"signals": usual})
    grid = deployment.grid()
    done, check = _run_with_one_remark(deployment, grid)
    assert (check.client, check.level) == ("plant-2", "error")
    assert check.what == "does not tell trees, by its policy"
    assert 'adds "trees" to policy.signals' in check.remedy
    refused = [reason for reasons in _failures(done.folder).values() for reason in reasons]
    assert refused
    assert all('policy.signals does not hold "trees"' in reason for reason in refused)
    answers = [read_answer(parcel) for ask, parcel in grid.answered if ask.name == "plant-2"]
    assert not [one for one in answers if one.replies is not None and one.replies.kind in TREE_KINDS]


def test_what_does_not_fit_trees_is_refused_before_anybody_is_asked(deployed: Any) -> None:
    deployment = deployed(model={"kind": "trees", "hidden": None}, strategy={"selection": {"name": "oort"}})
    grid = deployment.grid()
    with pytest.raises(ConfigError, match=r"strategy\.selection\.name must be all or uniform"):
        deployment.run(grid)
    assert grid.asked == []


def test_if_nobody_allows_trees_the_run_ends_with_what_to_do(deployed: Any) -> None:
    deployment = deployed(None, model={"kind": "trees", "hidden": None})
    with pytest.raises(QuorumError, match=re.escape("does not tell trees, by its policy")):
        deployment.run()


def test_of_too_few_failures_no_cells_leave(deployed: Any) -> None:
    deployment = _trees(deployed, plant_3={"minimum_failures": 10_000})
    done = deployment.run()
    reasons = {reason for reasons in _failures(done.folder).values() for reason in reasons}
    assert any("policy.minimum_failures is 10000" in reason for reason in reasons)
    absent = json.loads((done.folder / "run.json").read_text())["absent"]
    assert list(absent) == ["plant-3"]


@pytest.mark.parametrize("way", WAYS)
def test_what_leaves_is_what_is_announced(way: str, deployed: Any) -> None:
    deployment = _trees(deployed, way)
    grid = deployment.grid()
    deployment.run(grid)
    asks = tree_asks("bagging" if way == "bagging" else "exact")
    told = announced(SIGNAL_NAMES, asked_anyway(asks))
    left = set()
    for _, parcel in grid.answered:
        replies = read_answer(parcel).replies
        assert replies is not None
        left |= {declared(replies.kind, "sums", name) for name in (*replies.sums, *replies.pooled)}
        left |= {declared(replies.kind, "clear", name) for name in replies.clear}
    assert left <= told
    assert {one for one in told - left if one[2] != "behind"} == set()


@pytest.mark.parametrize("least", [4, 40])
def test_cells_and_leaves_of_fewer_rows_than_a_plant_allows_stay_there(least: int, deployed: Any) -> None:
    deployment = _trees(deployed, plant_1={"minimum_cell_rows": least})
    grid = deployment.grid()
    done, check = _run_with_one_remark(deployment, grid)
    assert (check.client, check.level) == ("plant-1", "warning")
    assert f"withholds cells and leaves of fewer than {least} rows" in check.what
    told = {name: _cells(grid, name) for name in NAMES}
    assert told["plant-1"].min() >= least
    assert min(told["plant-2"].min(), told["plant-3"].min()) < least
    here = run(deployment.config, out=deployment.folder / "local", compare=False)
    assert _ensemble(done.folder) != _ensemble(here.folder)
    (limit,) = done.summary["limits"]
    assert f"fewer than {least} rows of a client" in limit
    assert here.summary["limits"] == []
    assert _ensemble(deployment.resume().folder) == _ensemble(done.folder), "it is known to whoever goes on with it"


def _cells(grid: DirectGrid, name: str) -> Any:
    """Return the rows of all cells that a plant told of, but for empty ones."""
    rows = []
    for ask, parcel in grid.answered:
        replies = read_answer(parcel).replies
        assert replies is not None
        if ask.name == name and "histograms" in replies.sums:
            rows.append(replies.sums["histograms"][0][:, 2].ravel())
        if ask.name == name and "cells" in replies.sums:
            rows.append(replies.sums["cells"].ravel())
    told = np.concatenate(rows)
    return told[told > 0]


def test_in_bagging_no_leaf_is_of_fewer_rows_than_a_plant_allows(deployed: Any) -> None:
    deployment = _trees(deployed, "bagging", plant_1={"minimum_cell_rows": 60})
    grid = deployment.grid()
    deployment.run(grid)
    nodes = dict.fromkeys(NAMES, 0)
    for ask, parcel in grid.answered:
        replies = read_answer(parcel).replies
        assert replies is not None
        if replies.kind == TREE_BAG and "rows" in replies.clear:
            nodes[ask.name] += int(replies.clear["bag.left.length"][0])
    assert nodes["plant-1"] < min(nodes["plant-2"], nodes["plant-3"])


def test_a_day_of_so_many_rounds_is_counted_by_rounds_and_not_by_questions(deployed: Any) -> None:
    deployment = _trees(deployed, plant_1={"rounds_a_day": 2})
    done = deployment.run()
    assert [len(reasons) for reasons in _failures(done.folder).values()] == [0, 0, 1, 0]
    assert "policy.rounds_a_day is 2, and 2 were trained here today" in _failures(done.folder)[3][0]
    assert list(deployment.store("plant-1").counters().values()) == [2]
    assert list(deployment.store("plant-2").counters().values()) == [3]


def test_the_best_trees_so_far_reach_plants_while_the_run_goes_on(deployed: Any) -> None:
    deployment = _trees(deployed)
    deployment = Deployment(
        deployment.folder,
        changed(deployment.config, federation={"deliver_every": 1, "rounds": 4}),
        deployment.kits,
    )
    done = deployment.run()
    early = json.loads((done.folder / "delivered.json").read_text())
    assert early["round"] < 4
    assert all(one["accepted"] is not None for one in early["delivered"].values())
