from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from werkbund.core import ClientTable
from werkbund.core.arrays import Float32Array
from werkbund.core.rng import keys
from werkbund.learner import (
    NETWORKS,
    CohortTrainer,
    ModelSpec,
    TrainedCohort,
    TrainingPlan,
    build_network,
    load_weights,
    logits_of,
    weights_of,
)
from werkbund.learner.batches import draw_batches
from werkbund.learner.fused import fused_available

SIZES = [0, 1, 7, 32, 33, 65, 200]
SPECS = [
    ModelSpec("logistic"),
    ModelSpec("mlp", {"hidden": [16, 8]}),
    ModelSpec("mlp", {"hidden": [16], "activation": "gelu"}),
    ModelSpec("mlp", {"hidden": []}),
    ModelSpec("residual-mlp", {"width": 12, "depth": 1, "activation": "silu"}),
]
# Few steps and small ones: where a gradient is nearly 0, Adam turns its rounding error into a step of any size up to
# the learning rate, so that two right answers may lie that far apart.
PLANS = [
    TrainingPlan("sgd", 0.1),
    TrainingPlan("sgd", 0.05, momentum=0.9, weight_decay=0.01, epochs=2),
    TrainingPlan("adam", 1e-3, weight_decay=0.01),
    TrainingPlan("adamw", 1e-3, weight_decay=0.1, steps=3, batch_size=16),
    TrainingPlan("sgd", 0.1, steps=4, clip_norm=0.3, positive_weight=5.0, proximal=0.5),
]
WAYS = ["compiled", "batched", "plain"]
DATA_DEPENDENT = """
import torch
from torch import nn


class Net(nn.Linear):
    def __init__(self, num_features):
        super().__init__(num_features, 1)

    def forward(self, rows):
        scale = 1.0 if rows.abs().max().item() < 1e9 else 0.5
        return scale * super().forward(rows)
"""


def _train(
    spec: ModelSpec,
    plan: TrainingPlan,
    table: ClientTable,
    clients: list[int] | None = None,
    way: str = "compiled",
    start: Float32Array | None = None,
    round: int = 1,
) -> tuple[TrainedCohort, CohortTrainer]:
    network = build_network(spec, table.num_features, 0)
    trainer = CohortTrainer(network, plan, table.num_features, way != "plain", way == "compiled")
    cohort = np.arange(table.num_clients) if clients is None else np.array(clients)
    begin = weights_of(network) if start is None else start
    return trainer.train(table, cohort, begin, keys(0, "training", round, cohort)), trainer


