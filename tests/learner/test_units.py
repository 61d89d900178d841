"""Units that enter steps by coins, whose gradients are clipped one by one and noised, as accountants assume it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from werkbund.core.arrays import Float32Array, Float64Array
from werkbund.core.clients import ClientTable
from werkbund.core.errors import ConfigError
from werkbund.core.rng import keys
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
from werkbund.learner.batches import Unit, UnitDraws

SIZES, WIDTH, RATE, PER_MACHINE = (6, 12, 30), 4, 0.5, 3
MLP = ModelSpec("mlp", {"hidden": [6]})
WHOLE = TrainingPlan("sgd", RATE, weight_decay=0.0, steps=1, batch_size=1000)
START = weights_of(build_network(MLP, WIDTH, 0))
UNITS: tuple[Unit, ...] = ("row", "machine")
every_unit = pytest.mark.parametrize("unit", UNITS)
both_ways = pytest.mark.parametrize("batched", [True, False], ids=["batched", "plain"])


def _always(noise: float) -> Callable[[int], float]:
    return lambda rows: noise


def _objective(unit: Unit, bound: float, noise: float = 0.0, seeded: bool = True) -> LocalObjective:
    return LocalObjective(rule=NoisedUnits(bound, _always(noise), seeded), draws=UnitDraws(unit, seeded))


def _trained(
    table: ClientTable, objective: LocalObjective, plan: TrainingPlan = WHOLE, batched: bool = True, seed: int = 0
) -> Float32Array:
    network = build_network(MLP, WIDTH, 0)
    trainer = CohortTrainer(network, plan, WIDTH, batched, compiled=False, objective=objective)
    cohort = np.arange(table.num_clients)
    return trainer.train(table, cohort, START, keys(seed, "training", 1, cohort)).weights


@pytest.fixture
def table(make_table: Any) -> ClientTable:
    """Return clients whose machines have three rows each, not one after the other."""
    made = make_table(SIZES, WIDTH)
    machines = [np.random.default_rng(size).permutation(np.arange(size) % (size // PER_MACHINE)) for size in SIZES]
    whole: ClientTable = replace(made, machines=np.concatenate(machines))
    return whole


@both_ways
@every_unit
def test_all_units_in_each_step_without_bound_and_noise_are_plain_full_batches(
    unit: Unit, batched: bool, table: ClientTable
) -> None:
    """Machines of equally many rows: the sum over a machine's rows is so many times their mean."""
    plan = replace(WHOLE, steps=3)
    found = _trained(table, _objective(unit, 1e6), plan, batched)
    times = PER_MACHINE if unit == "machine" else 1
    usual = _trained(table, LocalObjective(), replace(plan, learning_rate=RATE * times), batched)
    np.testing.assert_allclose(found, usual, atol=2e-6)


def _by_opacus(table: ClientTable, client: int, bound: float, unit: Unit) -> Float64Array:
    """Return the sum of clipped gradients over the units of a client, from the gradients that Opacus gives."""
    network, own = build_network(MLP, WIDTH, 0), table.only(client)
    load_weights(network, START)
    sampled = GradSampleModule(network, loss_reduction="sum")
    logits = sampled(torch.from_numpy(own.features)).reshape(-1)
    loss = binary_cross_entropy_with_logits(logits, torch.from_numpy(own.labels), reduction="sum")
    loss.backward()  # type: ignore[no-untyped-call]
    each = [part.grad_sample.flatten(1) for part in sampled.parameters()]
    gradients = torch.cat(each, dim=1).detach().numpy().astype(np.float64)
    if unit == "machine":
        gradients = np.stack([gradients[own.machines == machine].sum(axis=0) for machine in np.unique(own.machines)])
    lengths = np.linalg.norm(gradients, axis=1, keepdims=True)
    return np.asarray((gradients * np.minimum(1.0, bound / lengths)).sum(axis=0))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@both_ways
