"""One plant of five lies in any message of a run: it is refused by name, or moves the model by its fair share at most.

The fair share: in a round from the same weights, with w of all weights and clipping at c, the model with the plant and
the model without it differ by at most w * 2 * c.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.deployed import Deployment, DirectGrid, deploy, weights_in
from tests.server.lies import ABOUT_ITSELF, COUNTS, DELIVERY, SQUARES, SURVEY, TREES, UPDATE
from tests.spoilt import Spoil, spoilt
from werkbund.core.arrays import Float32Array
from werkbund.core.types import Tasks
from werkbund.data.answers import SQUARES as SQUARES_KIND
from werkbund.data.answers import SURVEY as SURVEY_KIND
from werkbund.engine.kinds import EVALUATE, TRAIN
from werkbund.plant.leaving import DELIVER, HELLO

LIAR, CLIP = "plant-3", 0.25
FIVE: dict[str, dict[str, Any]] = {
    "federation": {"rounds": 1},
    "data": {"rows": 900, "plants": 5},
    "clients": {"count": 5},
    "evaluation": {"keep_best": False},
    "strategy": {"aggregation": {"clip_norm": CLIP}},
}
GROWN: dict[str, dict[str, Any]] = {
    **{name: keys for name, keys in FIVE.items() if name != "strategy"},
    "model": {"kind": "trees", "hidden": None},
    "trees": {"max_depth": 2, "num_bins": 16},
}
SIGNALS = ["rows", "loss", "counts", "vocabulary", "delivery", "trees"]

Lies = dict[str, dict[str, Spoil]]
"""By kind of task, what the liar says to it, by name."""

LIES: Lies = {
    HELLO.name: ABOUT_ITSELF,
    SURVEY_KIND.name: SURVEY,
    SQUARES_KIND.name: SQUARES,
    TRAIN.name: {**UPDATE, **{f"with {name}": COUNTS[name] for name in ("a billion perfect rows", "no rows")}},
    EVALUATE.name: COUNTS,
    DELIVER.name: DELIVERY,
}
HARMLESS = {
    "rows below none",
    "a policy of texts",
    "a million failure modes",
    "1e300 rows",
    "no facts",
    "thirty times as long",
    "fifty times backwards",
    "nothing learnt",
    "noise",
    "with no rows",
    "no rows",
    "healthy rows alone",
    "in whole numbers",
    "a very long reason",
}
"""Lies that need not be seen, because they move nothing beyond a fair share."""


def _named(folder: Path) -> bool:
    """Say whether the liar is named anywhere with something that is wrong."""
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text(encoding="utf-8").splitlines()]
    number = int(LIAR[-1]) - 1
    failed = any(failure["client"] == number for line in lines for failure in line["failures"])
    failed |= any(client == number for line in lines for client, _ in line.get("outlying", ()))
    checks = json.loads((folder / "preflight.json").read_text(encoding="utf-8"))["checks"]
    warned = any(check["client"] == LIAR and check["level"] != "ok" for check in checks)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    unread = result["delivered"][LIAR]["accepted"] is None
    return failed or warned or unread or LIAR in json.loads((folder / "run.json").read_text(encoding="utf-8"))["absent"]


def _lying(deployment: Deployment, kind: str, lie: Spoil) -> DirectGrid:
    desk = spoilt(deployment.desk(LIAR).answer, lambda ask: lie if ask.tasks.kind.name == kind else None)
    return deployment.grid(**{LIAR: desk})


def _ended(deployment: Deployment, grid: DirectGrid, name: str = "run") -> Path:
    """Run to the end, and return the folder."""
    folder = deployment.run(grid, name=name).folder
    assert (folder / "result.json").is_file()
    return folder


class Untrained(DirectGrid):
    """Let the liar be away whenever it is to train."""

    def send(self, tasks: Tasks) -> None:
        self.offline = {LIAR} if tasks.kind == TRAIN else set()
        super().send(tasks)


@pytest.fixture(scope="module")
def others(tmp_path_factory: Any) -> list[Float32Array]:
    """Return the weights of the run without the liar's update, without it at all, and with all honest."""
    folder = tmp_path_factory.mktemp("others")
    ways = [deploy(folder / str(number), **FIVE) for number in range(3)]
    untrained = Untrained({name: ways[0].desk(name).answer for name in ways[0].kits})
    absent, honest = ways[1].grid(), ways[2].grid()
    absent.offline = {LIAR}
    return [weights_in(way.run(grid).folder) for way, grid in zip(ways, (untrained, absent, honest), strict=True)]


