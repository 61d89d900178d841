"""Rounds of which the server learns sums alone come to what they come to in clear, whoever drops out where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.conftest import Federation
from tests.engine.secured import Dropping, secured
from werkbund.aggregation import AGGREGATORS, build_aggregator
from werkbund.core import ClientError, QuorumError, Tasks
from werkbund.core.arrays import Float64Array
from werkbund.core.kinds import Kind
from werkbund.core.store import Store
from werkbund.core.types import Replies
from werkbund.engine import RunState, SumTerms, evaluate, one_round, rounds
from werkbund.engine.kinds import TRAIN
from werkbund.engine.masking import MASKED, SUM, WORDS, told_alike
from werkbund.engine.secured import SecuredGrid
from werkbund.learner.counts import count_shapes
from werkbund.privacy.sums import AGREE, KEYS, OFFERS, OPEN, SUM_KINDS, Words
from werkbund.selection import Everyone

SIZES = (30, 45, 12, 60, 25)
OF_SUMS = [name for name in AGGREGATORS if build_aggregator(name).sees == "sum"]
Build = Callable[..., Federation]


def _built(federation: Build, **how: Any) -> Federation:
    made = federation(SIZES, counts=count_shapes(1), **how)
    return replace(
        made,
        strategy=replace(made.strategy, secure_sums=SumTerms("a run")),
        rules=replace(made.rules, secure_sums=True, facts={"rows": np.array(SIZES)}),
    )


def _secured(made: Federation, **how: Any) -> tuple[SecuredGrid, Dropping]:
    return secured(made.grid.clients(), made.handlers(), most_rows=64, **how)


def _without(made: Federation, absent: set[int]) -> RunState:
    """Return the state after a round in clear in which some clients do not answer."""
    grid = Dropping(made.grid, {TRAIN: absent})
    return one_round(grid, made.strategy, made.rules, made.state)[0]


def _same(one: RunState, other: RunState) -> None:
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", OF_SUMS)
def test_two_rounds_of_sums_are_those_in_clear_by_any_rule_of_sums(name: str, federation: Build) -> None:
    made = _built(federation, aggregator=build_aggregator(name))
    grid, _ = _secured(made)
    clear = list(rounds(made.grid, made.strategy, made.rules, made.state, 2))
    hidden = list(rounds(grid, made.strategy, made.rules, made.state, 2))
    for (plain, told), (state, record) in zip(clear, hidden, strict=True):
        np.testing.assert_allclose(state.weights, plain.weights, rtol=2e-5, atol=2e-6)
        assert record.loss == pytest.approx(told.loss, rel=1e-5)
        assert not record.failures
        assert state.taken.tolist() == plain.taken.tolist()
    assert len(OF_SUMS) == 9


def test_counts_are_those_of_all_and_a_round_says_what_it_took(federation: Build) -> None:
    made = _built(federation)
    grid, within = _secured(made)
    _, clear = one_round(made.grid, made.strategy, made.rules, made.state)
    after, first = one_round(grid, made.strategy, made.rules, made.state)
    for split, counts in clear.counts.items():
        assert first.evaluated[split].tolist() == clear.evaluated[split].tolist()
        for name, array in counts.items():
            np.testing.assert_array_equal(first.counts[split][name], array, err_msg=f"{split}.{name}")
    _, second = one_round(grid, made.strategy, made.rules, after)
    assert (first.sum_trips, second.sum_trips) == (4, 2), "keys come once; then there are two round trips a sum"
    up = sum(array.nbytes for reply in within.passed[-6:] for array in reply.clear.values())
    assert second.bytes_up == up
    assert second.bytes_up > clear.bytes_up


def test_each_client_is_counted_in_the_sum_alone_where_each_is_wanted(federation: Build) -> None:
    made = _built(federation)
    grid, _ = _secured(made)
    everyone = np.arange(len(SIZES))
    plain, told = (evaluate(one, made.rules, made.state, everyone) for one in (made.grid, grid))
    for name, array in plain.counts["test"].items():
        np.testing.assert_array_equal(told.counts["test"][name], array.sum(axis=0, keepdims=True))


def test_no_answer_holds_a_number_of_its_client(federation: Build) -> None:
    made = _built(federation)
    grid, within = _secured(made)
    one_round(grid, made.strategy, made.rules, made.state)
    answers = [reply for reply in within.passed if reply.kind not in SUM_KINDS]
    assert [reply.kind for reply in answers] == [TRAIN]
    assert all(not reply.sums and not reply.pooled and set(reply.clear) == {MASKED} for reply in answers)
    masked = answers[0].clear[MASKED]
    again, replayed = _secured(made)
    one_round(again, made.strategy, made.rules, made.state)
    other = next(reply for reply in replayed.passed if reply.kind == TRAIN).clear[MASKED]
    assert (masked != other).mean() > 0.99, "the same numbers under other masks"


STAGES: dict[str, tuple[dict[Kind, set[int]], set[int]]] = {
    "before keys": ({KEYS: {1}}, {1}),
    "before shares": ({OFFERS: {1}}, {1}),
    "before it masks": ({TRAIN: {1}}, {1}),
    "after it masked": ({OPEN: {1}}, set()),
    "one before, one after": ({TRAIN: {4}, OPEN: {0, 4}}, {4}),
}


@pytest.mark.parametrize("stage", STAGES)
def test_whoever_drops_out_where_the_sum_is_of_the_others(stage: str, federation: Build) -> None:
    silent, absent = STAGES[stage]
    made = _built(federation)
    grid, within = _secured(made, colluding=0)
    within.silent = silent
    state, record = one_round(grid, made.strategy, made.rules, made.state)
    _same(state, _without(made, absent))
    assert {failure.client for failure in record.failures} == absent
    within.silent = {}
    after, record = one_round(grid, made.strategy, made.rules, state)
    assert {failure.client for failure in record.failures} <= ({1} if KEYS in silent else set()), "it is back"
    assert np.isfinite(after.weights).all()


@pytest.mark.parametrize("kind", [KEYS, TRAIN, AGREE, OPEN])
def test_below_the_threshold_a_round_fails_cleanly_and_can_be_done_again(kind: Kind, federation: Build) -> None:
    made = _built(federation)
    grid, within = _secured(made, colluding=0, strict=True)
    within.silent = {kind: {0, 1, 2}}
    with pytest.raises(QuorumError, match=r"its answer is in no sum|no answer in time"):
        one_round(grid, made.strategy, made.rules, made.state)
    within.silent = {}
    state, record = one_round(grid, made.strategy, made.rules, made.state)
    assert not record.failures
    _same(state, _without(made, set()))


def test_a_client_without_keys_is_asked_for_new_ones_after_two_sums(federation: Build) -> None:
    made = _built(federation)
    grid, within = _secured(made)
    within.silent = {KEYS: {2}}
    missing = []
    for _, record in rounds(grid, made.strategy, made.rules, made.state, 4):
        within.silent = {}
        missing.append([failure.client for failure in record.failures])
    assert missing == [[2], [2], [], []]


def test_an_error_at_one_client_is_its_own_failure(federation: Build) -> None:
    made = _built(federation)
    train = made.handlers()[TRAIN]

    def broken(tasks: Tasks, store: Store) -> Replies:
        if 3 in tasks.clients:
            raise ClientError("its disk is full")
        return train(tasks, store)

    ill = made.with_handlers({TRAIN: broken})
    grid, _ = secured(made.grid.clients(), {**made.handlers(), TRAIN: broken}, most_rows=64)
    state, record = one_round(grid, made.strategy, made.rules, made.state)
    assert [(failure.client, failure.reason) for failure in record.failures] == [(3, "ClientError: its disk is full")]
    _same(state, one_round(ill.grid, made.strategy, made.rules, made.state)[0])


def test_what_is_beyond_the_bound_of_a_sum_leaves_no_client(federation: Build) -> None:
    made = _built(federation)
    grid, within = secured(made.grid.clients(), made.handlers(), most_rows=45, colluding=0)
    state, record = one_round(grid, made.strategy, made.rules, made.state)
    reasons = {failure.client: failure.reason for failure in record.failures}
    assert list(reasons) == [3]
    assert (
        "rows must be finite and no larger than 45 to be added under masks, got 60; nothing of it has left"
        in reasons[3]
    )
    _same(state, _without(made, {3}))
    assert [len(reply) for reply in within.passed if reply.kind == TRAIN] == [1] * 4


def _told_otherwise(tasks: Tasks, thorough: bool) -> Tasks:
    """Return tasks that make a client learn nothing, so that a sum would be the others' alone."""
    shared = {**tasks.shared, "rate": np.array(1e-30)}
    if thorough:
        words = Words.from_json(str(shared[WORDS]))
        words = replace(words, about=told_alike(replace(tasks, shared=shared)).hex())
        shared |= {WORDS: np.array(words.to_json()), f"{SUM}layout": np.frombuffer(words.digest, np.uint8)}
    return replace(tasks, shared=shared)


