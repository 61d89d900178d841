"""Trees of which the server learns sums alone are the same trees, bit for bit, and nobody's leaving tells its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.engine.secured import Dropping, secured
from tests.trees.protocol.test_rounds import METHODS, N, X
from tests.trees.protocol.treefed import LEVELS, RULES, TreeFederation, divided
from werkbund.core import ClientError, QuorumError, Tasks
from werkbund.core.kinds import Kind
from werkbund.engine.secured import SecuredGrid
from werkbund.engine.worker import Handler
from werkbund.learner.counts import count_shapes
from werkbund.privacy.sums import KEYS, OPEN
from werkbund.trees.arithmetic import TreePlan
from werkbund.trees.protocol.bins import Agreed, Binning, agree_terms
from werkbund.trees.protocol.kinds import TREE_CELLS, TREE_LEVEL
from werkbund.trees.protocol.rounds import evaluate_trees, tree_rounds
from werkbund.trees.protocol.state import TreeState
from werkbund.trees.protocol.talk import Links

PLAN, KIND, Y, _ = METHODS["logistic"]
CLIENTS = 4
OWNER = np.arange(N) % CLIENTS
TABLE = divided(X, Y, OWNER, CLIENTS)
SUMS = replace(RULES, secure_sums=True, counts=count_shapes(0))


def _grids(federation: TreeFederation, more: Mapping[Kind, Handler] | None = None) -> tuple[SecuredGrid, Dropping]:
    return secured(federation.grid.clients(), {**federation.work.handlers(), **(more or {})}, colluding=0)


def _agreed(grid: SecuredGrid, kind: Any, classes: int) -> Agreed:
    return agree_terms(grid, PLAN, kind, Binning(LEVELS), 60.0, classes, secure_sums=True)


@pytest.mark.parametrize("method", ["logistic", "sampled", "softmax", "squared", "forest"])
def test_the_trees_are_the_same_bit_for_bit(method: str) -> None:
    plan, kind, y, classes = METHODS[method]
    table = divided(X, y, OWNER, CLIENTS)
    clear, hidden = TreeFederation.of(table), TreeFederation.of(table)
    terms = clear.agree(plan, kind, classes).terms
    grid, _ = _grids(hidden)
    agreed = agree_terms(grid, plan, kind, Binning(LEVELS), 60.0, classes, secure_sums=True)
    assert agreed.terms.digest() == terms.digest()
    *_, (plain, _) = clear.grow(plan, TreeState.begin(terms))
    found = list(tree_rounds(grid, plan, SUMS, TreeState.begin(terms), plan.rounds, evaluate=classes == 2))
    assert found[-1][0].ensemble.digest == plain.ensemble.digest
    assert all(record.round.sum_trips >= 2 * record.messages for _, record in found)


def test_counts_are_those_in_clear_and_two_messages_are_a_level() -> None:
    clear, hidden = TreeFederation.of(TABLE), TreeFederation.of(TABLE)
    grid, within = _grids(hidden)
    state = TreeState.begin(_agreed(grid, KIND, 2).terms)
    links, rules = Links(), replace(SUMS, secure_sums=False)
    plain = clear.grow(PLAN, state, 3, rules=rules)
    found = list(tree_rounds(grid, PLAN, SUMS, state, 3, links=links))
    for (_, told), (_, record) in zip(plain, found, strict=True):
        for name, array in told.round.counts["validation"].items():
            np.testing.assert_array_equal(record.round.counts["validation"][name], array)
        assert record.round.sum_trips == 2 * record.messages == 2 * told.messages
    at_end = evaluate_trees(grid, SUMS, found[-1][0], links, np.arange(CLIENTS))
    whole = evaluate_trees(clear.grid, rules, plain[-1][0])
    np.testing.assert_array_equal(at_end.counts["validation"]["histogram"], whole.counts["validation"]["histogram"])
    assert not any(reply.sums or reply.pooled for reply in within.passed)


@pytest.mark.parametrize("level", [1, 3])
def test_trees_end_where_a_client_leaves_them_and_nothing_is_summed_without_it(level: int) -> None:
    federation = TreeFederation.of(TABLE)
    grid, within = _grids(federation)
    state = TreeState.begin(_agreed(grid, KIND, 2).terms)
    *_, (whole, _) = TreeFederation.of(TABLE).grow(PLAN, state)
    asked: list[int] = []
    send = within.send

    def leaving(tasks: Tasks) -> None:
        if tasks.kind == TREE_LEVEL:
            asked.append(tasks.round)
            within.silent = {TREE_LEVEL: {1}} if asked.count(2) == level + 1 and tasks.round == 2 else {}
        send(tasks)

    within.send = leaving  # type: ignore[method-assign]
    (_, first), (after, second), (_, third) = tree_rounds(grid, PLAN, SUMS, state, 3)
    assert (first.attempts, second.attempts, third.attempts) == (1, 1, 1)
    assert [failure.client for failure in second.round.failures] == [1]
    assert asked.count(2) == level + 1, "no level is asked again"
    openings = [tasks for tasks in within.asked if tasks.kind == OPEN and tasks.round == 2]
    assert {len(tasks.shared["included"]) for tasks in openings} == {CLIENTS}, "no sum of the round is without it"
    assert third.round.failures == (), "it is back in the next round"
    one, other = after.ensemble.trees.take(np.array([1])), whole.ensemble.trees.take(np.array([1]))
    inner = int((one.left >= 0).sum())
    assert 0 < inner < int((other.left >= 0).sum())
    np.testing.assert_array_equal(one.feature[:1], other.feature[:1])
    np.testing.assert_array_equal(one.value, other.value[: len(one.value)], err_msg="the same nodes, fewer of them")


def test_a_client_that_is_not_there_at_the_root_is_in_none_of_the_rounds_sums() -> None:
    federation = TreeFederation.of(TABLE)
    grid, within = _grids(federation)
    state = TreeState.begin(_agreed(grid, KIND, 2).terms)
    within.silent = {TREE_LEVEL: {3}}
    ((after, record),) = tree_rounds(grid, PLAN, SUMS, state, 1)
    rest = TreeFederation.of(divided(X[OWNER != 3], Y[OWNER != 3], OWNER[OWNER != 3], CLIENTS - 1))
    assert after.ensemble.digest == rest.grow(PLAN, state, 1)[0][0].ensemble.digest
    assert [failure.client for failure in record.round.failures] == [3]
    assert record.attempts == 1


def test_clients_that_were_started_anew_are_sent_all_trees_and_the_sum_is_over_all() -> None:
    federation = TreeFederation.of(TABLE)
    grid, _ = _grids(federation)
    state = TreeState.begin(_agreed(grid, KIND, 2).terms)
    *_, (plain, _) = TreeFederation.of(TABLE).grow(PLAN, state, 3)
    found = []
    for after, record in tree_rounds(grid, PLAN, SUMS, state, 3):
        found.append((after, record))
        federation.work._training.mark(np.array([2]), "f" * 32)
    assert found[-1][0].ensemble.digest == plain.ensemble.digest
    assert all(record.round.failures == () for _, record in found)


def test_a_plant_adds_no_later_level_over_others_and_opens_none_without_one_of_them() -> None:
    """Show that this is the plants' own rule, whatever a server asks."""
    federation = TreeFederation.of(TABLE)
    grid, within = _grids(federation)
    state = TreeState.begin(_agreed(grid, KIND, 2).terms)
    honest, server = grid.send, grid

    def cheating(tasks: Tasks) -> None:
        if tasks.kind == TREE_LEVEL and server._stage[0] == tasks.round:
            tasks = tasks.take(tasks.clients != 1)
            server._stage = 0, ()
        honest(tasks)

    grid.send = cheating  # type: ignore[method-assign]
    with pytest.raises(QuorumError, match="was begun in sums over other clients"):
        list(tree_rounds(grid, PLAN, SUMS, state, 1))
    del within


@pytest.mark.parametrize("question", [1, 3])
def test_who_leaves_while_bins_are_agreed_ends_that_unless_it_was_in_no_sum(question: int) -> None:
    grid, within = _grids(TreeFederation.of(TABLE))
    asked: list[Kind] = []
    send = within.send

    def leaving(tasks: Tasks) -> None:
        asked.append(tasks.kind)
        within.silent = {TREE_CELLS: {2}} if asked.count(TREE_CELLS) >= question else {}
        send(tasks)

    within.send = leaving  # type: ignore[method-assign]
    plan = TreePlan.boosting(2)
    if question == 1:
        agreed = agree_terms(grid, plan, "logistic", Binning(LEVELS), 60.0, quorum=0.5, secure_sums=True)
        assert set(agreed.missing) == {"plant 2"}
        assert agreed.num_rows == N - N // CLIENTS
        return
    with pytest.raises(ClientError, match="plant 2 left while clients agreed on bins"):
        agree_terms(grid, plan, "logistic", Binning(LEVELS), 60.0, quorum=0.5, secure_sums=True)
    assert asked.count(KEYS) == CLIENTS
