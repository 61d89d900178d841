"""Clients that clip the gradient of each row and add their own noise (Abadi et al., CCS 2016, algorithm 1).

The unit of protection is one row at one client; the noise is drawn at the client, before anything leaves it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from tests.conftest import Federation
from werkbund.core.arrays import Float32Array, Float64Array, UInt64Array
from werkbund.core.clients import ClientTable
from werkbund.core.errors import ConfigError
from werkbund.core.rng import derived_keys, keys
from werkbund.core.store import Store
from werkbund.core.types import Replies, Tasks
from werkbund.engine import InProcessGrid, RunState, Worker, rounds
from werkbund.engine.kinds import TRAIN
from werkbund.learner import (
    CohortTrainer,
    LocalObjective,
    ModelSpec,
    NoisedUnits,
    TrainingPlan,
    build_network,
    load_weights,
    weights_of,
)

SIZES, WIDTH, RATE = (5, 12, 30, 30), 4, 0.5
MLP = ModelSpec("mlp", {"hidden": [6]})
ONE_STEP = TrainingPlan("sgd", RATE, weight_decay=0.0, steps=1, batch_size=1000)
USUAL = TrainingPlan("sgd", RATE, weight_decay=0.0, epochs=2, batch_size=8)
EVERYONE = tuple(range(len(SIZES)))


def _always(noise: float) -> Callable[[int], float]:
    return lambda rows: noise


def _rule(bound: float, noise: float) -> NoisedUnits:
    return NoisedUnits(bound, _always(noise), seeded=True)


both_ways = pytest.mark.parametrize("batched", [True, False], ids=["batched", "plain"])


def _trainer(rule: NoisedUnits | None, plan: TrainingPlan, batched: bool) -> CohortTrainer:
    objective = LocalObjective(rule=rule)
    return CohortTrainer(build_network(MLP, WIDTH, 0), plan, WIDTH, batched, compiled=False, objective=objective)


def _trained(
    table: ClientTable,
    rule: NoisedUnits | None,
    clients: tuple[int, ...] = EVERYONE,
    *,
    plan: TrainingPlan = ONE_STEP,
    batched: bool = True,
    seed: int = 0,
) -> Float32Array:
    cohort, start = np.array(clients), weights_of(build_network(MLP, WIDTH, 0))
    return _trainer(rule, plan, batched).train(table, cohort, start, keys(seed, "training", 1, cohort)).weights


def _noise(table: ClientTable, rule: NoisedUnits, clients: tuple[int, ...] = EVERYONE, **how: Any) -> Float32Array:
    """Return the noise in the slope of one step: (clients, parameters)."""
    still = _trained(table, replace(rule, noise=_always(0.0)), clients, **how)
    return np.asarray((still - _trained(table, rule, clients, **how)) / np.float32(RATE))


def _slopes_by_autograd(table: ClientTable, client: int, bound: float) -> Float64Array:
    """Return the clipped gradient of each row of a client, one call of autograd a row: (rows, parameters)."""
    network, rows = build_network(MLP, WIDTH, 0), []
    load_weights(network, weights_of(network))
    own = table.only(client)
    for features, label in zip(own.features, own.labels, strict=True):
        network.zero_grad()
        logit = network(torch.from_numpy(features)[None]).reshape(1)
        binary_cross_entropy_with_logits(logit, torch.tensor([label])).backward()  # type: ignore[no-untyped-call]
        slopes = [part.grad.flatten() for part in network.parameters() if part.grad is not None]
        gradient = torch.cat(slopes).numpy().astype(np.float64)
        rows.append(gradient * min(1.0, bound / float(np.linalg.norm(gradient))))
    return np.stack(rows)


@pytest.fixture
def table(make_table: Any) -> ClientTable:
    return make_table(SIZES, WIDTH)  # type: ignore[no-any-return]


@both_ways
@pytest.mark.parametrize("bound", [1e-2, 0.3, 1e3])
def test_each_rows_gradient_is_clipped_by_itself(bound: float, batched: bool, table: ClientTable) -> None:
    start = weights_of(build_network(MLP, WIDTH, 0)).astype(np.float64)
    moved = (start - _trained(table, _rule(bound, 0.0), batched=batched)) / RATE
    for client in EVERYONE:
        expected = _slopes_by_autograd(table, client, bound).mean(axis=0)
        np.testing.assert_allclose(moved[client], expected, rtol=1e-3, atol=2e-6)


@both_ways
def test_without_noise_and_with_a_bound_that_nothing_reaches_it_is_plain_sgd(batched: bool, table: ClientTable) -> None:
    free = _trained(table, _rule(1e6, 0.0), plan=USUAL, batched=batched)
    usual = _trained(table, None, plan=USUAL, batched=batched)
    np.testing.assert_allclose(free, usual, atol=1e-6)


@both_ways
def test_two_clients_draw_different_noise_and_each_the_same_whoever_else_trains(
    batched: bool, table: ClientTable
) -> None:
    rule = _rule(0.5, 2.0)
    together = _noise(table, rule, batched=batched)
    for client in EVERYONE:
        for cohort in ((client,), (0, client) if client else (0, 3)):
            alone = _noise(table, rule, cohort, batched=batched)[cohort.index(client)]
            np.testing.assert_allclose(alone, together[client], atol=1e-5)
    sizes = np.array(SIZES)[:, None]  # what the sum of noise was divided by
    correlation = np.corrcoef(together * sizes) - np.eye(len(SIZES))
    assert np.abs(correlation).max() < 0.6  # 37 parameters: independent ones go beyond this once in 10^4


def test_batched_and_plain_draw_the_same_noise_in_each_step(table: ClientTable) -> None:
    rule = _rule(0.5, 1.0)
    together, alone = (_trained(table, rule, plan=USUAL, batched=batched) for batched in (True, False))
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=2e-5)


def test_noise_differs_from_round_to_round_and_from_step_to_step(table: ClientTable) -> None:
    rule = _rule(0.5, 2.0)
    first, second = _noise(table, rule, seed=0), _noise(table, rule, seed=1)
    assert (np.abs(first - second) > 1e-3).mean() > 0.9
    still = _rule(1e-9, 0.0)  # a bound so small that rows say nothing: what moves is noise
    noisy = replace(still, noise=_always(1e9))
    once, twice = ONE_STEP, replace(ONE_STEP, steps=2)
    start = weights_of(build_network(MLP, WIDTH, 0))
    one, two = (start - _trained(table, noisy, plan=plan) for plan in (once, twice))
    assert np.abs(np.corrcoef((two - one)[2], one[2])[0, 1]) < 0.6


@both_ways
@pytest.mark.parametrize(("bound", "noise"), [(0.5, 2.0), (2.0, 0.7)])
def test_the_deviation_is_noise_times_bound_over_the_batch(
    bound: float, noise: float, batched: bool, table: ClientTable
) -> None:
    rule = _rule(bound, noise)
    drawn = np.stack([_noise(table, rule, seed=seed, batched=batched) for seed in range(12)])  # (seeds, clients, p)
    for client, size in enumerate(SIZES):
        deviation = noise * bound / size
        count = drawn[:, client].size
        assert drawn[:, client].std() == pytest.approx(deviation, rel=5 / np.sqrt(2 * count))
        assert abs(drawn[:, client].mean()) < 5 * deviation / np.sqrt(count)


def _private(federation: Any, rule: NoisedUnits) -> Federation:
    built: Federation = federation(SIZES, plan=USUAL, batched=False)
    trainer = _trainer(rule, USUAL, True)
    work = replace(built.work, trainer=trainer)
    rules = replace(built.rules, fingerprint=trainer.layout.fingerprint)
    state = RunState.begin(weights_of(build_network(MLP, WIDTH, 0)), built.strategy)
    grid = InProcessGrid(built.grid.clients(), Worker(work.handlers()))
    return replace(built, work=work, rules=rules, state=state, grid=grid)


def test_a_run_of_rounds_is_noised_and_goes_the_same_way_again(federation: Any) -> None:
    def after(rule: NoisedUnits) -> Float32Array:
        built = _private(federation, rule)
        return [state for state, _ in rounds(built.grid, built.strategy, built.rules, built.state, 3)][-1].weights

    noised = after(_rule(0.5, 1.0))
    np.testing.assert_array_equal(noised, after(_rule(0.5, 1.0)))
    assert np.abs(noised - after(_rule(0.5, 0.0))).max() > 1e-3


def _with_secrets(built: Federation) -> Federation:
    """Let each client mix the key that comes with a task with a secret that it alone keeps."""

    def train(tasks: Tasks, store: Store) -> Replies:
        if not store.knows("secret", tasks.clients).all():
            store.put("secret", tasks.clients, np.array([secrets.randbits(64) for _ in tasks.clients], np.uint64))
        kept: UInt64Array = store.rows("secret", tasks.clients, np.zeros((), np.uint64))
        mixed: UInt64Array = tasks.own["key"].astype(np.uint64) ^ kept
        return built.work.train(replace(tasks, own={**tasks.own, "key": derived_keys(mixed, "own", 0)}), store)

    return built.with_handlers({TRAIN: train})


def test_with_a_secret_in_the_store_nobody_else_can_draw_the_noise_and_a_resume_can(federation: Any) -> None:
    rule = _rule(0.5, 1.0)

    def after(built: Federation, state: RunState, last: int) -> list[RunState]:
        return [state for state, _ in rounds(built.grid, built.strategy, built.rules, state, last)]

    built, another = (_with_secrets(_private(federation, rule)) for _ in range(2))
    whole = after(built, built.state, 3)
    assert np.abs(after(another, another.state, 1)[0].weights - whole[0].weights).max() > 1e-3
    np.testing.assert_array_equal(after(another, whole[0], 3)[-1].weights, whole[-1].weights)


def test_a_bound_on_the_mean_gradient_beside_that_on_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"training\.clip_norm bounds the mean gradient"):
        _trainer(_rule(1.0, 1.0), replace(USUAL, clip_norm=1.0), True)
