"""Rounds of rules that bear so many hostile clients: what they are told, and when they are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.conftest import Federation
from werkbund.aggregation import Bulyan, CoordinateMedian, FedAvg, Krum, TrimmedMean, ValidationWeights
from werkbund.core import ClientError, ConfigError, QuorumError, Replies, Tasks
from werkbund.core.arrays import Arrays, Float32Array
from werkbund.core.store import Store
from werkbund.engine import Strategy, one_round
from werkbund.engine.kinds import TRAIN
from werkbund.engine.pacing import Pace
from werkbund.privacy import Departure, Stack
from werkbund.selection import CohortSize, Uniform

SIZES = (20, 33, 7, 41, 12)


class Hidden:
    """Let the server see sums alone."""

    on: ClassVar[tuple[str, ...]] = ("update",)
    sums_only: ClassVar[bool] = True

    def leave(self, answers: Arrays, departure: Departure) -> Arrays:
        return {}

    def unwind(self, total: Arrays, departure: Departure) -> Arrays:
        return {}


def _without(built: Federation, silent: int) -> Federation:
    """Return a federation of which one client does not answer."""

    def train(tasks: Tasks, store: Store) -> Replies:
        if silent in tasks.clients:
            raise ClientError("is away")
        return built.work.train(tasks, store)

    return built.with_handlers({TRAIN: train})


def _done(built: Federation) -> Any:
    return one_round(built.grid, built.strategy, built.rules, built.state)


def test_where_too_few_answer_for_the_rule_the_round_is_below_its_quorum(federation: Any) -> None:
    with pytest.raises(QuorumError) as caught:
        _done(_without(federation(SIZES, aggregator=Krum(hostile=1)), 3))
    error = caught.value
    assert (error.needed, error.answered, set(error.reasons)) == (5, 4, {"plant 3"})
    assert "needs 5 usable answers (strategy.aggregation.hostile), got 4: plant 3: ClientError: is away" in str(error)
    assert str(error).endswith("Mend these clients or lower strategy.aggregation.hostile.")
    state, record = _done(_without(federation(SIZES, aggregator=Krum(hostile=0)), 3))
    assert state.round == 1
    assert [failure.client for failure in record.failures] == [3]


def test_a_share_of_those_asked_stays_where_few_answer(federation: Any) -> None:
    rule = TrimmedMean(hostile=0.4)
    built = _without(federation(SIZES, aggregator=rule), 0)
    assert rule.expected(5) == 2
    with pytest.raises(QuorumError, match=r"needs 5 usable answers \(strategy\.aggregation\.hostile\), got 4"):
        _done(built)


def test_a_cohort_that_is_too_small_is_not_asked_at_all(federation: Any) -> None:
    built = federation(SIZES, aggregator=Krum(hostile=1), selector=Uniform(CohortSize(count=4)))

    def train(tasks: Tasks, store: Store) -> Replies:
        raise AssertionError("asked")

    with pytest.raises(ConfigError, match=r"round 1 has too few updates: .*'krum' bears 0 hostile among 4 updates"):
        _done(built.with_handlers({TRAIN: train}))


@pytest.mark.parametrize("updates", [4, 5])
def test_of_a_round_that_closes_early_as_many_as_it_waits_for_must_do(updates: int, federation: Any) -> None:
    built = federation(SIZES, aggregator=Krum(hostile=1))
    built = replace(built, strategy=replace(built.strategy, pace=Pace("first", updates)))
    if updates == 5:
        built.strategy.check(5, False)
        assert _done(built)[0].round == 1
        return
    with pytest.raises(ConfigError, match="bears 0 hostile among 4 updates at most"):
        built.strategy.check(5, False)
    with pytest.raises(ConfigError, match=r"round 1 has too few updates: .* bears 0 hostile among 4 updates at most"):
        _done(built)


@pytest.mark.parametrize(("count", "clients"), [(None, 4), (4, 10)])
def test_before_a_run_too_few_clients_are_refused(count: int | None, clients: int) -> None:
    strategy = Strategy(Uniform(CohortSize(count=count)), Krum(hostile=1))
    with pytest.raises(ConfigError, match="'krum' bears 0 hostile among 4 updates at most"):
        strategy.check(clients, False)
    Strategy(Uniform(CohortSize(count=count)), FedAvg()).check(clients, False)
    Strategy(Uniform(), Krum(hostile=1)).check(10, False)


def test_a_rule_that_judges_updates_needs_rows_of_the_server_before_a_run() -> None:
    strategy = Strategy(Uniform(), ValidationWeights())
    with pytest.raises(ConfigError, match=r"got one that judges by them; set evaluation\.server_rows to a table"):
        strategy.check(10, False)
    strategy.check(10, True)


def test_a_rule_that_judges_updates_is_handed_the_servers_score(federation: Any) -> None:
    seen: list[Float32Array] = []

    def score(weights: Float32Array) -> float:
        seen.append(weights)
        return -float(np.linalg.norm(weights))

    built = federation(SIZES, aggregator=ValidationWeights(), score=score)
    _done(built)
    assert len(seen) == len(SIZES)


def test_where_sums_alone_may_be_seen_it_is_refused_before_the_first_round() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.aggregation must see every update in clear"):
        Strategy(Uniform(), CoordinateMedian(), Stack((Hidden(),)))


def test_whose_update_is_none_is_of_the_hostile_ones_and_ends_no_round(federation: Any) -> None:
    built = federation((20, 33, 17, 41, 22, 18, 25, 30), aggregator=Bulyan(hostile=1))

    def train(tasks: Tasks, store: Store) -> Replies:
        replies = built.work.train(tasks, store)
        update = replies.sums["update"]
        far = np.where(tasks.clients == 6, np.float32(1e9), np.float32(1.0))
        made: Replies = replace(replies, sums={**replies.sums, "update": update * far[:, None]})
        return made

    state, record = _done(built.with_handlers({TRAIN: train}))
    assert [failure.client for failure in record.failures] == [6]
    assert "it is no update" in record.failures[0].reason
    assert state.round == 1
    rule = Bulyan(hostile=1)
    assert (rule.least(8), rule.least(8, num_found=1)) == (7, 3)
    with pytest.raises(QuorumError, match="needs 7 usable answers"):
        _done(built.with_handlers({TRAIN: _two_away(built)}))


def _two_away(built: Federation) -> Any:
    def train(tasks: Tasks, store: Store) -> Replies:
        if {2, 3} & {*tasks.clients.tolist()}:
            raise ClientError("is away")
        replies: Replies = built.work.train(tasks, store)
        return replies

    return train
