from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from werkbund.core import rng
from werkbund.core.arrays import AnyArray
from werkbund.core.clients import ClientTable
from werkbund.core.errors import ModelError
from werkbund.learner import CohortTrainer, ModelSpec, TrainingPlan, build_network, logits_of, weights_of
from werkbund.learner import fused as module
from werkbund.learner.chains import Chain, chain_of
from werkbund.learner.fused import fused_available, logits_chain, train_chain

pytestmark = pytest.mark.skipif(not fused_available(), reason="Numba is not installed or cannot compile")

SIZES = (0, 1, 40, 7, 64, 33)


def make_table(sizes: tuple[int, ...], num_features: int, seed: int = 0) -> ClientTable:
    numbers = np.random.default_rng(seed)
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    features = numbers.standard_normal((offsets[-1], num_features)).astype(np.float32)
    labels = (features.sum(1) + numbers.standard_normal(len(features)) > 0.5).astype(np.float32)
    names = tuple(f"plant-{i}" for i in range(len(sizes)))
    return ClientTable(names, offsets, features, labels, np.zeros((offsets[-1], 0), np.bool_))


def both(
    spec: ModelSpec, plan: TrainingPlan, table: ClientTable, round: int = 0
) -> tuple[list[AnyArray], list[AnyArray]]:
    """Train all clients, compiled and by the plain loop; give weights and losses of each."""
    network = build_network(spec, table.num_features, 1)
    chain, start = chain_of(network), weights_of(network)
    assert chain is not None
    clients = np.arange(table.num_clients)
    keys = rng.keys(5, "batches", round, clients)
    plain = CohortTrainer(network, plan, table.num_features, batched=False).train(table, clients, start, keys)
    fused = train_chain(chain, plan, table, clients, start, keys)
    return list(fused), [plain.weights, plain.loss]


def assert_alike(spec: ModelSpec, plan: TrainingPlan, table: ClientTable) -> None:
    fused, plain = both(spec, plan, table)
    np.testing.assert_allclose(fused[0], plain[0], rtol=2e-3, atol=2e-5)
    np.testing.assert_allclose(fused[1], plain[1], rtol=2e-5)


PLANS = {
    "sgd": TrainingPlan(learning_rate=0.1),
    "several epochs": TrainingPlan(learning_rate=0.1, epochs=3, batch_size=16),
    "steps beyond a pass": TrainingPlan(learning_rate=0.1, steps=9, batch_size=16),
    "one step": TrainingPlan(learning_rate=0.1, steps=1, batch_size=5),
    "momentum and decay": TrainingPlan(learning_rate=0.05, momentum=0.9, weight_decay=0.01),
    "adam": TrainingPlan("adam", learning_rate=0.003, weight_decay=0.01, epochs=2),
    "adamw": TrainingPlan("adamw", learning_rate=0.003, weight_decay=0.1, epochs=2),
    "clipped": TrainingPlan(learning_rate=0.5, clip_norm=0.1, epochs=2),
    "proximal": TrainingPlan(learning_rate=0.1, proximal=0.5, epochs=4),
    "weighted positives": TrainingPlan(learning_rate=0.1, positive_weight=7.5),
    "one row a batch": TrainingPlan(learning_rate=0.05, batch_size=1),
    "whole clients": TrainingPlan(learning_rate=0.1, batch_size=10_000, epochs=2),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_every_plan_gives_the_numbers_of_the_plain_loop(plan: TrainingPlan) -> None:
    assert_alike(ModelSpec("mlp", {"hidden": [20, 9]}), plan, make_table(SIZES, 6))


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu", "gelu"])
def test_every_activation_gives_the_numbers_of_the_plain_loop(activation: str) -> None:
    spec = ModelSpec("mlp", {"hidden": [33, 16], "activation": activation})
    assert_alike(spec, TrainingPlan(learning_rate=0.3, epochs=3), make_table(SIZES, 17))


def test_logistic_regression_gives_the_numbers_of_the_plain_loop() -> None:
    assert_alike(ModelSpec("logistic"), PLANS["several epochs"], make_table(SIZES, 19))


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 70), min_size=1, max_size=6),
    num_features=st.integers(1, 40),
    hidden=st.lists(st.integers(1, 50), max_size=3),
    batch_size=st.integers(1, 80),
    seed=st.integers(0, 99),
)
def test_any_shape_gives_the_numbers_of_the_plain_loop(
    sizes: list[int], num_features: int, hidden: list[int], batch_size: int, seed: int
) -> None:
    spec = ModelSpec("mlp", {"hidden": hidden, "activation": "tanh"})
    plan = TrainingPlan(learning_rate=0.05, batch_size=batch_size, epochs=2)
    assert_alike(spec, plan, make_table(tuple(sizes), num_features, seed))


def test_clients_may_start_from_weights_of_their_own() -> None:
    table, plan = make_table(SIZES, 6), PLANS["proximal"]
    network = build_network(ModelSpec("mlp", {"hidden": [20, 9]}), 6, 1)
    chain = chain_of(network)
    assert chain is not None
    clients = np.array([5, 0, 2, 2, 4])
    start = np.random.default_rng(0).normal(0, 0.3, (5, chain.num_parameters)).astype(np.float32)
    keys = rng.keys(5, "batches", 0, np.arange(5))
    plain = CohortTrainer(network, plan, 6, batched=False).train(table, clients, start, keys)
    weights, loss = train_chain(chain, plan, table, clients, start, keys)
    np.testing.assert_allclose(weights, plain.weights, rtol=2e-3, atol=2e-5)
    np.testing.assert_allclose(loss, plain.loss, rtol=2e-5)
    np.testing.assert_array_equal(weights[1], start[1])  # no rows: the same weights, and no loss
    assert np.isnan(loss[1])


