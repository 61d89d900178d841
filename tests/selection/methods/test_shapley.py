import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from werkbund.core import ConfigError, Failure
from werkbund.core.rng import generator
from werkbund.core.types import Choice
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.methods.shapley import (
    GreedyShapley,
    Patience,
    ShapleyAveraging,
    gtg_shapley,
    guided_shapley,
    valuations,
)

THOROUGH = Patience(round_truncation=0.0, truncation=0.0, fewest=6000, most=0)
Game = Callable[[frozenset[int]], float]


def exact_shapley(value: Game, number: int) -> np.ndarray:
    """Return exact Shapley values, (n,), from all 2^n coalitions."""
    values = np.zeros(number)
    for bits in range(2**number):
        coalition = frozenset(player for player in range(number) if bits >> player & 1)
        size, worth = len(coalition), value(coalition)
        for player in range(number):
            if player in coalition:
                values[player] += worth / (number * math.comb(number - 1, size - 1))
            else:
                values[player] -= worth / (number * math.comb(number - 1, size))
    return values


def _games(number: int) -> list[Game]:
    """Games without structure, one a seed: the worth of each coalition is drawn."""
    made: list[Game] = []
    for seed in range(3):
        worth = np.random.default_rng(seed).normal(size=2**number)
        made.append(partial(_looked_up, worth))
    return made


def _looked_up(worth: np.ndarray, coalition: frozenset[int]) -> float:
    return float(worth[sum(1 << player for player in coalition)])


