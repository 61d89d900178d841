import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.arrays import Float64Array
from werkbund.selection.draws import largest, successive_inclusion, successively, systematic


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.integers(1, 12))
def test_the_largest_are_those_of_a_sort(values: list[float], number: int) -> None:
    places = largest(np.array(values), number, np.random.default_rng(0))
    assert sorted(values, reverse=True)[:number] == [values[place] for place in places]


def test_ties_fall_to_everybody_and_nan_comes_last() -> None:
    rng = np.random.default_rng(1)
    drawn = {int(largest(np.array([np.nan, 1.0, 1.0, -np.inf]), 1, rng)[0]) for _ in range(60)}
    assert drawn == {1, 2}
    assert set(largest(np.array([np.nan, 1.0]), 5, rng).tolist()) == {0, 1}


def _exact_successive(weights: Float64Array, number: int) -> Float64Array:
    """Return inclusion probabilities by going through every order of drawing."""
    chance = np.zeros(len(weights))
    for order in itertools.permutations(range(len(weights)), number):
        p, left = 1.0, weights.sum()
        for place in order:
            p, left = p * weights[place] / left, left - weights[place]
        chance[list(order)] += p
    return chance


def test_a_successive_draw_has_the_probabilities_of_drawing_one_after_the_other() -> None:
    weights, number, rounds = np.array([1.0, 2.0, 3.0, 6.0]), 2, 20_000
    rng = np.random.default_rng(2)
    counts = np.zeros(4)
    for _ in range(rounds):
        counts[successively(weights, number, rng)] += 1
    np.testing.assert_allclose(counts / rounds, _exact_successive(weights, number), atol=5 * np.sqrt(0.25 / rounds))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_successive_inclusion_is_near_and_sums_to_the_number(number: int) -> None:
    weights = np.array([1.0, 2.0, 3.0, 6.0, 4.0])
    near = successive_inclusion(weights, number)
    assert near.sum() == pytest.approx(number)
    np.testing.assert_allclose(near, _exact_successive(weights, number), atol=0.05)


def test_places_without_weight_come_last() -> None:
    rng = np.random.default_rng(3)
    weights = np.array([0.0, 1.0, 0.0, 5.0])
    for _ in range(30):
        assert set(successively(weights, 2, rng).tolist()) == {1, 3}
        assert len(set(successively(weights, 3, rng).tolist())) == 3
    np.testing.assert_allclose(successive_inclusion(weights, 3), [0.5, 1, 0.5, 1])
    np.testing.assert_allclose(successive_inclusion(weights, 4), 1)


def test_systematic_sampling_has_exactly_the_given_inclusion() -> None:
    inclusion, rounds = np.array([1.0, 0.15, 0.85, 0.5, 0.3, 0.2, 0.0]), 20_000
    rng = np.random.default_rng(4)
    counts = np.zeros(7)
    for _ in range(rounds):
        drawn = systematic(inclusion, rng)
        assert len(set(drawn.tolist())) == 3
        counts[drawn] += 1
    np.testing.assert_allclose(counts / rounds, inclusion, atol=5 * np.sqrt(0.25 / rounds))
    assert counts[0] == rounds
    assert counts[6] == 0


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=30), st.integers(0, 2**31))
def test_systematic_sampling_draws_as_many_as_the_sum_says(weights: list[float], seed: int) -> None:
    number = len(weights) // 2
    inclusion = np.array(weights) * number / np.sum(weights)
    if inclusion.max() > 1:
        return
    drawn = systematic(inclusion, np.random.default_rng(seed))
    assert len(drawn) == len(set(drawn.tolist())) == number


def test_nearly_every_pair_can_be_drawn_together() -> None:
    rng = np.random.default_rng(5)
    pairs = {tuple(systematic(np.full(6, 1 / 3), rng).tolist()) for _ in range(400)}
    assert len(pairs) == 15
