"""What a run promises of a unit: noise that follows from a target, what a round costs, and what does not go with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from werkbund.aggregation import build_aggregator
from werkbund.config import Config, check_config
from werkbund.core.errors import ConfigError
from werkbund.engine.promise import NOT_CHARGED, Promise, check_promise
from werkbund.evaluation.stopping import PrivacyBudget, Progress
from werkbund.federation.wiring import promise_of, stop_rules
from werkbund.learner import TrainingPlan
from werkbund.privacy.accounting import GaussianRelease, epsilon
from werkbund.privacy.shares import NoiseShare
from werkbund.selection import build_selector

ROWS = np.array([400, 1000, 0, math.nan])
PLAN = TrainingPlan(batch_size=100, epochs=2)


def _promise(noise: float | None = None, target: float | None = None, unit: Any = "row", rounds: int = 10) -> Promise:
    return Promise(unit, 1.0, 1e-5, noise, target, PLAN, rounds)


def _config(**sections: Any) -> Config:
    return check_config({"data": {"label": "failed"}, **sections})


def test_a_round_is_so_many_steps_with_the_chance_of_a_batch() -> None:
    assert _promise(1.5).release(400, 3) == GaussianRelease(1.5, 24, 0.25)
    assert _promise(1.5).release(50, 1) == GaussianRelease(1.5, 2, 1.0)
    assert _promise(1.5, unit="plant").release(400, 3) == GaussianRelease(1.5, 3, 1.0)


def test_noise_follows_from_a_target_over_the_planned_rounds() -> None:
    promise = _promise(target=3.0)
    for rows in (400, 1000):
        spent = promise.epsilon(rows, promise.rounds)
        assert spent == epsilon([GaussianRelease(promise.noise_at(rows), 20 * rows // 100, 100 / rows)], 1e-5)
        assert 2.98 < spent <= 3.0
        assert promise.epsilon(rows, 0) == 0
    assert promise.noise_at(400) > promise.noise_at(1000)  # a larger share of the rows is in each step
    assert promise.most_trainings(ROWS) == {0: 10, 1: 10}


def test_with_noise_and_a_target_a_client_trains_as_long_as_it_is_within_it() -> None:
    promise, rows = _promise(noise=1.2, target=5.0, rounds=20), 400
    for most in promise.most_trainings(ROWS[:1]).values():
        assert promise.epsilon(rows, most) <= 5.0 < promise.epsilon(rows, most + 1)


def test_what_is_told_names_unit_relation_delta_and_what_is_not_charged() -> None:
    told = _promise(noise=2.0).told(ROWS, {0: 4, 1: 2}, ["a", "b", "c", "d"])
    assert (told["unit"], told["relation"], told["delta"]) == ("row", "add or remove one", 1e-5)
    assert told["not_charged"] == list(NOT_CHARGED)
    by_name = {one["client"]: one for one in told["clients"]}
    assert by_name["a"]["epsilon"] == _promise(noise=2.0).epsilon(400, 4)
    assert by_name["c"]["epsilon"] is by_name["d"]["epsilon"] is None  # nobody knows their rows
    assert told["epsilon"] == max(by_name["a"]["epsilon"], by_name["b"]["epsilon"])
    unprotected = _promise(noise=0.0).told(ROWS[:1], {0: 1}, ["a"])
    assert unprotected["epsilon"] is None
    assert unprotected["clients"][0]["epsilon"] == math.inf


def test_a_configuration_without_a_unit_promises_nothing() -> None:
    assert promise_of(_config()) is None
    promise = promise_of(_config(privacy={"unit": "machine", "target_epsilon": 4.0, "clip": 5.0}))
    assert promise is not None
    assert (promise.unit, promise.clip, promise.delta, promise.rounds) == ("machine", 5.0, 1e-3, 150)


def test_the_budget_is_a_rule_to_stop_by() -> None:
    privacy = {"unit": "row", "target_epsilon": 5.0, "noise_multiplier": 1.2}
    config = _config(privacy=privacy, federation={"rounds": 20}, training={"batch_size": 100, "epochs": 2})
    most = _promise(noise=1.2, target=5.0, rounds=20).most_trainings(ROWS[:1])
    budget = stop_rules(config, 20, ROWS[:1], ("a",))[-1]
    assert budget == PrivacyBudget(most, ("a",), 5.0)
    assert budget.reason(Progress(trainings={0: most[0] - 1})) is None
    assert "a has trained in" in str(budget.reason(Progress(trainings={0: most[0]})))


@pytest.mark.parametrize("unit", ["row", "machine", "plant"])
def test_with_shared_noise_a_round_is_one_sum_over_all_units_whatever_the_batches(unit: Any) -> None:
    promise = Promise(unit, 1.0, 1e-5, None, 8.0, PLAN, 50, shared=True)
    assert promise.noise_at(400) == promise.noise_at(1000) == pytest.approx(4.5091, rel=0.006)  # by the reference
    assert promise.release(400, 50) == NoiseShare(promise.noise_at(1)).release(50)
    assert 7.97 < promise.epsilon(400, 50) <= 8.0
    assert promise.share == NoiseShare(promise.noise_at(1))
    assert "share of Skellam noise" in promise.told(ROWS, {0: 50}, ["a", "b", "c", "d"])["mechanism"]
    stopped = Promise(unit, 1.0, 1e-5, 4.6, 8.0, PLAN, 90, shared=True).most_trainings(ROWS[:1])
    assert 50 <= stopped[0] <= 53


def test_shared_noise_of_rows_fits_rules_in_which_rows_count_alike() -> None:
    promise, everyone = Promise("row", 1.0, 1e-5, 1.0, None, PLAN, 10, shared=True), build_selector("all")
    check_promise(promise, everyone, build_aggregator("fedadam"))
    with pytest.raises(ConfigError, match=r"with privacy\.shared_noise all rows count alike"):
        check_promise(promise, everyone, build_aggregator("fedavg", weighting="equal"))


TARGET = {"target_epsilon": 8.0}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no noise": ({"privacy": {"unit": "row"}}, "a usual choice is target_epsilon = 8"),
    "no unit": ({"privacy": TARGET}, "privacy.unit must be row, machine or plant"),
    "none of both": ({"privacy": {"unit": "row", **TARGET, "noise_multiplier": 0.0}}, "must be > 0 with"),
    "trees": ({"privacy": {"unit": "row", **TARGET}, "model": {"kind": "trees"}}, "cells of trees are not noised"),
    "first weights": ({"privacy": {"unit": "row", **TARGET}, "model": {"initial": "client"}}, "model.initial must be"),
    "balanced": (
        {"privacy": {"unit": "row", **TARGET}, "training": {"positive_weight": "balanced"}},
        "positive_weight must be none or a number, got 'balanced'",
    ),
    "two bounds": ({"privacy": {"unit": "row", **TARGET}, "training": {"clip_norm": 1.0}}, "privacy.clip bounds"),
    "clusters": (
        {"privacy": {"unit": "row", **TARGET}, "strategy": {"clusters": {"name": "ifca"}}},
        "strategy.clusters.name must be none, got 'ifca'",
    ),
    "own parts": (
        {"privacy": {"unit": "row", **TARGET}, "strategy": {"personal": {"name": "ditto"}}},
        "strategy.personal.name must be none, got 'ditto'",
    ),
    "a bound of rows that follows": (
        {"privacy": {"unit": "row", **TARGET, "adaptive_clip": True}},
        "adaptive_clip must be false unless privacy.unit is plant",
    ),
    "shares without sums": (
        {"privacy": {"unit": "plant", **TARGET, "shared_noise": True}},
        "privacy.secure_sums must be true with privacy.shared_noise",
    ),
    "shares of nothing": ({"privacy": {"secure_sums": True, "shared_noise": True}}, "shared_noise must be false"),
    "shares that the server knows": (
        {"privacy": {"unit": "row", **TARGET, "secure_sums": True, "shared_noise": True, "seeded": True}},
        "shared_noise must be false without privacy.unit, and with privacy.seeded",
    ),
    "shares and several steps": (
        {"privacy": {"unit": "row", **TARGET, "secure_sums": True, "shared_noise": True}, "training": {"epochs": 2}},
        "a round is one step over all units",
    ),
    "pace": (
        {"privacy": {"unit": "plant", **TARGET}, "strategy": {"pace": {"close": "first", "updates": 2}}},
        "strategy.pace.close must be all with privacy.unit = 'plant', got 'first'",
    ),
    "contributions": (
        {"privacy": {"unit": "plant", **TARGET}, "evaluation": {"contributions": True}},
        "both read single updates",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_with_noise_is_refused_when_the_configuration_is_read(name: str) -> None:
    sections, words = REFUSED[name]
    with pytest.raises(ConfigError, match=words):
        _config(**sections)


@pytest.mark.parametrize("unit", ["row", "machine"])
@pytest.mark.parametrize(
    ("selector", "aggregator", "words"),
    [
        ("oort", "fedavg", "needs no loss_rms with privacy.unit = '.*', got 'oort': nothing noises it; choose all"),
        ("active", "fedavg", "needs no loss"),
        ("pow-d", "fedavg", "needs no loss"),
        ("k-fed", "fedavg", "needs no centroids"),
        ("ocs", "fedavg", "needs no hold, norm"),
        ("all", "scaffold", "got 'scaffold': what clients add to their updates is not noised; choose fedavg"),
        ("all", "qfedavg", "got 'qfedavg'"),
        ("all", "afl", "got 'afl'"),
    ],
)
def test_methods_that_learn_more_of_rows_are_refused_by_what_they_declare(
    unit: str, selector: str, aggregator: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        check_promise(_promise(1.0, unit=unit), build_selector(selector), build_aggregator(aggregator))


@pytest.mark.parametrize("aggregator", ["fedavg", "fedadam", "median", "krum"])
@pytest.mark.parametrize("selector", ["all", "uniform", "md", "divfl"])
def test_methods_that_read_noised_updates_alone_go_with_units_at_plants(selector: str, aggregator: str) -> None:
    check_promise(_promise(1.0), build_selector(selector), build_aggregator(aggregator))


def test_noise_at_the_server_fits_sums_in_which_all_count_alike() -> None:
    promise, everyone = _promise(1.0, unit="plant"), build_selector("all")
    check_promise(promise, everyone, build_aggregator("fedavg", weighting="equal"))
    for aggregator in ("fedavg", "median"):
        with pytest.raises(ConfigError, match="weighting = 'equal'"):
            check_promise(promise, everyone, build_aggregator(aggregator))
    with pytest.raises(ConfigError, match="needs no update"):
        check_promise(promise, build_selector("divfl"), build_aggregator("fedavg", weighting="equal"))