def _nearness(target: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda weights: -float(np.linalg.norm(np.asarray(weights, dtype=np.float64) - target))


def test_the_exact_values_are_those_of_the_glove_game() -> None:
    """One left glove, two right ones; a pair is worth 1: 2/3, 1/6, 1/6."""
    exact = exact_shapley(lambda coalition: float(0 in coalition and len(coalition) > 1), 3)
    np.testing.assert_allclose(exact, [2 / 3, 1 / 6, 1 / 6])


@pytest.mark.parametrize("number", [3, 4, 5])
def test_many_orders_come_near_the_exact_values(number: int) -> None:
    for game in _games(number):
        values = guided_shapley(game, number, np.random.default_rng(0), THOROUGH)
        np.testing.assert_allclose(values, exact_shapley(game, number), atol=0.1)


@pytest.mark.parametrize("number", [1, 2])
def test_one_and_two_players_are_exact_at_once(number: int) -> None:
    for game in _games(number):
        patience = Patience(round_truncation=0.0, truncation=0.0, fewest=1, most=1)
        np.testing.assert_allclose(
            guided_shapley(game, number, np.random.default_rng(0), patience), exact_shapley(game, number)
        )


def test_an_additive_game_is_exact_whatever_the_orders() -> None:
    gains = np.array([0.3, -0.2, 0.7, 0.0, 0.1])
    values = guided_shapley(
        lambda some: sum(gains[i] for i in some), 5, np.random.default_rng(0), Patience(truncation=0.0)
    )
    np.testing.assert_allclose(values, gains, atol=1e-12)


def test_values_sum_to_what_all_together_add() -> None:
    for game in _games(4):
        values = guided_shapley(game, 4, np.random.default_rng(1), Patience(truncation=0.0, round_truncation=0.0))
        assert values.sum() == pytest.approx(game(frozenset(range(4))) - game(frozenset()))


def test_equal_players_are_worth_the_same_and_an_idle_one_nothing() -> None:
    values = guided_shapley(lambda coalition: float(len(coalition - {4})) ** 2, 5, np.random.default_rng(0), THOROUGH)
    assert values[4] == 0.0
    np.testing.assert_allclose(values[:4], 4.0, atol=0.15)


def test_a_round_that_changes_little_is_passed_over() -> None:
    asked: list[frozenset[int]] = []

    def value(coalition: frozenset[int]) -> float:
        asked.append(coalition)
        return 0.01 if len(coalition) == 3 else 5.0 * (len(coalition) > 0)

    assert guided_shapley(value, 3, np.random.default_rng(0), Patience()).tolist() == [0.0] * 3
    assert len(asked) == 2


def test_what_is_cut_off_within_an_order_is_not_remembered_as_a_score() -> None:
    """A port stores the cut-off value as that of the larger coalition, and uses it in other orders.

    Client 0 alone is as good as all three, so every order that it leads is cut off behind it.
    """
    worth = {(): 0.0, (0,): 1.0, (1,): 0.3, (2,): 0.3, (0, 1): 0.2, (0, 2): 0.2, (1, 2): 0.5, (0, 1, 2): 1.0}
    scored = []

    def score(weights: np.ndarray) -> float:
        scored.append(tuple(np.flatnonzero(weights).tolist()))
        return worth[scored[-1]]

    updates = np.eye(3, dtype=np.float32)
    gtg_shapley(score, np.zeros(3, np.float32), updates, np.ones(3), np.random.default_rng(0), Patience(fewest=300))
    assert sorted(scored) == sorted(worth)


def test_each_coalition_is_scored_once() -> None:
    calls = []

    def score(weights: np.ndarray) -> float:
        calls.append(1)
        return _nearness(np.ones(6))(weights)

    updates = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    gtg_shapley(score, np.zeros(6, np.float32), updates, np.ones(4), np.random.default_rng(0), Patience(truncation=0.0))
    assert len(calls) <= 2**4


@pytest.mark.parametrize("number", [4, 5])
def test_updates_are_valued_as_by_enumeration(number: int) -> None:
    rng = np.random.default_rng(3)
    target, shares = rng.normal(size=8), rng.integers(1, 100, number).astype(float)
    updates = (target + rng.normal(size=(number, 8)) * np.arange(number)[:, None]).astype(np.float32)
    score = _nearness(target)

    def value(coalition: frozenset[int]) -> float:
        some = sorted(coalition)
        return score(shares[some] @ updates[some] / shares[some].sum() if some else np.zeros(8))

    values = gtg_shapley(score, np.zeros(8, np.float32), updates, shares, np.random.default_rng(0), THOROUGH)
    exact = exact_shapley(value, number)
    np.testing.assert_allclose(values, exact, atol=0.05)
    assert values.argmax() == exact.argmax()


def test_clients_without_rows_add_nothing() -> None:
    score = _nearness(np.ones(2))
    updates = np.ones((2, 2), np.float32)
    values = gtg_shapley(score, np.zeros(2, np.float32), updates, np.array([5.0, 0.0]), np.random.default_rng(0))
    assert values[1] == 0.0
    np.testing.assert_allclose(values[0], np.sqrt(2))


def _reports(updates: dict[int, list[float]], round: int = 1, failed: tuple[int, ...] = ()) -> Reports:
    clients = np.array(sorted(updates), np.int64)
    matrix = np.array([updates[client] for client in clients.tolist()], np.float32).reshape(len(clients), -1)
    failures = tuple(Failure(client, round, "late") for client in failed)
    start = np.zeros(matrix.shape[1], np.float32)
    return Reports(round, clients, {"update": matrix}, failures, start, _nearness(np.ones(matrix.shape[1])))


def _choose(selector: ShapleyAveraging | GreedyShapley, view: View, seed: int = 0) -> Choice:
    return selector.choose(view, (), generator(seed, "selection", view.round))


def test_who_points_the_right_way_is_worth_more() -> None:
    clients, values = valuations(_reports({2: [1.0, 1.0], 5: [-0.5, -0.5]}), Patience(), 0)
    assert clients.tolist() == [2, 5]
    assert values[0] > 0 > values[1]


def test_valuing_is_a_function_of_seed_and_round() -> None:
    rng = np.random.default_rng(0)
    updates = {client: rng.normal(size=3).tolist() for client in range(6)}
    first, again, other = (valuations(_reports(updates), Patience(), seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_relevance_is_the_recursion_of_the_source() -> None:
    selector, phi = ShapleyAveraging(), np.full(4, 1 / 4)
    state: State = {}
    for round in range(1, 6):
        reports = _reports({0: [1.0, 0.5], round % 4: [0.2, 0.4]}, round)
        clients, values = valuations(reports, Patience(), 0)
        phi[clients] = 0.75 * phi[clients] + 0.25 * values
        state = selector.observe(state, reports)
    start = 0.75 ** np.asarray(state["valued"]) / 4
    np.testing.assert_allclose(np.asarray(state["relevance"]) + start, phi[: len(start)])


def test_a_draw_is_by_softmax() -> None:
    state: State = {"relevance": np.log(np.array([1.0, 2.0, 5.0])), "valued": np.full(3, 100.0)}
    counts = np.zeros(3)
    for seed in range(800):
        counts[_choose(ShapleyAveraging(CohortSize(count=1)), View(2, np.arange(3), state=state), seed).cohort] += 1
    np.testing.assert_allclose(counts / 800, [1 / 8, 2 / 8, 5 / 8], atol=5 * np.sqrt(0.25 / 800))


def test_everybody_is_valued_once_before_the_best_are_chosen() -> None:
    selector, seen = GreedyShapley(CohortSize(count=3)), []
    state: State = {}
    for round in range(1, 6):
        cohort = _choose(selector, View(round, np.arange(8), state=state)).cohort.tolist()
        seen.append(cohort)
        updates = {client: [float(client), float(client)] for client in cohort}
        state = selector.observe(state, _reports({c: [x / 10 for x in u] for c, u in updates.items()}, round))
    assert seen[:2] == [[0, 1, 2], [3, 4, 5]]
    assert {6, 7} <= set(seen[2])
    best = set(np.argsort(-np.asarray(state["value"]))[:3].tolist())
    assert set(_choose(selector, View(6, np.arange(8), state=state)).cohort.tolist()) == best


def test_means_are_plain_or_exponential() -> None:
    reports = [_reports({0: [1.0]}), _reports({0: [0.5]}), _reports({0: [0.25]})]
    values = [float(valuations(one, Patience(), 0)[1][0]) for one in reports]
    plain, exponential = dict[str, object](), dict[str, object]()
    for one in reports:
        plain = dict(GreedyShapley().observe(plain, one))
        exponential = dict(GreedyShapley(memory=0.5).observe(exponential, one))
    assert np.asarray(plain["value"])[0] == pytest.approx(np.mean(values))
    assert np.asarray(exponential["value"])[0] == pytest.approx(values[0] / 4 + values[1] / 4 + values[2] / 2)


def test_a_dead_client_has_one_turn_and_counts_as_zero() -> None:
    selector = GreedyShapley(CohortSize(count=1))
    state = selector.observe({}, _reports({1: [0.5]}, failed=(0,)))
    assert _choose(selector, View(2, np.arange(2), state=state)).cohort.tolist() == [1]


@pytest.mark.parametrize("selector", [ShapleyAveraging(), GreedyShapley()])
def test_without_updates_or_score_nothing_is_valued(selector: ShapleyAveraging | GreedyShapley) -> None:
    clients = np.array([0, 1])
    for reports in (
        Reports(1, clients, {}, ()),
        Reports(1, clients, {"update": np.full(2, np.nan)}, ()),
        Reports(1, clients, {"update": np.ones((2, 3))}, (), np.zeros(3, np.float32)),
        Reports(1, clients, {"update": np.full((2, 3), np.nan)}, (), np.zeros(3, np.float32), lambda weights: 1.0),
    ):
        state = selector.observe({}, reports)
        assert np.asarray(state["valued"]).sum() == 0
        assert _choose(selector, View(2, np.arange(4), state=state)).cohort.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("selector", [ShapleyAveraging, GreedyShapley])
@pytest.mark.parametrize(("name", "value"), [("memory", 1.5), ("truncation", -1.0)])
def test_a_wrong_parameter_is_refused_by_name(selector: type, name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        selector(**{name: value})
