"""What a client answers to questions that it should not, or need not, answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.trees.protocol.treefed import TreeFederation, divided, rows
from werkbund.core import ClientError, ModelError, Tasks
from werkbund.trees.arithmetic import TreePlan
from werkbund.trees.protocol.kinds import TREE_CELLS
from werkbund.trees.protocol.state import TreeState

N = 300
X, SCORE = rows(N)
Y = (SCORE > 1.5).astype(float)
PLAN = TreePlan.boosting(2, max_depth=3)


@pytest.fixture
def spoken() -> tuple[TreeFederation, list[Tasks]]:
    """Return a federation and the questions of two rounds."""
    federation = TreeFederation.of(divided(X, Y, np.arange(N) % 2, 2))
    state = TreeState.begin(federation.agree(PLAN, "logistic").terms)
    federation.seen.clear()
    federation.grow(PLAN, state)
    return federation, list(federation.seen)


def _fresh(federation: TreeFederation) -> Any:
    return TreeFederation.of(federation.table).work.level


def test_only_the_first_question_and_those_to_who_is_behind_hold_the_terms(spoken: Any) -> None:
    _, seen = spoken
    whole = ["terms.base" in tasks.shared for tasks in seen]
    last = ["last.mark" in tasks.shared for tasks in seen]
    assert whole == [True, *[False] * (len(seen) - 1)]
    assert [tasks.round for tasks, told in zip(seen, last, strict=True) if told] == [2]
    assert len({(tasks.round, tasks.attempt) for tasks in seen}) == len(seen)


def test_who_lost_its_state_says_so_and_sends_no_sums(spoken: Any) -> None:
    federation, seen = spoken
    reply = _fresh(federation)(seen[-1])
    assert reply.clear["behind"].tolist() == [True, True]
    assert not reply.sums
    assert not reply.pooled


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"asked": np.array([99], np.int32)}, "nodes asked"),
        ({"asked": np.array([-1], np.int32)}, "nodes asked"),
        ({"features": np.array([[9]], np.int32)}, "features asked"),
        ({"features": np.array([0], np.int32)}, "features asked"),
        ({"mark": np.zeros(4, np.uint8)}, "mark must be"),
        ({"terms.numbers": np.zeros(2)}, "terms of the trees"),
        ({"grown.outputs": np.array([5], np.int32)}, "add to 1 scores"),
    ],
)
def test_a_question_that_cannot_be_is_refused(change: dict[str, Any], error: str, spoken: Any) -> None:
    federation, seen = spoken
    with pytest.raises(ClientError, match=error):
        _fresh(federation)(replace(seen[0], shared={**seen[0].shared, **change}))


def test_damaged_trees_are_refused(spoken: Any) -> None:
    federation, seen = spoken
    with pytest.raises(ModelError):
        _fresh(federation)(replace(seen[0], shared={**seen[0].shared, "grown.left": np.array([7], np.int32)}))


@pytest.mark.parametrize(
    ("cuts", "parts", "low"),
    [([0, 0, 1], [1, 1, 2], 3), ([1, 0, 0, 0, 0], [2] * 5, 9), ([1, 0, 0, 0, 0], [2**30] * 5, 3)],
)
def test_intervals_that_cannot_be_are_refused(cuts: list[int], parts: list[int], low: int, spoken: Any) -> None:
    federation, _ = spoken
    ends = {"lows": np.array([low], np.uint64), "highs": np.array([5], np.uint64)}
    asked = {**ends, "cuts": np.array(cuts), "parts": np.array(parts)}
    with pytest.raises(ClientError, match="intervals must"):
        federation.work.cells(Tasks(TREE_CELLS, 0, np.arange(2), asked))


def test_targets_that_are_no_classes_are_named() -> None:
    federation = TreeFederation.of(divided(X, Y + 1, np.arange(N) % 2, 2))
    with pytest.raises(Exception, match=r"targets must be 0\.\.1"):
        federation.agree(PLAN, "logistic")


def test_a_client_without_a_validation_table_grows_trees_all_the_same() -> None:
    federation = TreeFederation.of(divided(X, Y, np.arange(N) % 2, 2))
    federation.work = type(federation.work)(federation.table)
    state = TreeState.begin(federation.agree(PLAN, "logistic").terms)
    found = federation.grow(PLAN, state)
    assert found[-1][1].round.counts == {}
    assert found[-1][0].round == 2


@pytest.mark.parametrize("draws", [(0.5, False), (0.999, False), (1.0, True), (0.5, True), (1e-9, False)])
def test_terms_that_draw_rows_in_another_way_than_the_configuration_are_refused(
    draws: tuple[float, bool], spoken: Any
) -> None:
    federation, seen = spoken
    fresh = TreeFederation.of(federation.table).work
    fresh.draws = draws
    with pytest.raises(ClientError, match="draw rows in another way"):
        fresh.level(seen[0])
    fresh.draws = (1.0, False)
    assert fresh.level(seen[0]).pooled or fresh.level(seen[0]).sums
