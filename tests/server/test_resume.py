from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.deployed import Answerer, deploy, weights_in
from tests.wire import read_answer, read_ask
from werkbund.engine.kinds import TRAIN
from werkbund.flower.wire.parcel import Parcel
from werkbund.plant.leaving import DELIVER

SECTIONS: dict[str, Any] = {"federation": {"rounds": 3}, "evaluation": {"keep_best": False}}


class PowerCutError(Exception):
    """Stop the server's process as a cut of its power would."""


def _until(desk: Answerer, kind: str, round: int, answered: bool) -> Answerer:
    """Return a desk that the server cannot hear any more from this task on; the plant may have done it."""

    def answer(parcel: Parcel) -> Parcel:
        tasks = read_ask(parcel).tasks
        if tasks.kind.name == kind and (kind == "deliver" or tasks.round == round):
            if answered:
                desk(parcel)
            raise PowerCutError
        return desk(parcel)

    return answer


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: Any) -> Any:
    deployment = deploy(tmp_path_factory.mktemp("whole") / "it", **SECTIONS)
    return deployment.run()


@pytest.mark.parametrize(
    ("kind", "round", "answered", "who"),
    [
        ("train", 1, True, "plant-1"),
        ("train", 2, False, "plant-1"),
        ("train", 3, True, "plant-1"),
        ("train", 3, True, "plant-3"),
        ("deliver", 0, True, "plant-1"),
        ("deliver", 0, False, "plant-3"),
    ],
)
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    kind: str, round: int, answered: bool, who: str, deployed: Any, uninterrupted: Any
) -> None:
    # plant-1 is asked last: the others have gone further than the server's checkpoint.
    deployment = deployed(**SECTIONS)
    with pytest.raises(PowerCutError):
        deployment.run(deployment.grid(**{who: _until(deployment.desk(who).answer, kind, round, answered)}))
    grid = deployment.grid()
    done = deployment.resume(grid)
    np.testing.assert_array_equal(weights_in(done.folder), weights_in(uninterrupted.folder))
    assert done.summary["metrics"] == uninterrupted.summary["metrics"]
    lines = [json.loads(line)["round"] for line in (done.folder / "rounds.jsonl").read_text().splitlines()]
    assert lines == [1, 2, 3, 4]
    for name in deployment.kits:
        assert sum(deployment.store(name).counters().values()) == 3, "each round counts once in a plant's day"
        models = deployment.store(name).path / "models"
        taken = done.summary["delivered"][name]["accepted"]  # who refuses it keeps it beside what it learnt alone
        assert len([entry for entry in models.iterdir() if entry.is_dir()]) == (1 if taken else 2), "one delivery"


def test_plants_may_be_two_rounds_ahead_of_the_servers_checkpoint(deployed: Any, uninterrupted: Any) -> None:
    deployment = deployed(federation={"rounds": 3, "checkpoint_every": 3}, evaluation={"keep_best": False})
    with pytest.raises(PowerCutError):
        deployment.run(deployment.grid(**{"plant-1": _until(deployment.desk("plant-1").answer, "train", 3, True)}))
    grid = deployment.grid()
    done = deployment.resume(grid)
    assert Counter(a.tasks.round for a in grid.asked if a.tasks.kind == TRAIN) == {1: 3, 2: 3, 3: 3}
    np.testing.assert_array_equal(weights_in(done.folder), weights_in(uninterrupted.folder))


def test_a_resumed_server_asks_the_same_tasks_and_gets_the_same_bytes(deployed: Any) -> None:
    deployment = deployed(**SECTIONS)
    first = deployment.grid(**{"plant-1": _until(deployment.desk("plant-1").answer, "train", 3, True)})
    with pytest.raises(PowerCutError):
        deployment.run(first)
    second = deployment.grid()
    deployment.resume(second)
    given = [
        {(ask.name, ask.tasks.round): parcel for ask, parcel in grid.answered if ask.tasks.kind == TRAIN}
        for grid in (first, second)
    ]
    again = set(given[0]) & set(given[1])
    assert again == {("plant-2", 3), ("plant-3", 3)}
    for task in again:
        assert given[0][task] == given[1][task]
    ledger = (deployment.store("plant-3").path / "ledger.jsonl").read_bytes().splitlines()
    train = [entry for entry in map(json.loads, ledger) if entry["kind"] == "answer" and entry["task"] == "train"]
    assert [entry["round"] for entry in train if "again" not in entry] == [1, 2, 3]


def test_a_finished_run_that_is_resumed_delivers_no_second_model(deployed: Any) -> None:
    deployment = deployed(federation={"rounds": 2}, evaluation={"keep_best": False})
    before = deployment.run()
    weights = weights_in(before.folder)
    models = {name: deployment.store(name).current() for name in deployment.kits}
    grid = deployment.grid()
    deployment.resume(grid)
    np.testing.assert_array_equal(weights_in(before.folder), weights)
    assert {name: deployment.store(name).current() for name in deployment.kits} == models
    assert all(read_answer(p).replies is not None for ask, p in grid.answered if ask.tasks.kind == DELIVER)
