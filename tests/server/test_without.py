"""A plant whose counts cannot be true is left out by name, from the survey on; the others go on as if it were away."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.deployed import DirectGrid, weights_in
from tests.spoilt import arrays, spoilt
from werkbund.core.errors import QuorumError
from werkbund.core.types import Failure, Tasks
from werkbund.data.answers import SURVEY
from werkbund.engine.grid import Without
from werkbund.engine.kinds import EVALUATE

SECTIONS: dict[str, Any] = {
    "federation": {"rounds": 2, "quorum": 0.5},
    "data": {"rows": 600, "plants": 4},
    "clients": {"count": 4},
    "evaluation": {"keep_best": False},
}
LIE = arrays("sums", sum=lambda old: np.full_like(old, 1e30))


def _grid(deployment: Any, *liars: str) -> DirectGrid:
    desks = {
        name: spoilt(deployment.desk(name).answer, lambda ask: LIE if ask.tasks.kind == SURVEY else None)
        for name in liars
    }
    return deployment.grid(**desks)  # type: ignore[no-any-return]


def test_the_run_is_that_of_the_others_and_says_who_is_left_out_and_why(deployed: Any) -> None:
    one, other = deployed(**SECTIONS), deployed(**SECTIONS)
    seen: list[Any] = []
    grid = _grid(one, "plant-2")
    folder = one.run(grid, seen=seen.append).folder
    away = other.grid()
    away.offline = {"plant-2"}
    np.testing.assert_array_equal(weights_in(folder), weights_in(other.run(away).folder))
    assert not [ask for ask in grid.asked if ask.name == "plant-2" and ask.tasks.kind.name not in ("hello", "survey")]
    found = [check for check in seen[-1].checks if check.client == "plant-2"]
    assert [check.level for check in found] == ["error"]
    assert "the mean of its" in found[0].what
    assert "leave the plant out" in found[0].what
    assert "left out of this run" in found[0].remedy
    written = json.loads((folder / "preflight.json").read_text())["checks"]
    assert written == [vars(check) for check in seen[-1].checks]
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    assert all([failure["client"] for failure in line["failures"]] == [1] for line in lines)
    assert all("before the first round: the mean of its" in line["failures"][0]["reason"] for line in lines)
    assert all(1 not in line["cohort"] for line in lines)
    assert one.resume(_grid(one, "plant-2")).folder == folder


def test_too_many_liars_end_the_run_with_the_name_of_each(deployed: Any) -> None:
    deployment = deployed(**{**SECTIONS, "federation": {"rounds": 2, "quorum": 0.9}})
    with pytest.raises(QuorumError, match=r"plant-3: the mean of its"):
        deployment.run(_grid(deployment, "plant-3"))


def test_who_is_left_out_fails_at_once_and_the_others_are_asked(make_grid: Any) -> None:
    inner = make_grid(("a", "b", "c"), lambda sent: [Failure(0, 1, "is offline")] if sent else [])
    grid = Without(inner, {1: "it lied"})
    grid.send(Tasks(EVALUATE, 1, np.array([0, 1])))
    assert [(one.client, one.reason) for one in grid.receive(1.0) if isinstance(one, Failure)] == [
        (1, "it lied"),
        (0, "is offline"),
    ]
    grid.send(Tasks(EVALUATE, 1, np.array([1])))
    assert [len(tasks) for tasks in inner.sent] == [1]
    assert [one.client for one in grid.receive(1.0) if isinstance(one, Failure)] == [1]
    assert grid.clients() == ("a", "b", "c")
