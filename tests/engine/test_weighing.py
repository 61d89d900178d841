"""Declared factors decide what updates count, and nothing that a client says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from werkbund.aggregation import Agnostic, FedAvg, FedDyn, FedNova, build_aggregator
from werkbund.config import check_config
from werkbund.core import ConfigError, Replies, Tasks
from werkbund.core.store import Store
from werkbund.core.types import Choice
from werkbund.engine import rounds
from werkbund.engine.kinds import TRAIN
from werkbund.engine.weighing import declared_factors, weighed
from werkbund.learner import TrainingPlan
from werkbund.learner.batches import num_steps
from werkbund.learner.plan import accumulations
from werkbund.selection import build_selector

FACTORS = np.array([1.0, 0.5, 3.0])
BY_FACTOR = FedAvg("factor", momentum=0.0)


def _one(built: Any) -> Any:
    *_, (state, record) = rounds(built.grid, built.strategy, built.rules, built.state, 1)
    return state, record


def test_updates_count_by_the_declared_factors(federation: Any) -> None:
    each = []
    for client in range(3):
        alone = federation(aggregator=FedAvg("equal", momentum=0.0), left_out=tuple({0, 1, 2} - {client}))
        each.append(_one(alone)[0].weights)
    state, _ = _one(federation(aggregator=BY_FACTOR, facts={"factor": FACTORS}))
    np.testing.assert_allclose(state.weights, FACTORS @ np.stack(each) / FACTORS.sum(), atol=1e-6)


@pytest.mark.parametrize("rule", [BY_FACTOR, Agnostic()], ids=lambda rule: rule.name)
def test_a_client_that_says_it_counts_more_is_refused_by_name(rule: Any, federation: Any) -> None:
    rows = np.array([20.0, 33.0, 7.0])
    built = federation(aggregator=rule, facts={"factor": FACTORS}, training_rows=rows)

    def boasting(tasks: Tasks, store: Store) -> Replies:
        replies: Replies = built.work.train(tasks, store)
        replies.sums["weight"][1] *= 2
        return replies

    _, record = _one(built.with_handlers({TRAIN: boasting}))
    (failure,) = record.failures
    assert failure.client == 1
    assert "its update weighs" in failure.reason


def test_where_clients_keep_their_updates_all_count_alike() -> None:
    cohort, ones = np.arange(3), np.ones(3)
    choice = Choice(cohort, ones, ones, ("",) * 3)
    assert weighed(choice, FedDyn(), {}, {}, 3) is choice
    for odd in (replace(choice, factors=ones * 2), replace(choice, equal=False)):
        with pytest.raises(ConfigError, match="lets all updates count alike, such as all or uniform"):
            weighed(odd, FedDyn(), {}, {}, 3)


def _accumulated(rows: Any, rate: float) -> Any:
    return accumulations(TrainingPlan(learning_rate=rate), num_steps(rows.astype(np.int64), TrainingPlan()))


@pytest.mark.parametrize("factor", [0.5, 1.001, 1000.0])
@pytest.mark.parametrize("known", [True, False])
def test_a_client_that_says_it_took_other_steps_than_its_rows_give_is_refused_by_name(
    known: bool, factor: float, federation: Any
) -> None:
    rows = np.array([330.0, 200.0, 70.0])
    said = rows if known else np.array([330.0, np.nan, 70.0])
    built = federation((330, 200, 70), aggregator=FedNova(), training_rows=said, added={"accumulation": _accumulated})

    def boasting(tasks: Tasks, store: Store) -> Replies:
        replies: Replies = built.work.train(tasks, store)
        replies.sums["accumulation"][1] *= factor
        return replies

    _, record = _one(built.with_handlers({TRAIN: boasting}))
    refused = {failure.client: failure.reason for failure in record.failures if failure.client == 1}
    if known or factor > 2:  # where nobody knows its rows, it may have as many as the client with the most
        assert "its accumulation is" in refused[1]
    else:
        assert not refused


@pytest.mark.parametrize("rule", [BY_FACTOR, Agnostic()], ids=lambda rule: rule.name)
@pytest.mark.parametrize("name", ["md", "uniform-unbiased"])
def test_a_selector_that_weighs_itself_is_refused(name: str, rule: Any, federation: Any) -> None:
    facts = {"factor": FACTORS, "rows": np.array([20, 33, 7])}
    built = federation(aggregator=rule, facts=facts, selector=build_selector(name, count=2))
    with pytest.raises(ConfigError, match="weighs updates itself"):
        _one(built)


def test_factors_that_nobody_declared_are_asked_for(federation: Any) -> None:
    with pytest.raises(ConfigError, match=r"clients\.factors must give clients their factors"):
        _one(federation(aggregator=BY_FACTOR))


def test_a_name_that_is_no_clients_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"clients\.factors must name clients, got 'plant-9'; did you mean plant-1\?"):
        declared_factors({"plant-9": 2.0}, ["plant-1", "works"])


@pytest.mark.parametrize("factor", [0.0, -1.0, 1001.0, float("nan")])
def test_a_factor_is_above_0_and_bounded(factor: float) -> None:
    with pytest.raises(ConfigError, match=r"clients\.factors"):
        check_config({"clients": {"factors": {"a": factor}}})


@pytest.mark.parametrize("name", ["geometric-median", "scaffold"])
def test_a_rule_that_must_know_the_whole_weight_weighs_by_rows_or_alike(name: str) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.aggregation\.weighting must be .*examples.*, got 'factor'"):
        build_aggregator(name, weighting="factor")