@every_unit
@pytest.mark.parametrize("bound", [0.05, 0.6, 100.0])
def test_clipped_sums_are_those_of_opacus(bound: float, unit: Unit, batched: bool, table: ClientTable) -> None:
    moved = (START.astype(np.float64) - _trained(table, _objective(unit, bound), batched=batched)) / RATE
    for client, size in enumerate(SIZES):
        expected = _by_opacus(table, client, bound, unit) / (size // PER_MACHINE if unit == "machine" else size)
        np.testing.assert_allclose(moved[client], expected, rtol=1e-3, atol=2e-6)


@every_unit
def test_each_unit_is_in_a_step_by_a_coin_of_its_own(unit: Unit, make_table: Any) -> None:
    size, plan = 60, replace(WHOLE, steps=400, batch_size=12)
    table = replace(make_table((size,), WIDTH), machines=np.arange(size) // 5)
    drawn = UnitDraws(unit, seeded=True).draw(table, np.array([0]), keys(0, "t", 1, [0]), plan)
    inside = np.zeros((plan.steps or 0, size), np.bool_)
    for step, (rows, present) in enumerate(zip(drawn.rows[0], drawn.present[0], strict=True)):
        inside[step, rows[present]] = True
    units = inside if unit == "row" else inside[:, ::5]
    np.testing.assert_array_equal(inside, units if unit == "row" else np.repeat(units, 5, axis=1))  # whole machines
    share, spread = 12 / size, np.sqrt(12 / size * (1 - 12 / size) / (plan.steps or 0))
    assert np.abs(units.mean(axis=0) - share).max() < 4.5 * spread
    counts = units.sum(axis=1)  # a binomial number, where batches of a pass hold the same number
    assert counts.var() == pytest.approx(units.shape[1] * share * (1 - share), rel=0.35)
    correlation = np.corrcoef(units.T.astype(np.float64)) - np.eye(units.shape[1])
    assert np.abs(correlation).max() < 5.5 / np.sqrt(plan.steps or 0)


def test_machines_are_numbered_within_a_step_alone(table: ClientTable) -> None:
    drawn = UnitDraws("machine", seeded=True).draw(table, np.array([2]), keys(0, "t", 1, [2]), replace(WHOLE, steps=1))
    own = table.machines[table.rows(2)]
    of_row = drawn.units[0, 0][drawn.present[0, 0]]
    np.testing.assert_array_equal(own[drawn.rows[0, 0][drawn.present[0, 0]]] == own[0], of_row == of_row[0])
    assert of_row.max() == len(np.unique(own)) - 1


@both_ways
@every_unit
def test_noise_has_the_deviation_that_the_accountant_assumes(unit: Unit, batched: bool, table: ClientTable) -> None:
    """A bound so small that rows say nothing: what moves is noise, of `noise` times the bound in each sum."""
    noise, bound = 1.5e7, 1e-7
    drawn = np.stack(
        [START - _trained(table, _objective(unit, bound, noise, False), batched=batched) for _ in "12345678"]
    )
    for client, size in enumerate(SIZES):
        units = size // PER_MACHINE if unit == "machine" else size
        deviation = RATE * noise * bound / units
        own = drawn[:, client]
        assert own.std() == pytest.approx(deviation, rel=5 / np.sqrt(2 * own.size))
        assert abs(own.mean()) < 5 * deviation / np.sqrt(own.size)
    assert np.abs(np.corrcoef(drawn.reshape(8, -1)) - np.eye(8)).max() < 0.6


def test_noise_and_coins_do_not_follow_from_what_the_server_knows(table: ClientTable) -> None:
    plan = replace(WHOLE, batch_size=3)
    for noise in (0.0, 1.0):
        fresh = [_trained(table, _objective("row", 0.5, noise, seeded=False), plan) for _ in range(2)]
        seeded = [_trained(table, _objective("row", 0.5, noise), plan) for _ in range(2)]
        assert (np.abs(fresh[0] - fresh[1]).max(axis=1) > 1e-4).all()
        np.testing.assert_array_equal(seeded[0], seeded[1])


@every_unit
def test_batched_and_plain_draw_the_same_where_they_are_seeded(unit: Unit, table: ClientTable) -> None:
    plan = replace(WHOLE, epochs=2, steps=None, batch_size=5)
    both = [_trained(table, _objective(unit, 0.5, 1.0), plan, batched) for batched in (True, False)]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-4, atol=5e-5)


@both_ways
def test_an_empty_step_has_noise_too(batched: bool, make_table: Any) -> None:
    table = replace(make_table((1000,), WIDTH), machines=np.zeros(1000, np.int64))
    plan = replace(WHOLE, batch_size=1)  # the one machine enters with a chance of 1/1000
    moved = _trained(table, _objective("machine", 1.0, 1.0), plan, batched) - START
    assert (np.abs(moved) > 1e-3).all()


def test_batch_normalisation_is_refused() -> None:
    mixing = nn.Sequential(nn.Linear(WIDTH, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with pytest.raises(ConfigError, match="batch normalisation; take layer or group"):
        CohortTrainer(mixing, WHOLE, WIDTH, objective=_objective("row", 1.0))
