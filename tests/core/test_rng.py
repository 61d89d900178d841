import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.rng import derived_seed, generator, keys, mix, shuffles

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=8)


def _within_chance(counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bool:
    """Compare Pearson's statistic with its mean and five standard deviations under uniform counts."""
    expected = counts.sum() / len(counts)
    statistic = float(((counts - expected) ** 2 / expected).sum())
    degrees = len(counts) - 1
    return abs(statistic - degrees) < 5 * math.sqrt(2 * degrees)


def test_distinct_addresses_give_distinct_keys() -> None:
    purposes = ["batches", "batches/1", "split", ""]
    found = [keys(seed, purpose, round, range(50)) for seed, purpose, round in product(range(5), purposes, range(5))]
    assert len(np.unique(np.concatenate(found))) == 5 * 4 * 5 * 50


def test_seed_purpose_and_round_cannot_run_into_each_other() -> None:
    assert keys(1, "2/a", 3, 0) != keys(1, "2/a/3", 3, 0)
    assert keys(1, "a", 23, 0) != keys(12, "a", 3, 0)
    assert keys(-1, "a", 0, 0) != keys(1, "a", 0, 0)


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=20))
def test_a_key_does_not_depend_on_who_else_is_asked(clients: list[int]) -> None:
    together = keys(3, "training", 2, clients)
    alone = [int(keys(3, "training", 2, client)[0]) for client in clients]
    assert together.tolist() == alone


def test_mixing_is_one_to_one_and_leaves_its_argument_alone() -> None:
    values = np.arange(100_000, dtype=np.uint64)
    assert len(np.unique(mix(values))) == len(values)
    np.testing.assert_array_equal(values, np.arange(100_000, dtype=np.uint64))


def test_one_changed_bit_changes_half_of_the_bits() -> None:
    values = np.arange(1, 2001, dtype=np.uint64)
    changed = [np.bitwise_count(mix(values) ^ mix(values ^ np.uint64(1 << bit))).mean() for bit in range(0, 64, 7)]
    np.testing.assert_allclose(changed, 32, atol=1.0)


def test_every_bit_of_a_key_is_fair() -> None:
    drawn = np.concatenate([keys(seed, "fair", 0, range(200)) for seed in range(100)])
    ones = ((drawn[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)).mean(axis=0)
    np.testing.assert_allclose(ones, 0.5, atol=5 * 0.5 / np.sqrt(len(drawn)))


def test_the_same_address_gives_the_same_stream() -> None:
    np.testing.assert_array_equal(generator(1, "a", 2, 3).random(5), generator(1, "a", 2, 3).random(5))
    assert not np.array_equal(generator(1, "a", 2, 3).random(5), generator(1, "a", 2, 4).random(5))


def test_a_stream_does_not_touch_numpys_global_generator() -> None:
    before = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002 - looked at, not drawn from
    generator(1, "a").random(10)
    shuffles(keys(1, "a", 0, range(5)), 0, [4] * 5)
    after = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002 - looked at, not drawn from
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("client", [0, 1, 2**40])
def test_a_derived_seed_fits_63_bits(client: int) -> None:
    assert 0 <= derived_seed(7, "initial weights", 0, client) < 2**63


@given(SIZES, st.integers(0, 5))
def test_a_shuffle_is_a_permutation(sizes: list[int], epoch: int) -> None:
    orders = shuffles(keys(0, "batches", 1, range(len(sizes))), epoch, sizes)
    assert orders.shape == (len(sizes), max(sizes))
    for order, size in zip(orders, sizes, strict=True):
        assert sorted(order[:size].tolist()) == list(range(size))
        assert (order[size:] >= size).all()


@given(SIZES, st.integers(0, 5))
def test_a_shuffle_does_not_depend_on_the_rest_of_the_cohort(sizes: list[int], epoch: int) -> None:
    cohort = keys(5, "batches", 1, range(len(sizes)))
    together = shuffles(cohort, epoch, sizes)
    for i, size in enumerate(sizes):
        alone = shuffles(cohort[i : i + 1], epoch, [size])
        np.testing.assert_array_equal(together[i, :size], alone[0])


def test_all_permutations_are_equally_likely_over_seeds_and_clients() -> None:
    cohort = np.concatenate([keys(seed, "batches", 0, range(100)) for seed in range(240)])
    orders = shuffles(cohort, 0, np.full(len(cohort), 4))
    number = orders @ np.array([64, 16, 4, 1])
    counts = np.unique(number, return_counts=True)[1]
    assert len(counts) == 24
    assert _within_chance(counts)


def test_all_permutations_are_equally_likely_over_epochs_and_rounds() -> None:
    drawn = [
        shuffles(keys(1, "batches", round, range(20)), epoch, np.full(20, 3))
        for round, epoch in product(range(30), range(10))
    ]
    counts = np.unique(np.concatenate(drawn) @ np.array([9, 3, 1]), return_counts=True)[1]
    assert len(counts) == 6
    assert _within_chance(counts)


def test_every_row_is_equally_likely_at_every_place() -> None:
    cohort = keys(9, "batches", 0, range(20_000))
    orders = shuffles(cohort, 3, np.full(len(cohort), 11))
    for place in range(11):
        assert _within_chance(np.bincount(orders[:, place], minlength=11))


def test_epochs_are_shuffled_independently() -> None:
    cohort = keys(9, "batches", 0, range(20_000))
    first, second = (shuffles(cohort, epoch, np.full(len(cohort), 5)) for epoch in (0, 1))
    assert _within_chance(np.bincount(first[:, 0] * 5 + second[:, 0], minlength=25))
