"""Every registered aggregator keeps these rules."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from werkbund.aggregation import AGGREGATORS, Aggregator, Carry, Sums, build_aggregator
from werkbund.core import ConfigError, FederationError
from werkbund.core.arrays import Float32Array
from werkbund.engine import Checkpoint, RunState, load_checkpoint, save_checkpoint

CASES: list[tuple[str, dict[str, Any]]] = [
    ("fedavg", {}),
    ("fedavg", {"weighting": "equal"}),
    ("fedavg", {"step": 0.5}),
    ("fedavg", {"momentum": 0.9}),
    ("fedavg", {"momentum": 0.5, "step": 2.0}),
]
NUM_CLIENTS, NUM_PARAMETERS = 8, 6
RNG = np.random.default_rng(0)
UPDATES = RNG.normal(size=(NUM_CLIENTS, NUM_PARAMETERS)).astype(np.float32)
WEIGHTS = RNG.random(NUM_CLIENTS) + 0.1
START = RNG.normal(size=NUM_PARAMETERS).astype(np.float32)

every_case = pytest.mark.parametrize(("name", "options"), CASES)


def test_every_registered_aggregator_is_covered() -> None:
    assert {name for name, _ in CASES} == set(AGGREGATORS)
    assert len(AGGREGATORS) == 1


def _sums(aggregator: Aggregator, cuts: list[int] | None = None, updates: Float32Array = UPDATES) -> Sums:
    sums = Sums(np.zeros(NUM_PARAMETERS, np.float32))
    ends = [0, *(cuts or []), NUM_CLIENTS]
    for first, last in pairwise(ends):
        sums = aggregator.fold(sums, updates[first:last], WEIGHTS[first:last])
    return sums


def _rounds(aggregator: Aggregator, number: int, weights: Float32Array, carry: Carry) -> tuple[Float32Array, Carry]:
    for _ in range(number):
        weights, carry = aggregator.finish(_sums(aggregator), weights, carry)
    return weights, carry


@every_case
def test_the_next_weights_are_finite_float32_of_the_same_length(name: str, options: dict[str, Any]) -> None:
    aggregator = build_aggregator(name, **options)
    weights, carry = _rounds(aggregator, 3, START, aggregator.init(NUM_PARAMETERS))
    assert weights.dtype == np.float32
    assert weights.shape == START.shape
    assert np.isfinite(weights).all()
    assert set(carry) == set(aggregator.init(NUM_PARAMETERS))
    assert all(vector.shape == START.shape for vector in carry.values())


@every_case
@pytest.mark.parametrize("cuts", [[1], [4], [1, 2, 3, 4, 5, 6, 7], [0, 0, 8]])
def test_grouping_does_not_change_a_bit(name: str, options: dict[str, Any], cuts: list[int]) -> None:
    aggregator = build_aggregator(name, **options)
    whole, parts = _sums(aggregator), _sums(aggregator, cuts)
    np.testing.assert_array_equal(whole.update, parts.update)
    assert (
        (whole.weight, whole.num_updates) == (parts.weight, parts.num_updates) == (sum(WEIGHTS.tolist()), NUM_CLIENTS)
    )


@every_case
def test_the_first_round_moves_along_the_mean_update(name: str, options: dict[str, Any]) -> None:
    aggregator = build_aggregator(name, **options)
    weights, _ = aggregator.finish(_sums(aggregator), START, aggregator.init(NUM_PARAMETERS))
    mean = UPDATES.astype(np.float64).sum(axis=0) / WEIGHTS.sum()
    step = options.get("step", 1.0)
    np.testing.assert_allclose(weights, START + step * mean, rtol=1e-5, atol=1e-6)


@every_case
def test_the_weights_unit_is_of_no_account(name: str, options: dict[str, Any]) -> None:
    aggregator = build_aggregator(name, **options)
    plain = _sums(aggregator)
    scaled = Sums(plain.update * np.float32(4), plain.weight * 4, plain.num_updates)
    carry = aggregator.init(NUM_PARAMETERS)
    np.testing.assert_array_equal(aggregator.finish(plain, START, carry)[0], aggregator.finish(scaled, START, carry)[0])


@every_case
def test_no_change_at_any_client_is_no_change(name: str, options: dict[str, Any]) -> None:
    aggregator = build_aggregator(name, **options)
    sums = _sums(aggregator, updates=np.zeros_like(UPDATES))
    np.testing.assert_array_equal(aggregator.finish(sums, START, aggregator.init(NUM_PARAMETERS))[0], START)


@every_case
def test_nothing_to_add_is_an_error_not_a_zero(name: str, options: dict[str, Any]) -> None:
    aggregator = build_aggregator(name, **options)
    with pytest.raises(FederationError, match="weight"):
        aggregator.finish(Sums(np.zeros(NUM_PARAMETERS, np.float32)), START, aggregator.init(NUM_PARAMETERS))


@every_case
def test_what_it_is_given_is_left_as_it_was(name: str, options: dict[str, Any]) -> None:
    aggregator = build_aggregator(name, **options)
    weights, carry = _rounds(aggregator, 1, START, aggregator.init(NUM_PARAMETERS))
    updates, start, before = UPDATES.copy(), weights.copy(), {key: vector.copy() for key, vector in carry.items()}
    aggregator.finish(_sums(aggregator), weights, carry)
    np.testing.assert_array_equal(UPDATES, updates)
    np.testing.assert_array_equal(weights, start)
    for key, vector in carry.items():
        np.testing.assert_array_equal(vector, before[key])


@every_case
def test_it_goes_on_from_a_checkpoint_to_the_same_bits(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    aggregator = build_aggregator(name, **options)
    whole, _ = _rounds(aggregator, 5, START, aggregator.init(NUM_PARAMETERS))
    weights, carry = _rounds(aggregator, 2, START, aggregator.init(NUM_PARAMETERS))
    save_checkpoint(tmp_path / "c", Checkpoint.of(RunState(2, weights, carry)))
    state = RunState.of_checkpoint(load_checkpoint(tmp_path / "c"))
    resumed, _ = _rounds(build_aggregator(name, **options), 3, state.weights, state.carry)
    np.testing.assert_array_equal(resumed, whole)


@every_case
def test_it_is_a_value_that_says_what_it_must_see(name: str, options: dict[str, Any]) -> None:
    aggregator = build_aggregator(name, **options)
    assert aggregator == pickle.loads(pickle.dumps(aggregator))  # noqa: S301 - our own bytes
    assert aggregator.sees in ("sum", "each")
    assert aggregator.weighting in ("examples", "equal")


@pytest.mark.parametrize("name", AGGREGATORS)
def test_an_unknown_option_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match="momentun"):
        build_aggregator(name, momentun=0.5)


def test_an_unknown_aggregator_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="must be one of fedavg, got 'fedavgm'"):
        build_aggregator("fedavgm")
