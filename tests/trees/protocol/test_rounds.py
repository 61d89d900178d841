"""Trees of a federation are those of the pooled rows, bit for bit, however rows are divided and whatever happens."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trees.protocol.treefed import RULES, TreeFederation, divided, rows, run
from werkbund.core import ClientError, DataError, QuorumError, Tasks
from werkbund.core.store import RowStore, Store
from werkbund.core.types import Replies
from werkbund.engine import Rules
from werkbund.trees.arithmetic import TreePlan, scores
from werkbund.trees.protocol.kinds import TREE_LEVEL
from werkbund.trees.protocol.rounds import evaluate_trees
from werkbund.trees.protocol.state import TreeState
from werkbund.trees.rows.local import train_trees
from werkbund.trees.rows.table import TreeTable

N = 600
X, SCORE = rows(N)
TWO, THREE = (SCORE > 1.5).astype(float), np.digitize(SCORE, [-0.5, 1.5]).astype(float)

METHODS: dict[str, tuple[TreePlan, Any, Any, int]] = {
    "logistic": (TreePlan.boosting(4, max_depth=4), "logistic", TWO, 2),
    "leaves": (TreePlan.boosting(4, max_depth=6, max_leaves=9), "logistic", TWO, 2),
    "monotone": (TreePlan.boosting(4, max_depth=4, monotone=(1, 0, 0, 0)), "logistic", TWO, 2),
    "sampled": (TreePlan.boosting(4, row_share=0.6, tree_features=0.8), "logistic", TWO, 2),
    "beside": (TreePlan(TreePlan.boosting(row_share=0.5, max_depth=3).rules, 3, 3), "logistic", TWO, 2),
    "softmax": (TreePlan.boosting(3, max_depth=3, node_features=0.5), "softmax", THREE, 3),
    "squared": (TreePlan.boosting(4, max_depth=4), "squared", SCORE, 0),
    "forest": (TreePlan.random_forest(6, 3, max_depth=6), "share", TWO, 2),
    "forest of classes": (TreePlan.random_forest(4, 2, max_depth=5), "share", THREE, 3),
    "extra trees": (TreePlan.extra_trees(4, 2, max_depth=5), "share", TWO, 2),
    "forest of numbers": (TreePlan.random_forest(4, 2, max_depth=5), "squared", SCORE, 0),
}


def _divisions(y: Any) -> dict[str, TreeTable]:
    rng, positive = np.random.default_rng(5), y > np.median(y)
    dirichlet = np.array([rng.choice(5, p=part) for part in rng.dirichlet([0.1] * 5, 2)[positive.astype(int)]])
    one = np.concatenate(([0], rng.integers(1, 4, N - 1)))
    without = np.where(positive, rng.integers(1, 4, N), rng.integers(0, 4, N))
    order = rng.permutation(N)
    return {
        "5 alike": divided(X, y, rng.integers(0, 5, N), 5),
        "Dirichlet 0.1": divided(X, y, dirichlet, 5),
        "one has one row, one has none": divided(X, y, one, 5),
        "one has no positive": divided(X, y, without, 4),
        "sorted by the label": divided(X, y, np.argsort(np.argsort(y, kind="stable")) * 10 // N, 10),
        "other order": TreeTable.build(X[order], y[order]),
    }


@pytest.mark.parametrize("method", METHODS)
def test_the_trees_are_those_of_the_pooled_rows(method: str) -> None:
    plan, kind, y, classes = METHODS[method]
    federation = TreeFederation.of(TreeTable.build(X, y))
    terms = federation.agree(plan, kind, classes).terms
    *_, pooled = train_trees(TreeTable.build(X, y), terms, plan, RULES.seed)
    assert (pooled.trees.feature >= 0).sum() > 5
    for name, table in _divisions(y).items():
        state, _ = run(table, plan, kind, classes)
        assert state.terms.digest() == terms.digest(), name
        assert state.ensemble.digest == pooled.digest, name


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=120, max_size=120), st.integers(0, 2**31))
def test_no_division_and_no_seed_makes_a_difference(owner: list[int], seed: int) -> None:
    plan = TreePlan.boosting(2, max_depth=3, min_child_rows=2, row_share=0.8, node_features=0.8)
    digests = set()
    for clients in (owner, [0] * 120):
        federation = TreeFederation.of(divided(X[:120], THREE[:120], np.array(clients), 6))
        state = TreeState.begin(federation.agree(plan, "softmax", 3).terms)
        digests.add(federation.grow(plan, state, rules=Rules(seed, 1.0, 60.0, ""))[-1][0].mark)
    assert len(digests) == 1


@pytest.mark.parametrize("method", ["logistic", "softmax", "forest"])
def test_clients_asked_one_by_one_give_the_same_trees(method: str) -> None:
    plan, kind, y, classes = METHODS[method]
    table = _divisions(y)["Dirichlet 0.1"]
    together, _ = run(table, plan, kind, classes)
    alone, records = run(table, plan, kind, classes, alone=True)
    assert alone.ensemble.digest == together.ensemble.digest
    assert alone.mark == together.mark
    assert len(records[0].round.counts["validation"]["histogram" if classes == 2 else "confusion"]) == 5


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_another_seed_draws_other_rows_and_the_same_ones_for_all(seed: int) -> None:
    plan, kind, y, classes = METHODS["sampled"]
    rules = Rules(seed, 1.0, 60.0, "")
    digests = set()
    for table in list(_divisions(y).values())[:3]:
        federation = TreeFederation.of(table)
        state = TreeState.begin(federation.agree(plan, kind, classes).terms)
        digests.add(federation.grow(plan, state, rules=rules)[-1][0].ensemble.digest)
    usual, _ = run(TreeTable.build(X, y), plan, kind, classes)
    assert len(digests) == 1
    assert usual.ensemble.digest not in digests


@pytest.mark.parametrize("method", ["logistic", "beside", "forest", "squared"])
def test_the_scores_that_clients_keep_are_those_of_the_model(method: str) -> None:
    plan, kind, y, classes = METHODS[method]
    federation = TreeFederation.of(divided(X, y, np.arange(N) % 3, 3))
    state = federation.grow(plan, TreeState.begin(federation.agree(plan, kind, classes).terms))[-1][0]
    evaluate_trees(federation.grid, RULES, state)
    scored = federation.work._held_out["validation"]
    kept = state.ensemble.base + state.ensemble.factor * scored.sums
    assert (kept == scores(state.ensemble, federation.table.features)).all()


def test_a_tree_costs_one_message_a_level() -> None:
    plan, kind, y, classes = METHODS["logistic"]
    _, records = run(divided(X, y, np.arange(N) % 3, 3), plan, kind, classes)
    assert [record.messages for record in records] == [4] * 4
    assert [record.attempts for record in records] == [1] * 4
    assert all(record.round.bytes_down > 0 and record.round.bytes_up > 0 for record in records)


def test_counts_score_the_trees_before() -> None:
    plan, kind, y, classes = METHODS["logistic"]
    table = divided(X, y, np.arange(N) % 3, 3)
    federation = TreeFederation.of(table)
    start = TreeState.begin(federation.agree(plan, kind, classes).terms)
    found = federation.grow(plan, start)
    before = start
    for state, record in found:
        assert record.round.scored == before.round == record.round.round - 1
        counted = evaluate_trees(federation.grid, RULES, before).counts["validation"]
        for name, array in record.round.counts["validation"].items():
            assert np.array_equal(array, counted[name])
        before = state
    each = evaluate_trees(federation.grid, RULES, before, clients=np.array([0, 2]))
    assert each.evaluated["validation"].tolist() == [0, 2]
    assert each.counts["validation"]["histogram"].sum(axis=(1, 2)).tolist() == [200, 200]


def test_no_counts_come_unless_wanted() -> None:
    plan, kind, y, classes = METHODS["logistic"]
    federation = TreeFederation.of(divided(X, y, np.arange(N) % 3, 3))
    state = TreeState.begin(federation.agree(plan, kind, classes).terms)
    assert federation.grow(plan, state, 1, evaluate=False)[0][1].round.counts == {}


@pytest.mark.parametrize("level", [0, 1, 3])
def test_a_client_that_drops_is_left_out_of_the_tree_and_may_come_back(level: int) -> None:
    plan, kind, y, classes = METHODS["logistic"]
    owner = np.arange(N) % 3
    federation = TreeFederation.of(divided(X, y, owner, 3), alone=True)
    start = TreeState.begin(federation.agree(plan, kind, classes).terms)
    first = federation.grow(plan, start, 1)[0][0]
    asked: dict[int, int] = {}

    def drop(tasks: Tasks) -> None:
        asked[tasks.round] = asked.get(tasks.round, 0) + (1 if tasks.clients[0] == 1 else 0)
        if tasks.round == 2 and tasks.clients[0] == 1 and asked[2] == level + 1:
            raise ClientError("went home")

    federation.before = drop
    found = federation.grow(plan, first, 3)
    (second, record), (_, after) = found
    assert [failure.client for failure in record.round.failures] == [1]
    assert "went home" in record.round.failures[0].reason
    assert record.attempts == (1 if level == 0 else 2)
    others = divided(X[owner != 1], y[owner != 1], np.zeros(2 * N // 3, int), 1)
    rest = TreeFederation.of(others)
    alone = rest.grow(plan, first, 2)[0][0]
    assert second.ensemble.digest == alone.ensemble.digest
    assert after.round.failures == ()
    assert after.attempts == 1


def test_too_few_answers_end_the_run_and_name_who_is_missing() -> None:
    plan, kind, y, classes = METHODS["logistic"]
    federation = TreeFederation.of(divided(X, y, np.arange(N) % 3, 3), alone=True)
    start = TreeState.begin(federation.agree(plan, kind, classes).terms)

    def drop(tasks: Tasks) -> None:
        if tasks.clients[0] > 0 and tasks.attempt > 1:
            raise ClientError("went home")

    federation.before = drop
    with pytest.raises(QuorumError, match=r"plant 2: .*went home") as caught:
        federation.grow(plan, start)
    assert (caught.value.needed, caught.value.answered, caught.value.round) == (2, 1, 1)


@pytest.mark.parametrize("method", ["logistic", "sampled", "beside", "forest"])
def test_clients_that_were_started_anew_catch_up(method: str) -> None:
    plan, kind, y, classes = METHODS[method]
    table = divided(X, y, np.arange(N) % 3, 3)
    usual, _ = run(table, plan, kind, classes)
    federation = TreeFederation.of(table, alone=True)
    start = TreeState.begin(federation.agree(plan, kind, classes).terms)
    count = 0

    def forget(tasks: Tasks) -> None:
        nonlocal count
        count += 1
        if count % 5 == 0:  # also in the middle of a tree
            federation.work = TreeFederation.of(table).work

    federation.before = forget
    found = federation.grow(plan, start)
    assert found[-1][0].ensemble.digest == usual.ensemble.digest
    assert not any(record.round.failures for _, record in found)
    assert sum(record.messages for _, record in found) > 4 * plan.rounds / 2


@pytest.mark.parametrize("method", ["logistic", "sampled", "forest"])
def test_a_resumed_run_gets_the_same_trees(method: str) -> None:
    plan, kind, y, classes = METHODS[method]
    table = divided(X, y, np.arange(N) % 3, 3)
    usual, _ = run(table, plan, kind, classes)
    federation = TreeFederation.of(table)
    state = TreeState.begin(federation.agree(plan, kind, classes).terms)
    while state.round < plan.rounds:
        state = federation.grow(plan, state, state.round + 1)[0][0]
        file = io.BytesIO()
        np.savez(file, **state.to_arrays())
        file.seek(0)
        with np.load(file, allow_pickle=False) as stored:
            state = TreeState.from_arrays(dict(stored))
    assert state.ensemble.digest == usual.ensemble.digest
    assert state.mark == usual.mark


def test_a_question_that_comes_again_gets_the_same_answer() -> None:
    plan, kind, y, classes = METHODS["sampled"]
    federation = TreeFederation.of(divided(X, y, np.arange(N) % 3, 3))
    state = TreeState.begin(federation.agree(plan, kind, classes).terms)
    federation.seen.clear()
    federation.grow(plan, state, 1)
    handlers = federation.work.handlers()
    answers = [handlers[tasks.kind](tasks, RowStore()).pooled["histograms"] for tasks in federation.seen]
    again = [handlers[tasks.kind](tasks, RowStore()).pooled["histograms"] for tasks in reversed(federation.seen)]
    assert len(answers) > 2
    assert all(np.array_equal(a, b) for a, b in zip(answers, reversed(again), strict=True))


def test_a_part_of_the_clients_can_be_asked_in_each_round() -> None:
    plan, kind, y, classes = METHODS["logistic"]
    table = divided(X, y, np.arange(N) % 4, 4)
    cohort = {1: [0, 1, 2, 3], 2: [0, 3], 3: [1, 2], 4: [0, 1, 2, 3]}
    digests = set()
    for alone in (False, True):
        federation = TreeFederation.of(table, alone=alone)
        state = TreeState.begin(federation.agree(plan, kind, classes).terms)
        found = federation.grow(plan, state, cohort=lambda round: np.array(cohort[round]))
        assert [record.round.cohort for _, record in found] == [tuple(cohort[i]) for i in range(1, 5)]
        assert not any(record.round.failures for _, record in found)
        assert all(record.round.evaluated["validation"].tolist() == [0, 1, 2, 3] for _, record in found)
        digests.add(found[-1][0].ensemble.digest)
    assert len(digests) == 1


def test_counts_over_few_rows_stay_at_the_client_if_it_says_so() -> None:
    plan, kind, y, classes = METHODS["logistic"]
    table = divided(X, y, np.arange(N) % 3, 3)
    open_state, _ = run(table, plan, kind, classes)
    together, _ = run(table, plan, kind, classes, min_rows=4)
    alone, _ = run(table, plan, kind, classes, min_rows=4, alone=True)
    assert together.ensemble.digest == alone.ensemble.digest != open_state.ensemble.digest


@pytest.mark.parametrize("name", ["logistic", "forest"])
@pytest.mark.parametrize("least", [0, 1, 4])
def test_cells_of_few_rows_and_no_others_are_withheld(name: str, least: int) -> None:
    plan, kind, y, classes = METHODS[name]
    table = divided(X, y, np.arange(N) % 3, 3)
    federation = TreeFederation.of(table)
    state = TreeState.begin(federation.agree(plan, kind, classes).terms)
    federation.seen.clear()
    federation.grow(plan, state, 1)
    questions = [tasks for tasks in federation.seen if tasks.kind == TREE_LEVEL]
    assert len(questions) > 2
    each = [np.array([client]) for client in range(3)]
    whole = [TreeFederation.of(table).work for _ in each]
    shut, together = (
        [TreeFederation.of(table, min_rows=least).work for _ in each],
        TreeFederation.of(table, min_rows=least),
    )
    withheld = 0
    for tasks in questions:
        total: Any = 0
        for clients, everything, rest in zip(each, whole, shut, strict=True):
            own = replace(tasks, clients=clients)
            open_words = everything.level(own).sums["histograms"][0]
            small = open_words[:, 2] < least
            right = np.where(small[:, None], 0, open_words)
            np.testing.assert_array_equal(rest.level(own).sums["histograms"][0], right)
            withheld += int((open_words[small, 2] > 0).sum())
            total += right
        np.testing.assert_array_equal(together.work.level(tasks).pooled["histograms"], total)
    assert (withheld > 100) == (least > 1)


def test_no_answer_tells_of_few_rows_where_that_is_asked() -> None:
    plan, kind, y, classes = METHODS["logistic"]
    federation = TreeFederation.of(divided(X, y, np.arange(N) % 3, 3), alone=True, min_rows=4)
    told: list[Any] = []
    handlers = federation.work.handlers()
    level = handlers[TREE_LEVEL]

    def answer(tasks: Tasks, store: Store) -> Replies:
        told.append(level(tasks, store))
        return told[-1]  # type: ignore[no-any-return]

    federation.work.handlers = lambda: {**handlers, TREE_LEVEL: answer}  # type: ignore[method-assign]
    state = TreeState.begin(federation.agree(plan, kind, classes).terms)
    federation.grow(plan, state, 2)
    rows_told = np.concatenate([r.sums["histograms"][0, :, 2] for r in told if "histograms" in r.sums])
    assert len(rows_told) > 100
    assert not ((rows_told > 0) & (rows_told < 4)).any()


@pytest.mark.parametrize("least", [4, 10])
@pytest.mark.parametrize("clients", [5, 20, 50])
def test_a_forests_shares_are_shares_where_cells_of_few_rows_are_withheld(least: int, clients: int) -> None:
    """Sums of parents and children are then over other rows, and their differences could be anything."""
    owner = np.where(np.arange(N) < 9, np.arange(N) % 3, np.arange(N) % clients)
    federation = TreeFederation.of(divided(X, TWO, owner, clients), min_rows=least)
    plan = TreePlan.random_forest(8, 4, max_depth=5)
    binning = {"least": 2 * least * clients, "most_parts": 2}
    state = TreeState.begin(federation.agree(plan, "share", binning=binning).terms)
    ensemble = federation.grow(plan, state)[-1][0].ensemble
    share = scores(ensemble, X)[:, 0]
    assert ensemble.trees.grown.all()
    assert share.min() >= 0
    assert share.max() <= 1
    assert share.mean() == pytest.approx(TWO.mean(), abs=0.06)


@pytest.mark.parametrize("kind", ["logistic", "forest"])
def test_a_run_in_which_nobody_tells_of_a_row_ends_with_the_reason(kind: str) -> None:
    plan, objective, y, _ = METHODS[kind]
    federation = TreeFederation.of(divided(X, y, np.arange(N) % 100, 100), min_rows=20)
    state = TreeState.begin(federation.agree(plan, objective).terms)
    with pytest.raises(DataError, match="none grew a tree; lower these, or gather rows"):
        federation.grow(plan, state)
