from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.trees.protocol.treefed import RULES, TreeFederation, divided, rows
from werkbund.core import ClientError, QuorumError, Tasks
from werkbund.core.store import RowStore
from werkbund.engine.worker import forgetful
from werkbund.trees.arithmetic import TreePlan, scores
from werkbund.trees.protocol.kinds import TREE_BAG
from werkbund.trees.protocol.rounds import bagging_rounds
from werkbund.trees.protocol.state import TreeState
from werkbund.trees.rows.local import train_trees
from werkbund.trees.rows.table import TreeTable

N = 400
X, SCORE = rows(N)
Y = (SCORE > 1.5).astype(float)
PLAN = TreePlan.boosting(5, max_depth=3, row_share=0.8)


def _bagged(table: TreeTable, plan: TreePlan = PLAN, kind: Any = "logistic", **how: Any) -> Any:
    federation = TreeFederation.of(table, **how)
    state = TreeState.begin(federation.agree(plan, kind).terms)
    return list(bagging_rounds(federation.grid, plan, RULES, state, plan.rounds)), state.terms


def test_of_one_client_the_trees_are_its_own() -> None:
    found, terms = _bagged(TreeTable.build(X, Y))
    *_, alone = train_trees(TreeTable.build(X, Y), terms, PLAN, RULES.seed)
    assert found[-1][0].ensemble.digest == alone.digest


@pytest.mark.parametrize("kind", ["logistic", "share"])
def test_both_ways_of_asking_unite_the_same_trees(kind: str) -> None:
    plan = PLAN if kind == "logistic" else TreePlan.random_forest(6, 2, max_depth=4)
    table = divided(X, Y, np.minimum(np.arange(N) % 5, 2), 3)
    together, _ = _bagged(table, plan, kind)
    alone, _ = _bagged(table, plan, kind, alone=True)
    assert together[-1][0].ensemble.digest == alone[-1][0].ensemble.digest
    assert len(together[-1][0].ensemble.trees) == 3 * plan.rounds * plan.together
    assert [record.messages for _, record in together] == [1] * plan.rounds


def test_a_client_of_copies_counts_by_its_rows_and_changes_nothing() -> None:
    """Clients with the same rows grow the same trees, whose shares add up to one tree."""
    plan = TreePlan.boosting(4, max_depth=3)
    table = TreeTable.build(np.tile(X, (3, 1)), np.tile(Y, 3), [0, N, 2 * N, 3 * N])
    found, terms = _bagged(table, plan)
    *_, alone = train_trees(TreeTable.build(X, Y), terms, plan, RULES.seed)
    np.testing.assert_allclose(scores(found[-1][0].ensemble, X), scores(alone, X), atol=1e-12)


def test_a_client_without_rows_adds_nothing() -> None:
    table = TreeTable.build(X, Y, [0, N, N])
    found, _ = _bagged(table)
    assert len(found[-1][0].ensemble.trees) == 5
    assert found[-1][1].round.failures == ()


def _one_of_three_leaves() -> tuple[TreeFederation, TreeState]:
    """Return a federation whose first client is away in round 2, and the state before its first round."""
    federation = TreeFederation.of(divided(X, Y, np.arange(N) % 3, 3), alone=True)
    begun = TreeState.begin(federation.agree(PLAN, "logistic").terms)

    def drop(tasks: Tasks) -> None:
        if tasks.clients[0] == 0 and tasks.round == 2:
            raise ClientError("went home")

    federation.before = drop
    return federation, begun


def test_counts_come_with_the_trees_and_failures_are_recorded() -> None:
    federation, state = _one_of_three_leaves()
    records = [record for _, record in bagging_rounds(federation.grid, PLAN, RULES, state, 3)]
    assert [len(record.round.failures) for record in records] == [0, 1, 0]
    assert [int(record.round.counts["validation"]["histogram"].sum()) for record in records] == [400, 266, 400]


def test_an_earlier_round_is_had_where_rounds_have_unequally_many_trees() -> None:
    federation, begun = _one_of_three_leaves()
    states = [begun, *(state for state, _ in bagging_rounds(federation.grid, PLAN, RULES, begun, 4))]
    assert states[4].ends == (3, 5, 8, 11)
    for round, state in enumerate(states):
        assert states[4].at(round).ensemble.digest == state.ensemble.digest
    read = TreeState.from_arrays(states[4].to_arrays())
    assert read.at(2).ensemble.digest == states[2].ensemble.digest


def test_no_tree_tells_of_few_rows_where_that_is_asked() -> None:
    plan = TreePlan.boosting(3, max_depth=6, min_child_rows=1)
    owner = np.where(np.arange(N) < 10, 0, 1 + np.arange(N) % 2)
    table = divided(X, Y, owner, 3)
    open_trees = _bagged(table, plan)[0][-1][0].ensemble.trees
    shut, _ = _bagged(table, plan, min_rows=12)
    trees = shut[-1][0].ensemble.trees
    assert open_trees.rows.min() < 12 <= trees.rows.min()
    assert len(trees) == 2 * plan.rounds, "ten rows grow no tree"
    assert all(record.round.failures == () for _, record in shut)


def test_trees_that_cannot_be_read_are_refused_by_name() -> None:
    federation = TreeFederation.of(divided(X, Y, np.arange(N) % 3, 3), alone=True)
    state = TreeState.begin(federation.agree(PLAN, "logistic").terms)
    handlers = federation.work.handlers()

    def spoilt(tasks: Tasks) -> Any:
        replies = handlers[TREE_BAG](tasks, RowStore())
        if tasks.clients[0] != 1:
            replies.clear["bag.value"] = replies.clear["bag.value"] * np.nan  # type: ignore[index]
        return replies

    federation.work.handlers = lambda: {**handlers, TREE_BAG: forgetful(spoilt)}  # type: ignore[method-assign]
    with pytest.raises(QuorumError, match="plant 2: its trees cannot be read"):
        next(bagging_rounds(federation.grid, PLAN, RULES, state, 1))
