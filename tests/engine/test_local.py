from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from werkbund.aggregation import FedAvg
from werkbund.core import Replies, Tasks
from werkbund.core.rng import keys
from werkbund.core.store import RowStore
from werkbund.engine import LocalWork
from werkbund.engine.kinds import EVALUATE, TRAIN
from werkbund.learner import TrainingPlan, count_scores
from werkbund.selection.questions import HOLD, LOSS


def _train(federation: Any, clients: list[int], factors: list[float] | None = None) -> Replies:
    numbers = np.array(clients)
    own = {"factor": np.array(factors or [1.0] * len(clients)), "key": keys(0, "training", 1, numbers)}
    shared = {"weights": federation.state.weights, "rate": np.ones(())}
    return federation.work.train(Tasks(TRAIN, 1, numbers, shared, own), RowStore())  # type: ignore[no-any-return]


def test_an_update_is_weighted_by_its_rows(federation: Any) -> None:
    by_rows = _train(federation(), [0, 1, 2])
    alike = _train(federation(aggregator=FedAvg("equal", momentum=0.0)), [0, 1, 2])
    assert by_rows.sums["weight"].tolist() == [20, 33, 7]
    assert alike.sums["weight"].tolist() == [1, 1, 1]
    np.testing.assert_allclose(by_rows.sums["update"], alike.sums["update"] * [[20], [33], [7]], rtol=1e-5)


def test_a_selectors_factor_multiplies_update_and_weight(federation: Any) -> None:
    plain, doubled = _train(federation(), [0, 2]), _train(federation(), [0, 2], [1.0, 4.0])
    for name in ("update", "weight"):
        np.testing.assert_array_equal(doubled.sums[name][1], 4 * plain.sums[name][1])
    for name in ("loss", "rows"):
        np.testing.assert_array_equal(doubled.sums[name], plain.sums[name])


@pytest.mark.parametrize("weighting", ["examples", "equal"])
def test_a_client_without_rows_counts_nothing(weighting: Any, federation: Any) -> None:
    reply = _train(federation([10, 0], aggregator=FedAvg(weighting, momentum=0.0)), [0, 1])
    assert reply.sums["weight"][1] == 0
    assert not reply.sums["update"][1].any()
    assert reply.sums["loss"][1] == 0


@pytest.mark.parametrize("kind", ["logistic", "residual-mlp"])
def test_the_weights_that_came_in_are_the_ones_that_are_scored(kind: str, federation: Any) -> None:
    built = federation(kind=kind)
    reply = _train(built, [0, 1, 2])
    for split, table in (("validation", built.splits.validation), ("test", built.splits.test)):
        logits = built.work.trainer.score(built.state.weights, table.features)
        for name, array in count_scores(logits, table.labels, table.modes, table.offsets[[0, -1]]).items():
            np.testing.assert_array_equal(reply.pooled[f"{split}.{name}"], array[0])


@pytest.mark.parametrize("weight", [1.0, 9.0])
@pytest.mark.parametrize(("kind", "batched"), [("logistic", True), ("mlp", True), ("mlp", False)])
def test_losses_that_are_told_are_those_that_are_trained(
    kind: str, batched: bool, weight: float, federation: Any
) -> None:
    """Steps of no length: the loss while training is then that of the weights that came, in every way of training."""
    plan = TrainingPlan(learning_rate=1e-30, weight_decay=0.0, positive_weight=weight)
    built = federation(kind=kind, plan=plan, batched=batched)
    needs = np.array(["loss", "loss_rms", "train_loss"])
    shared = {"weights": built.state.weights, "rate": np.ones(()), "needs": needs}
    clients = np.arange(3)
    own = {"factor": np.ones(3), "key": keys(0, "training", 1, clients)}
    told = built.work.train(Tasks(TRAIN, 1, clients, shared, own), RowStore()).clear
    np.testing.assert_allclose(told["loss"], told["train_loss"], rtol=1e-5)
    held = built.work.hold(Tasks(HOLD, 1, clients, shared, own), RowStore()).clear
    asked = built.work.loss(Tasks(LOSS, 1, clients, shared, own), RowStore()).clear
    assert held["loss"].tolist() == asked["loss"].tolist() == told["loss"].tolist()
    assert (told["loss_rms"] >= told["loss"]).all()


def test_a_loss_over_a_few_rows_is_weighted_as_the_one_over_all(federation: Any) -> None:
    built = federation(plan=TrainingPlan(positive_weight=9.0))
    clients = np.arange(3)
    shared = {"weights": built.state.weights, "rate": np.ones(()), "most": np.array(10_000)}
    own = {"key": keys(0, "probe", 1, clients)}
    few = built.work.loss(Tasks(LOSS, 1, clients, shared, own), RowStore()).clear["loss"]
    shared.pop("most")
    every = built.work.loss(Tasks(LOSS, 1, clients, shared, own), RowStore()).clear["loss"]
    np.testing.assert_allclose(few, every)


def test_counts_come_for_each_client_where_that_is_asked(federation: Any) -> None:
    built = federation()
    clients = np.array([0, 2])
    shared = {"weights": built.state.weights, "each": np.ones((), np.bool_)}
    reply = built.work.evaluate(Tasks(EVALUATE, 1, clients, shared), RowStore())
    added = built.work.evaluate(Tasks(EVALUATE, 1, clients, {"weights": built.state.weights}), RowStore())
    assert reply.pooled == {}
    assert len(reply.sums["test.histogram"]) == 2
    np.testing.assert_array_equal(reply.sums["test.histogram"].sum(axis=0), added.pooled["test.histogram"])


def test_some_clients_answer_what_all_would(federation: Any) -> None:
    built = federation([20, 0, 33, 1, 7], batched=False)
    everybody, some = _train(built, [0, 1, 2, 3, 4]), _train(built, [1, 2, 4])
    for name, array in some.sums.items():
        np.testing.assert_allclose(array, everybody.sums[name][[1, 2, 4]], rtol=1e-5, atol=1e-7)


def test_evaluation_counts_the_same_as_training(federation: Any) -> None:
    built = federation()
    reply = built.work.evaluate(Tasks(EVALUATE, 1, np.arange(3), {"weights": built.state.weights}), RowStore())
    trained = _train(built, [0, 1, 2])
    assert set(trained.sums) - set(reply.sums) == {"update", "weight", "loss", "rows"}
    for name, array in reply.sums.items():
        np.testing.assert_array_equal(array, trained.sums[name])


def test_what_comes_in_is_left_as_it_was(federation: Any) -> None:
    built = federation()
    before = built.state.weights.copy()
    _train(built, [0, 1, 2])
    np.testing.assert_array_equal(built.state.weights, before)


@pytest.mark.parametrize("kind", ["logistic", "residual-mlp"])
def test_in_the_plain_way_many_clients_score_with_the_bits_of_one_who_is_alone(kind: str, federation: Any) -> None:
    built = federation([40, 0, 66, 2, 14], kind=kind, batched=False)
    assert built.work.trainer.way == "plain"
    shared = {"weights": built.state.weights, "each": np.ones((), np.bool_)}
    together = built.work.evaluate(Tasks(EVALUATE, 1, np.arange(5), shared), RowStore())
    for client in range(5):
        alone = LocalWork(built.splits.only(client), built.work.trainer, built.work.weighting)
        here = alone.evaluate(Tasks(EVALUATE, 1, np.zeros(1, np.int64), shared), RowStore())
        for name, array in together.sums.items():
            np.testing.assert_array_equal(array[client : client + 1], here.sums[name])
