"""Shares of a game: the textbook's, brute force over all orders, and what they must add up to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.errors import ConfigError
from werkbund.evaluation.contribution import contributions, shares_of

RNG = np.random.default_rng(0)
THREE = {
    (): 0.0,
    (0,): 0.2,
    (1,): 0.3,
    (2,): 0.1,
    (0, 1): 0.6,
    (0, 2): 0.4,
    (1, 2): 0.4,
    (0, 1, 2): 0.9,
}


def _shares(num_players: int, game: Callable[[tuple[int, ...]], float]) -> Any:
    return shares_of(num_players, game, np.random.default_rng(0))


def _over_all_orders(num_players: int, game: Callable[[tuple[int, ...]], float]) -> Any:
    added = np.zeros(num_players)
    orders = list(permutations(range(num_players)))
    for order in orders:
        for place, player in enumerate(order):
            before, after = order[:place], order[: place + 1]
            added[player] += game(tuple(sorted(after))) - game(tuple(sorted(before)))
    return added / len(orders)


@pytest.mark.parametrize(
    ("num_players", "game", "shapley", "alone"),
    [
        (3, THREE.__getitem__, (0.333333, 0.383333, 0.183333), (0.5, 0.5, 0.3)),
        (4, lambda c: float(0 in c and len(c) > 1), (0.75, 0.083333, 0.083333, 0.083333), (1.0, 0.0, 0.0, 0.0)),
        (4, lambda c: min(1.0, sum((0.5, 0.5, 0.3, 0.0)[i] for i in c)), (0.4, 0.4, 0.2, 0.0), (0.2, 0.2, 0.0, 0.0)),
    ],
)
def test_the_golden_games(num_players: int, game: Any, shapley: Any, alone: Any) -> None:
    shares = _shares(num_players, game)
    np.testing.assert_allclose(shares.shapley, shapley, atol=1e-6)
    np.testing.assert_allclose(shares.leave_one_out, alone, atol=1e-6)
    assert shares.evaluations == 2**num_players


@given(st.lists(st.integers(-20, 20), min_size=16, max_size=16))
def test_few_players_have_the_mean_over_all_orders_and_add_up(values: list[int]) -> None:
    def game(coalition: tuple[int, ...]) -> float:
        return float(values[sum(2**player for player in coalition)] / 10)

    shares = _shares(4, game)
    whole = game((0, 1, 2, 3)) - game(())
    if not shares.counted:
        assert abs(whole) <= 0.01
        assert not shares.shapley.any()
        return
    np.testing.assert_allclose(shares.shapley, _over_all_orders(4, game), atol=1e-9)
    assert shares.shapley.sum() == pytest.approx(whole)


def test_drawn_orders_come_near_the_exact_shares_and_their_intervals_hold_them() -> None:
    values = RNG.uniform(0, 1, 7)

    def game(coalition: tuple[int, ...]) -> float:
        return float(np.sqrt(values[list(coalition)].sum()))

    exact = _over_all_orders(7, game)
    held = []
    for seed in range(20):
        shares = shares_of(7, game, np.random.default_rng(seed))
        assert shares.shapley.sum() == pytest.approx(game(tuple(range(7))), abs=0.01)
        np.testing.assert_allclose(shares.shapley, exact, atol=0.1)
        held.append(np.abs(shares.shapley - exact) <= 1.96 * shares.spread + 0.002)
    assert np.mean(held) > 0.9


def test_what_is_cut_short_is_not_taken_for_a_score() -> None:
    asked = []

    def game(coalition: tuple[int, ...]) -> float:
        asked.append(coalition)
        return 1.0 if 0 in coalition else 0.0

    shares = _shares(8, game)
    assert len(asked) == len(set(asked)) == shares.evaluations
    np.testing.assert_allclose(shares.shapley, np.eye(8)[0], atol=1e-12)
    assert shares.evaluations < 2**8


def test_a_round_that_changes_little_counts_for_nobody() -> None:
    shares = _shares(9, lambda coalition: 0.5 + 0.001 * len(coalition))
    assert not shares.counted
    assert not shares.shapley.any()
    assert shares.evaluations == 2


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a score of the weights, and there is none: have failures"):
        _shares(3, lambda coalition: float("nan"))


def test_shares_of_rounds_are_summed_and_ranked() -> None:
    def told(clients: list[int], shapley: list[float], spread: float, counted: bool = True) -> Mapping[str, Any]:
        return {
            "clients": clients,
            "shapley": shapley,
            "spread": [spread] * len(clients),
            "leave_one_out": shapley,
            "counted": counted,
        }

    rounds = [told([0, 2], [0.1, 0.3], 0.03), told([0, 1], [0.2, -0.1], 0.04), told([1], [5.0], 0.0, counted=False)]
    ranked = contributions(rounds)
    assert [one.client for one in ranked] == [0, 2, 1]
    assert ranked[0].shapley == pytest.approx(0.3)
    assert ranked[0].high - ranked[0].shapley == pytest.approx(1.96 * 0.05)
    assert [one.rounds for one in ranked] == [2, 1, 1]
