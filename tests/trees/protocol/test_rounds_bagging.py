from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.trees.protocol.treefed import RULES, TreeFederation, divided, rows
from werkbund.core import ClientError, DataError, QuorumError, Tasks
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


SMALL = np.where(np.arange(N) < 9, np.arange(N) % 3, 3 + np.arange(N) % 2)
"""Three plants of three rows each, and two large ones."""


@pytest.mark.parametrize("min_rows", [0, 4, 10])
@pytest.mark.parametrize("together", [1, 4])
def test_a_forest_with_plants_that_grow_no_tree_has_shares_near_the_prevalence(min_rows: int, together: int) -> None:
    plan = TreePlan.random_forest(12, together, max_depth=5)
    found, _ = _bagged(divided(X, Y, SMALL, 5), plan, "share", min_rows=min_rows)
    ensemble = found[-1][0].ensemble
    share = scores(ensemble, X)[:, 0]
    assert len(ensemble.trees) == 12 * (2 if min_rows else 5)
    assert share.min() >= -1e-12
    assert share.max() <= 1 + 1e-12
    assert share.mean() == pytest.approx(Y.mean(), abs=0.03)


@pytest.mark.parametrize("kind", ["logistic", "share"])
def test_plants_that_grow_no_tree_change_nothing(kind: str) -> None:
    plan = PLAN if kind == "logistic" else TreePlan.random_forest(6, 2, max_depth=4)
    table = divided(X, Y, SMALL, 5)
    federation = TreeFederation.of(table, min_rows=10)
    state = TreeState.begin(federation.agree(plan, kind).terms)  # type: ignore[arg-type]
    *_, (with_small, _) = bagging_rounds(federation.grid, plan, RULES, state, plan.rounds)
    large = TreeFederation.of(table.take(np.array([3, 4])), min_rows=10)
    *_, (without, _) = bagging_rounds(large.grid, plan, RULES, state, plan.rounds)
    assert with_small.ensemble.digest == without.ensemble.digest


def test_a_forest_counts_rounds_by_their_trees_where_not_all_plants_are_asked() -> None:
    plan = TreePlan.random_forest(12, 2, max_depth=5)
    federation = TreeFederation.of(divided(X, Y, SMALL, 5), min_rows=10)
    state = TreeState.begin(federation.agree(plan, "share").terms)
    cohorts = [[0, 1], [3], [0, 3, 4], [2], [2, 4], [3, 4]]
    found = [
        after
        for after, _ in bagging_rounds(
            federation.grid, plan, RULES, state, 6, lambda round: np.array(cohorts[round - 1], np.int64)
        )
    ]
    assert found[-1].ends == (0, 2, 6, 6, 8, 12)
    share = scores(found[-1].ensemble, X)[:, 0]
    assert -1e-12 <= share.min() <= share.max() <= 1 + 1e-12
    assert share.mean() == pytest.approx(Y.mean(), abs=0.03)


def test_boosting_goes_on_where_nobody_of_a_round_grows_a_tree() -> None:
    federation = TreeFederation.of(divided(X, Y, SMALL, 5), min_rows=10)
    state = TreeState.begin(federation.agree(PLAN, "logistic").terms)
    cohorts = [[0, 1], [3, 4], [2], [0, 3, 4]]
    found = [
        after
        for after, _ in bagging_rounds(
            federation.grid, PLAN, RULES, state, 4, lambda round: np.array(cohorts[round - 1], np.int64)
        )
    ]
    assert found[-1].ends == (0, 2, 2, 4)
    logit = scores(found[-1].ensemble, X)[:, 0]
    assert (1 / (1 + np.exp(-logit))).mean() == pytest.approx(Y.mean(), abs=0.05)


@pytest.mark.parametrize("kind", ["logistic", "share"])
def test_a_plant_whose_few_rows_are_not_drawn_grows_no_tree(kind: str) -> None:
    """Of plants of one row, a third draw it not at all: their trees would say 0 of nothing."""
    boosting = TreePlan.boosting(40, max_depth=3, row_share=0.5, learning_rate=0.05)
    plan = boosting if kind == "logistic" else TreePlan.random_forest(12, 3, max_depth=4)
    found, _ = _bagged(TreeTable.build(X, Y, np.arange(N + 1)), plan, kind)
    ensemble = found[-1][0].ensemble
    assert ensemble.trees.grown.all()
    score = scores(ensemble, X)[:, 0]
    share = score if kind == "share" else 1 / (1 + np.exp(-score))
    assert share.mean() == pytest.approx(Y.mean(), abs=0.03)


@pytest.mark.parametrize("kind", ["logistic", "share"])
def test_where_no_plant_can_grow_a_tree_the_run_ends_with_the_reason(kind: str) -> None:
    plan = PLAN if kind == "logistic" else TreePlan.random_forest(6, 2, max_depth=4)
    with pytest.raises(DataError, match=r"none grew a tree; lower these"):
        _bagged(divided(X, Y, np.arange(N) % 50, 50), plan, kind, min_rows=20)
    federation = TreeFederation.of(divided(X, Y, SMALL, 5), min_rows=10)
    state = TreeState.begin(federation.agree(plan, kind).terms)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="none grew a tree"):
        list(bagging_rounds(federation.grid, plan, RULES, state, 2, lambda round: np.array([0, 1])))


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