@pytest.mark.parametrize(
    ("thorough", "why"), [(False, "others were asked something else"), (True, "1 have given shares")]
)
def test_a_server_that_asks_others_something_else_learns_no_sum(thorough: bool, why: str, federation: Build) -> None:
    """Show that a sum of one client's update, where all others were told to learn nothing, does not come out."""
    made = _built(federation)
    grid, within = _secured(made, colluding=0)
    send = within.send

    def cheating(tasks: Tasks) -> None:
        if tasks.kind != TRAIN:
            send(tasks)
            return
        send(tasks.take(tasks.clients == 2))
        send(_told_otherwise(tasks.take(tasks.clients != 2), thorough))

    within.send = cheating  # type: ignore[method-assign]
    with pytest.raises(QuorumError, match=why):
        one_round(grid, made.strategy, made.rules, made.state)


def test_no_client_counts_a_hundred_times_as_much_as_another(federation: Build) -> None:
    """Show it where all are told so, and where they are told that all count alike, but for the one."""
    made, factors = _built(federation), np.array([1.0, 1.0, 1000.0, 1.0, 1.0])
    grid, _ = _secured(made)
    loud = replace(made.strategy, selector=_Loud(factors))
    with pytest.raises(QuorumError, match="at most 100 times as much as another"):
        one_round(grid, loud, made.rules, made.state)
    grid, within = _secured(made, colluding=0)
    send = within.send

    def cheating(tasks: Tasks) -> None:
        send(replace(tasks, own={**tasks.own, "factor": factors}) if tasks.kind == TRAIN else tasks)

    within.send = cheating  # type: ignore[method-assign]
    _, record = one_round(grid, made.strategy, made.rules, made.state)
    assert [failure.client for failure in record.failures] == [2]
    assert "another factor of this client" in record.failures[0].reason


class _Loud(Everyone):
    """Choose everybody, and let each count as often as it is told."""

    def __init__(self, factors: Float64Array) -> None:
        super().__init__()
        object.__setattr__(self, "factors", factors)

    def choose(self, view: Any, answers: Any, rng: Any) -> Any:
        return replace(super().choose(view, answers, rng), factors=object.__getattribute__(self, "factors"))
