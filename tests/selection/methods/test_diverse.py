from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core import ConfigError, Failure
from werkbund.core.arrays import Float64Array
from werkbund.core.rng import generator
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.geometry import distances
from werkbund.selection.methods.diverse import DiverseSelection, facility_location


def _matrix(points: Float64Array) -> Float64Array:
    return distances(points.astype(np.float32))


def _cost(matrix: Float64Array, weights: Float64Array, chosen: list[int]) -> float:
    return float(weights @ matrix[:, chosen].min(axis=1))


def _plain_greedy(matrix: Float64Array, weights: Float64Array, wanted: int) -> list[int]:
    chosen: list[int] = []
    for _ in range(wanted):
        left = [place for place in range(len(matrix)) if place not in chosen]
        costs = [_cost(matrix, weights, [*chosen, place]) for place in left]
        chosen.append(left[int(np.argmin(costs))])
    return chosen


def test_golden_points() -> None:
    matrix = _matrix(np.array([[0.0], [1.0], [10.0]]))
    chosen = facility_location(matrix, np.ones(3), 2)
    assert chosen == [1, 2]
    assert _cost(matrix, np.ones(3), [1]) == pytest.approx(10)
    assert _cost(matrix, np.ones(3), chosen) == pytest.approx(1)


@given(st.integers(0, 10_000), st.integers(2, 7), st.integers(1, 4))
def test_it_comes_close_to_the_best_of_all_sets(seed: int, number: int, wanted: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, weights = _matrix(rng.normal(size=(number, 3))), rng.integers(1, 4, number).astype(np.float64)
    wanted = min(wanted, number)
    best = min(_cost(matrix, weights, list(some)) for some in combinations(range(number), wanted))
    # What is gained over nobody at all, each at the largest distance, is within 1 - 1/e of the most that can be.
    nobody = float(weights.sum() * matrix.max())
    cost = _cost(matrix, weights, facility_location(matrix, weights, wanted))
    assert nobody - cost >= (1 - 1 / np.e) * (nobody - best) - 1e-9
    if wanted in (1, number):
        assert cost == pytest.approx(best, abs=1e-6)


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 12))
def test_lazy_greedy_is_greedy(seed: int, number: int, wanted: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, weights = _matrix(rng.normal(size=(number, 4))), rng.uniform(0.5, 2.0, number)
    wanted = min(wanted, number)
    lazy = facility_location(matrix, weights, wanted)
    plain = _plain_greedy(matrix, weights, wanted)
    assert len(set(lazy)) == wanted
    assert _cost(matrix, weights, lazy) == pytest.approx(_cost(matrix, weights, plain), abs=1e-6)


def test_more_places_than_points_are_all_points() -> None:
    assert sorted(facility_location(_matrix(np.zeros((3, 2))), np.ones(3), 7)) == [0, 1, 2]
    assert facility_location(np.zeros((0, 0)), np.ones(0), 2) == []


def _seen(selector: DiverseSelection, updates: Float64Array, state: State, round: int = 1) -> State:
    reports = Reports(round, np.arange(len(updates)), {"update": updates.astype(np.float32)}, ())
    return selector.observe(state, reports)


def test_everybody_is_met_once_before_anybody_comes_again() -> None:
    selector, state, met = DiverseSelection(CohortSize(count=3)), dict[str, object](), list[int]()
    for round in range(1, 4):
        cohort = selector.choose(View(round, np.arange(9), state=state), (), generator(0, "s", round)).cohort
        met += cohort.tolist()
        failed = (Failure(int(cohort[0]), round, "late"),)
        updates = np.ones((2, 4), np.float32)
        state = dict(selector.observe(state, Reports(round, cohort[1:], {"update": updates}, failed)))
    assert sorted(met) == list(range(9))


def test_it_takes_one_of_each_crowd() -> None:
    selector = DiverseSelection(CohortSize(count=3))
    updates = np.repeat(np.array([[0.0, 5], [5, 0], [-5, -5]]), 4, axis=0) + np.random.default_rng(0).normal(
        0, 0.1, (12, 2)
    )
    state = _seen(selector, updates, {})
    cohort = selector.choose(View(2, np.arange(12), state=state), (), generator(0, "s", 2)).cohort
    assert sorted(cohort // 4) == [0, 1, 2]


def test_only_the_available_are_chosen_and_represented() -> None:
    selector = DiverseSelection(CohortSize(count=1))
    state = _seen(selector, np.array([[0.0], [1.0], [2.0], [9.0], [9.1]]), {})
    assert selector.choose(View(2, np.array([0, 1, 2]), state=state), (), generator(0, "s", 2)).cohort.tolist() == [1]


def test_those_without_an_update_stand_together_at_zero() -> None:
    selector = DiverseSelection(CohortSize(count=2))
    failed = tuple(Failure(client, 1, "late") for client in range(2, 8))
    reports = Reports(1, np.array([0, 1]), {"update": np.array([[9.0, 0], [9.1, 0]], np.float32)}, failed)
    state = selector.observe({}, reports)
    chosen = selector.choose(View(2, np.arange(8), state=state), (), generator(0, "s", 2)).cohort
    assert sorted(chosen >= 2) == [False, True]
    state = selector.observe(state, Reports(2, np.array([0]), {}, (Failure(int(chosen[1]), 2, "late"),)))
    again = selector.choose(View(3, np.arange(8), state=state), (), generator(0, "s", 3)).cohort
    assert again[1] != chosen[1]


def test_alike_clients_fill_up_the_cohort() -> None:
    selector = DiverseSelection(CohortSize(count=4))
    state = _seen(selector, np.zeros((6, 3)), {})
    assert len(selector.choose(View(2, np.arange(6), state=state), (), generator(0, "s", 2)).cohort) == 4


def test_nobody_known_at_all_is_a_random_cohort_of_those_with_fewest_turns() -> None:
    selector = DiverseSelection(CohortSize(count=2))
    state = selector.observe({}, Reports(1, np.arange(5), {}, ()))
    state = selector.observe(state, Reports(2, np.arange(3), {}, ()))
    assert selector.choose(View(3, np.arange(5), state=state), (), generator(0, "s", 3)).cohort.tolist() == [3, 4]


def test_the_state_keeps_the_newest_updates_only() -> None:
    selector = DiverseSelection(CohortSize(count=2), memory=2)
    state = _seen(selector, np.eye(4), {})
    assert state["vectors"].shape == (2, 4)
    assert len(selector.choose(View(2, np.arange(4), state=state), (), generator(0, "s", 2)).cohort) == 2


@pytest.mark.parametrize("number", [0, 1, 3])
def test_as_many_as_there_are_is_everybody(number: int) -> None:
    view = View(1, np.arange(number))
    assert DiverseSelection(CohortSize(count=5)).choose(view, (), generator(0, "s")).cohort.tolist() == list(
        range(number)
    )


def test_an_empty_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match="memory must be >= 1, got 0"):
        DiverseSelection(memory=0)