CASES = [(kind, name) for kind, lies in LIES.items() for name in lies]
ALWAYS = CASES[::2]
"""Every second lie of each kind, in all tests; the others where faults are tried."""


@pytest.mark.parametrize(
    ("kind", "name"), [case if case in ALWAYS else pytest.param(*case, marks=pytest.mark.faults) for case in CASES]
)
def test_a_lie_is_refused_by_name_or_moves_a_fair_share(
    kind: str, name: str, others: list[Float32Array], tmp_path: Path
) -> None:
    deployment = deploy(tmp_path / "it", **FIVE)
    with np.errstate(over="ignore", invalid="ignore"):
        folder = _ended(deployment, _lying(deployment, kind, LIES[kind][name]))
    weights, learnt = weights_in(folder), json.loads((folder / "learnt.json").read_text(encoding="utf-8"))
    assert np.isfinite(weights).all()
    rows = np.array([each or 0.0 for each in learnt["counted"]])
    share = rows[int(LIAR[-1]) - 1] / rows.sum()
    if not any(np.array_equal(weights, other) for other in others):
        assert np.linalg.norm(weights - others[0]) <= share * 2 * CLIP * (1 + 1e-4)
    assert name in HARMLESS or _named(folder)


FIRST = [(kind, next(iter(lies))) for kind, lies in LIES.items()]
REST = [pytest.param(kind, name, marks=pytest.mark.faults) for kind, name in CASES if (kind, name) not in FIRST]


@pytest.mark.parametrize(("kind", "name"), [*FIRST, *REST])
def test_a_run_that_ended_with_a_liar_is_gone_on_with(kind: str, name: str, tmp_path: Path) -> None:
    deployment = deploy(tmp_path / "it", **FIVE)
    with np.errstate(over="ignore", invalid="ignore"):
        grid = _lying(deployment, kind, LIES[kind][name])
        folder = _ended(deployment, grid)
        weights = weights_in(folder)
        assert deployment.resume(grid).folder == folder
    assert weights_in(folder).tobytes() == weights.tobytes()


GROWING = [(kind, name) for kind, lies in TREES.items() for name in lies]


@pytest.fixture(scope="module")
def plants_of_trees(tmp_path_factory: Any) -> dict[str, Deployment]:
    folder = tmp_path_factory.mktemp("trees")
    policies = {f"plant-{number}": {"signals": SIGNALS} for number in range(1, 6)}
    ways: dict[str, dict[str, Any]] = {"exact": {}, "bagging": {"combine": "bagging"}}
    return {
        way: deploy(folder / way, policies, **{**GROWN, "trees": {**GROWN["trees"], **keys}})
        for way, keys in ways.items()
    }


@pytest.mark.parametrize(("kind", "name"), GROWING)
def test_a_lie_about_trees_is_refused_by_name(kind: str, name: str, plants_of_trees: dict[str, Deployment]) -> None:
    deployment = plants_of_trees["bagging" if kind == "tree-bag" else "exact"]
    folder = _ended(deployment, _lying(deployment, kind, TREES[kind][name]), f"{kind} {name}".replace("*", ""))
    assert _named(folder)


def test_there_are_lies_enough() -> None:
    assert len(CASES) + len(GROWING) >= 40
    assert {kind for kind, _ in (*CASES, *GROWING)} >= {"hello", "survey", "squares", "train", "evaluate", "deliver"}