@pytest.mark.parametrize("plan", [PLANS["several epochs"], PLANS["adam"]], ids=["sgd", "adam"])
def test_the_number_of_threads_and_the_company_change_no_bit(plan: TrainingPlan) -> None:
    table, chain = make_table(SIZES * 5, 6), Chain((6, 20, 9, 1))
    start = np.random.default_rng(0).normal(0, 0.3, chain.num_parameters).astype(np.float32)
    clients = np.arange(table.num_clients)
    keys = rng.keys(5, "batches", 0, clients)
    weights, loss = train_chain(chain, plan, table, clients, start, keys, num_threads=1)
    for num_threads in (2, 3, 7):
        other = train_chain(chain, plan, table, clients, start, keys, num_threads=num_threads)
        np.testing.assert_array_equal(other[0], weights)
        np.testing.assert_array_equal(other[1], loss)
    for i in (2, 17):
        alone, its_loss = train_chain(chain, plan, table, clients[[i]], start, keys[[i]])
        np.testing.assert_array_equal(alone[0], weights[i])
        assert its_loss[0] == loss[i]


def test_a_client_that_diverges_spoils_nobody_else() -> None:
    table, chain, plan = make_table((20, 20, 20), 6), Chain((6, 20, 9, 1)), PLANS["momentum and decay"]
    start = np.random.default_rng(0).normal(0, 0.3, (3, chain.num_parameters)).astype(np.float32)
    clients, keys = np.arange(3), rng.keys(5, "batches", 0, np.arange(3))
    sound, _ = train_chain(chain, plan, table, clients, start, keys, num_threads=1)
    start[0] = np.nan
    weights, loss = train_chain(chain, plan, table, clients, start, keys, num_threads=1)
    assert np.isnan(weights[0]).all()
    assert np.isnan(loss[0])
    np.testing.assert_array_equal(weights[1:], sound[1:])


def test_extreme_logits_give_the_loss_of_the_plain_loop() -> None:
    table = make_table((40,), 3)
    big = ClientTable(table.names, table.offsets, table.features * 200, table.labels, table.modes)
    fused, plain = both(ModelSpec("logistic"), TrainingPlan(learning_rate=1e-6, positive_weight=3.0), big)
    np.testing.assert_allclose(fused[1], plain[1], rtol=1e-5)


@pytest.mark.parametrize("hidden", [[], [5], [64, 32], [40, 33, 7]])
@pytest.mark.parametrize("rows", [0, 1, 127, 1000])
def test_logits_are_those_of_the_network(hidden: list[int], rows: int) -> None:
    network = build_network(ModelSpec("mlp", {"hidden": hidden, "activation": "gelu"}), 11, 2)
    chain, weights = chain_of(network), weights_of(network)
    assert chain is not None
    features = np.random.default_rng(1).standard_normal((rows, 11)).astype(np.float32)
    features.flags.writeable = False
    one, two = (logits_chain(chain, weights, features, num_threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one, logits_of(network, weights, features.copy()), rtol=1e-4, atol=1e-5)


def test_weights_and_features_of_another_shape_are_refused() -> None:
    table, chain, clients = make_table((5,), 3), Chain((4, 1)), np.zeros(1, np.int64)
    with pytest.raises(ModelError, match="5 parameters, got 7"):
        logits_chain(chain, np.zeros(7, np.float32), np.zeros((2, 4), np.float32))
    with pytest.raises(ModelError, match=r"features must be \(rows, 4\)"):
        train_chain(chain, TrainingPlan(), table, clients, np.zeros(5, np.float32), rng.keys(0, "", 0, 0))


@pytest.mark.parametrize(("num_starts", "num_keys"), [(2, 3), (3, 2), (1, 4)])
def test_starts_and_keys_must_fit_the_clients(num_starts: int, num_keys: int) -> None:
    table, start = make_table((5, 5, 5), 4), np.zeros((num_starts, 5), np.float32)
    keys = rng.keys(0, "batches", 0, np.arange(num_keys))
    with pytest.raises(ModelError, match="3 clients, got"):
        train_chain(Chain((4, 1)), TrainingPlan(), table, np.arange(3), start, keys)


def test_no_clients_give_no_weights() -> None:
    table, nobody = make_table((5,), 4), np.zeros(0, np.int64)
    start = np.zeros(5, np.float32)
    weights, loss = train_chain(Chain((4, 1)), TrainingPlan(), table, nobody, start, rng.keys(0, "", 0, nobody))
    assert weights.shape == (0, 5)
    assert loss.shape == (0,)


def test_a_change_of_the_parts_reaches_the_compiled_code_on_disk() -> None:
    from werkbund.learner.fused_kernels import SOURCES

    folder = Path(module.__file__).parent
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()[:16] for name in SOURCES}
    assert digests == SOURCES, "write these digests into fused_kernels.SOURCES"


def test_it_compiles_where_no_folder_can_be_written() -> None:
    program = (
        "from numba import types\n"
        "from werkbund.learner.fused_tiles import entry\n"
        "double = entry(types.int64(types.int64))(lambda x: 2 * x)\n"
        "assert double(21) == 42\n"
    )
    surroundings = {**os.environ, "NUMBA_CACHE_DIR": "/dev/null/nowhere"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=surroundings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_without_numba_it_says_so() -> None:
    program = (
        "import sys; sys.modules['numba'] = None\n"
        "from werkbund.learner.fused import fused_available\n"
        "assert not fused_available()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
