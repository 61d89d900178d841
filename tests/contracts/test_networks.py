"""Every shipped network keeps these rules."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from werkbund.core import ModelError
from werkbund.core.rng import keys
from werkbund.learner import (
    NETWORKS,
    CohortTrainer,
    ModelSpec,
    TrainingPlan,
    build_network,
    layout_of,
    load_weights,
    logits_of,
    weights_of,
)

CASES: list[tuple[str, dict[str, Any]]] = [
    ("logistic", {}),
    ("mlp", {}),
    ("mlp", {"hidden": [5], "activation": "tanh"}),
    ("mlp", {"dropout": 0.2}),
    ("residual-mlp", {}),
    ("residual-mlp", {"width": 8, "depth": 1, "activation": "silu"}),
    ("residual-mlp", {"width": 8, "depth": 1, "dropout": 0.2}),
]
FEATURES = 4
ROWS = np.random.default_rng(0).normal(size=(20, FEATURES)).astype(np.float32)

every_case = pytest.mark.parametrize(("kind", "options"), CASES)


def test_every_shipped_network_is_covered() -> None:
    assert {kind for kind, _ in CASES} == set(NETWORKS)
    assert len(NETWORKS) == 3


def _build(kind: str, options: dict[str, Any], seed: int = 0, features: int = FEATURES) -> torch.nn.Module:
    return build_network(ModelSpec(kind, options), features, seed)


@every_case
def test_a_row_has_one_logit_whatever_stands_beside_it(kind: str, options: dict[str, Any]) -> None:
    network = _build(kind, options)
    weights = weights_of(network)
    whole = logits_of(network, weights, ROWS)
    assert whole.shape == (20,)
    alone = np.concatenate([logits_of(network, weights, ROWS[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(alone, whole, rtol=1e-4, atol=1e-5)


@every_case
@pytest.mark.parametrize("features", [1, 2, 30])
def test_any_number_of_features_will_do(kind: str, options: dict[str, Any], features: int) -> None:
    assert layout_of(_build(kind, options, features=features)).num_parameters > features


@every_case
def test_the_seed_decides_and_nothing_else(kind: str, options: dict[str, Any]) -> None:
    before = torch.random.get_rng_state()
    first, again, other = (weights_of(_build(kind, options, seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


@every_case
def test_weights_go_in_and_come_out(kind: str, options: dict[str, Any]) -> None:
    network = _build(kind, options)
    wanted = np.random.default_rng(1).normal(size=layout_of(network).num_parameters).astype(np.float32)
    load_weights(network, wanted)
    np.testing.assert_array_equal(weights_of(network), wanted)


@every_case
def test_every_tensor_learns(kind: str, options: dict[str, Any]) -> None:
    network = _build(kind, options).train()
    network(torch.from_numpy(ROWS)).sum().backward()
    for name, tensor in network.named_parameters():
        assert tensor.grad is not None, name
        assert tensor.grad.any(), name


@every_case
def test_it_keeps_nothing_beside_its_weights(kind: str, options: dict[str, Any]) -> None:
    assert list(_build(kind, options).named_buffers()) == []


@every_case
def test_a_copy_is_as_good(kind: str, options: dict[str, Any]) -> None:
    network = _build(kind, options)
    twin, weights = copy.deepcopy(network), weights_of(network)
    np.testing.assert_array_equal(logits_of(twin, weights, ROWS), logits_of(network, weights, ROWS))


@every_case
def test_a_cohort_trains_it_as_the_plain_loop_does(kind: str, options: dict[str, Any], make_table: Any) -> None:
    table = make_table([0, 1, 17, 40])
    plan, cohort = TrainingPlan("sgd", 0.05, momentum=0.9, batch_size=16), np.arange(4)
    trained = []
    for batched, compiled in ((True, True), (True, False), (False, False)):
        network = _build(kind, options)
        trainer = CohortTrainer(network, plan, FEATURES, batched, compiled)
        result = trainer.train(table, cohort, weights_of(network), keys(0, "training", 1, cohort))
        trained.append(result.weights)
    for together in trained[:2]:
        np.testing.assert_allclose(together, trained[2], rtol=1e-4, atol=2e-5)


@every_case
def test_it_learns_a_linear_rule(kind: str, options: dict[str, Any], make_table: Any) -> None:
    table, network = make_table([400]), _build(kind, options)
    trainer = CohortTrainer(network, TrainingPlan("adam", 0.01, epochs=15), FEATURES)
    key = keys(0, "training", 1, [0])
    weights = trainer.train(table, np.array([0]), weights_of(network), key).weights[0]
    right = (logits_of(network, weights, table.features) > 0) == (table.labels > 0.5)
    assert right.mean() > 0.85


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_unknown_option_is_refused_with_the_known_ones(kind: str) -> None:
    with pytest.raises(ModelError, match=r"hiden.*it takes .*num_features"):
        _build(kind, {"hiden": 3})