@pytest.mark.parametrize("way", ["compiled", "batched"])
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.optimizer)
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_the_cohort_trainer_is_the_plain_loop(spec: ModelSpec, plan: TrainingPlan, way: str, make_table: Any) -> None:
    table = make_table(SIZES)
    together, trainer = _train(spec, plan, table, way=way)
    plain, _ = _train(spec, plan, table, way="plain")
    assert trainer.way != "plain"
    np.testing.assert_allclose(together.weights, plain.weights, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(together.loss, plain.loss, rtol=1e-4)


def test_chains_are_compiled_where_they_can_be_and_others_are_not(make_table: Any) -> None:
    table = make_table([3])
    compiled = "compiled" if fused_available() else "batched"
    ways = {spec.kind: _train(spec, PLANS[0], table)[1].way for spec in SPECS}
    assert ways == {"logistic": compiled, "mlp": compiled, "residual-mlp": "batched"}


def test_every_shipped_network_is_compared() -> None:
    assert {spec.kind for spec in SPECS} == set(NETWORKS)
    assert {plan.optimizer for plan in PLANS} == {"sgd", "adam", "adamw"}


@pytest.mark.parametrize("way", WAYS)
def test_a_client_without_rows_keeps_its_weights_and_has_no_loss(way: str, make_table: Any) -> None:
    table = make_table([5, 0])
    start = weights_of(build_network(SPECS[1], 4, 0))
    trained, _ = _train(SPECS[1], PLANS[0], table, way=way, start=start)
    np.testing.assert_array_equal(trained.weights[1], start)
    assert np.isnan(trained.loss[1])
    assert not np.array_equal(trained.weights[0], start)


@pytest.mark.parametrize("way", WAYS)
def test_a_cohort_without_any_rows_is_no_error(way: str, make_table: Any) -> None:
    trained, _ = _train(SPECS[0], PLANS[0], make_table([0, 0]), way=way)
    assert np.isnan(trained.loss).all()


@pytest.mark.parametrize("way", WAYS)
def test_the_rest_of_the_cohort_changes_nothing(way: str, make_table: Any) -> None:
    table = make_table(SIZES)
    together, _ = _train(SPECS[1], PLANS[1], table, way=way)
    for client in (1, 3, 6):
        alone, _ = _train(SPECS[1], PLANS[1], table, [client], way=way)
        np.testing.assert_allclose(together.weights[client], alone.weights[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("way", ["compiled", "plain"])
def test_one_by_one_the_rest_of_the_cohort_does_not_change_a_bit(way: str, make_table: Any) -> None:
    if way == "compiled" and not fused_available():
        pytest.skip("the compiled loop needs Numba")
    table = make_table(SIZES)
    together, _ = _train(SPECS[1], PLANS[1], table, way=way)
    some, _ = _train(SPECS[1], PLANS[1], table, [2, 5], way=way)
    np.testing.assert_array_equal(together.weights[[2, 5]], some.weights)


def test_training_twice_gives_the_same_bits_and_leaves_the_table_alone(make_table: Any) -> None:
    table = make_table(SIZES)
    copy = table.features.copy()
    first, second = (_train(SPECS[4], PLANS[2], table)[0] for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)
    np.testing.assert_array_equal(table.features, copy)


@pytest.mark.parametrize("way", WAYS)
def test_each_client_may_start_elsewhere(way: str, make_table: Any) -> None:
    table = make_table([20, 33, 7])
    starts = np.stack([weights_of(build_network(SPECS[1], 4, seed)) for seed in range(3)])
    copy = starts.copy()
    together, _ = _train(SPECS[1], PLANS[0], table, start=starts, way=way)
    for client in range(3):
        alone, _ = _train(SPECS[1], PLANS[0], table, [client], start=starts[client], way=way)
        np.testing.assert_allclose(together.weights[client], alone.weights[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(starts, copy)


@pytest.mark.parametrize(
    "plan",
    [
        *PLANS[:4],
        TrainingPlan("sgd", 0.1, clip_norm=0.05, positive_weight=4.0, epochs=2),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_one_client_trains_as_with_pytorchs_own_optimiser(plan: TrainingPlan, way: str, make_table: Any) -> None:
    table = make_table([75])
    trained, _ = _train(SPECS[1], plan, table, way=way)
    np.testing.assert_allclose(trained.weights[0], _with_pytorch(plan, table), rtol=1e-4, atol=2e-5)


def _with_pytorch(plan: TrainingPlan, table: ClientTable) -> Float32Array:
    """Train the table's only client as a textbook would."""
    network = build_network(SPECS[1], table.num_features, 0)
    tensors = list(network.parameters())
    common: dict[str, Any] = {"lr": plan.learning_rate, "weight_decay": plan.weight_decay}
    optimizer: torch.optim.Optimizer
    if plan.optimizer == "sgd":
        optimizer = torch.optim.SGD(tensors, momentum=plan.momentum, **common)
    else:
        optimizer = (torch.optim.Adam if plan.optimizer == "adam" else torch.optim.AdamW)(tensors, **common)
    drawn = draw_batches(table.sizes, keys(0, "training", 1, [0]), plan)
    for rows, present in zip(drawn.rows[0], drawn.present[0], strict=True):
        features, labels = table.features[rows[present]], table.labels[rows[present]]
        logits = network(torch.from_numpy(features))[:, 0]
        factor = torch.tensor(plan.positive_weight)
        loss = binary_cross_entropy_with_logits(logits, torch.from_numpy(labels), pos_weight=factor)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if plan.clip_norm is not None:
            nn.utils.clip_grad_norm_(tensors, plan.clip_norm)
        optimizer.step()
    return weights_of(network)


def test_the_loss_is_the_mean_over_rows_before_each_step(make_table: Any) -> None:
    table = make_table([20])
    trained, _ = _train(SPECS[0], TrainingPlan(batch_size=64), table)
    network = build_network(SPECS[0], 4, 0)
    with torch.no_grad():
        logits = network(torch.from_numpy(table.features))[:, 0]
    expected = binary_cross_entropy_with_logits(logits, torch.from_numpy(table.labels))
    assert trained.loss[0] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_a_clipped_step_is_no_longer_than_its_bound(way: str, make_table: Any) -> None:
    plan = TrainingPlan("sgd", 1.0, steps=1, weight_decay=0.0, clip_norm=1e-3, positive_weight=100.0)
    start = weights_of(build_network(SPECS[1], 4, 0))
    trained, _ = _train(SPECS[1], plan, make_table([50, 60, 70]), way=way, start=start)
    lengths = np.linalg.norm((trained.weights - start).astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1e-3, rtol=1e-3)  # the weights themselves are rounded at 6e-8


def test_a_bound_that_is_never_reached_changes_nothing(make_table: Any) -> None:
    table = make_table([50, 60])
    free, _ = _train(SPECS[1], PLANS[0], table)
    bound, _ = _train(SPECS[1], replace(PLANS[0], clip_norm=1e6), table)
    np.testing.assert_array_equal(free.weights, bound.weights)


@pytest.mark.parametrize("way", WAYS)
def test_a_proximal_term_of_zero_is_fedavg(way: str, make_table: Any) -> None:
    table = make_table([50, 60])
    without, _ = _train(SPECS[1], PLANS[1], table, way=way)
    zero, _ = _train(SPECS[1], replace(PLANS[1], proximal=0.0), table, way=way)
    np.testing.assert_array_equal(without.weights, zero.weights)


@pytest.mark.parametrize("way", WAYS)
def test_a_large_proximal_term_holds_the_weights_near_their_start(way: str, make_table: Any) -> None:
    table = make_table([200, 150])
    start = weights_of(build_network(SPECS[1], 4, 0))
    moved = []
    for mu in (0.0, 1.0, 10.0, 100.0):
        plan = TrainingPlan("sgd", 0.005, epochs=20, proximal=mu)
        trained, _ = _train(SPECS[1], plan, table, way=way, start=start)
        moved.append(np.linalg.norm(trained.weights - start, axis=1).max())
    assert moved == sorted(moved, reverse=True)
    assert moved[-1] < 0.1 * moved[0]


def test_the_proximal_minimum_is_where_the_gradient_balances_the_pull(make_table: Any) -> None:
    table, mu = make_table([40]), 2.0
    start = np.full(5, 0.3, np.float32)
    plan = TrainingPlan("sgd", 0.2, weight_decay=0.0, epochs=400, batch_size=64, proximal=mu)
    trained, _ = _train(SPECS[0], plan, table, start=start)
    weights = trained.weights[0].astype(np.float64)
    x = np.c_[table.features, np.ones(40)].astype(np.float64)
    slope = (1 / (1 + np.exp(-x @ weights)) - table.labels) @ x / 40
    np.testing.assert_allclose(slope, -mu * (weights - start), atol=1e-5)


def test_the_weight_of_positive_rows_is_that_many_copies_of_them(make_table: Any) -> None:
    table = make_table([30])
    times = np.where(table.labels > 0, 3, 1)
    features, labels = (np.repeat(part, times, axis=0) for part in (table.features, table.labels))
    rows = len(labels)
    copied = ClientTable(("a",), np.array([0, rows]), features, labels, np.zeros((rows, 0), np.bool_))
    start = np.zeros(5, np.float32)
    # The mean is over more rows, each step as much larger.
    weighted = TrainingPlan("sgd", 0.03 * 30, weight_decay=0.0, batch_size=1000, positive_weight=3.0)
    plain = TrainingPlan("sgd", 0.03 * rows, weight_decay=0.0, batch_size=1000)
    first, _ = _train(SPECS[0], weighted, table, start=start)
    second, _ = _train(SPECS[0], plain, copied, start=start)
    np.testing.assert_allclose(first.weights, second.weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spec", [ModelSpec("mlp", {"dropout": 0.5}), ModelSpec("residual-mlp", {"dropout": 0.3})])
def test_dropout_depends_on_the_key_alone(spec: ModelSpec, make_table: Any) -> None:
    table = make_table([40, 33, 7])
    before = torch.random.get_rng_state()
    together, trainer = _train(spec, PLANS[0], table)
    assert trainer.way == "plain"
    for client in range(3):
        alone, _ = _train(spec, PLANS[0], table, [client])
        np.testing.assert_array_equal(together.weights[client], alone.weights[0])
    assert torch.equal(before, torch.random.get_rng_state())
    other, _ = _train(spec, PLANS[0], table, round=2)
    assert not np.array_equal(together.weights, other.weights)


def test_dropout_really_drops(make_table: Any) -> None:
    table = make_table([40])
    dropped, _ = _train(ModelSpec("mlp", {"dropout": 0.5}), PLANS[0], table)
    whole, _ = _train(ModelSpec("mlp"), PLANS[0], table)
    assert not np.allclose(dropped.weights, whole.weights)


def test_a_network_that_cannot_be_batched_falls_back_to_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_table: Any
) -> None:
    (tmp_path / "hall_networks.py").write_text(DATA_DEPENDENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    table, start = make_table(SIZES), np.linspace(-1, 1, 5).astype(np.float32)
    try:
        own, trainer = _train(ModelSpec("hall_networks:Net"), PLANS[1], table, start=start)
    finally:
        sys.modules.pop("hall_networks", None)
    shipped, _ = _train(ModelSpec("logistic"), PLANS[1], table, start=start)
    assert trainer.way == "plain"
    np.testing.assert_allclose(own.weights, shipped.weights, rtol=1e-4, atol=2e-5)


def test_the_networks_own_weights_are_neither_used_nor_changed(make_table: Any) -> None:
    table = make_table([20, 30])
    network = build_network(SPECS[1], 4, 0)
    start = weights_of(network)
    load_weights(network, np.full_like(start, 7.0))
    trainer = CohortTrainer(network, PLANS[0], 4)
    trained = trainer.train(table, np.array([0, 1]), start, keys(0, "training", 1, [0, 1]))
    expected, _ = _train(SPECS[1], PLANS[0], table)
    np.testing.assert_array_equal(trained.weights, expected.weights)
    np.testing.assert_allclose(
        trainer.score(start, table.features), logits_of(build_network(SPECS[1], 4, 0), start, table.features), atol=1e-5
    )
    assert (weights_of(network) == 7.0).all()


def test_many_clients_are_trained_in_groups_of_bounded_size(make_table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_table([10] * 30)
    whole, _ = _train(SPECS[1], PLANS[0], table, way="batched")
    monkeypatch.setattr(sys.modules[CohortTrainer.__module__], "_ENTRIES_A_GROUP", 300)
    parts, _ = _train(SPECS[1], PLANS[0], table, way="batched")
    np.testing.assert_allclose(whole.weights, parts.weights, rtol=1e-4, atol=1e-6)


def test_training_learns_what_can_be_learnt(make_table: Any) -> None:
    table = make_table([300, 300])
    first, _ = _train(SPECS[1], PLANS[0], table)
    later, _ = _train(SPECS[1], replace(PLANS[0], epochs=20), table)
    assert (later.loss < 0.7 * first.loss).all()
