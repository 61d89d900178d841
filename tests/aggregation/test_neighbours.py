"""Krum, Multi-Krum and Bulyan: golden numbers, brute force with ties, and Flower where it is right."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from flwr.server.strategy.aggregate import aggregate_bulyan, aggregate_krum
from flwr.serverapp.strategy import Bulyan as FlowersBulyan
from flwr.serverapp.strategy import Krum as FlowersKrum
from flwr.serverapp.strategy import MultiKrum as FlowersMultiKrum
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics.pairwise import cosine_similarity

from tests.aggregation.golden import ONE_OUTLIER, SCATTERED, TWO_OUTLIERS, flowers_move, moved_by
from werkbund.aggregation import Bulyan, Krum, MultiKrum, SybilFilter
from werkbund.aggregation.neighbours import bulyan_choice, copied, krum_scores, mean_near_median
from werkbund.aggregation.rows import cosines, mixed, squared_distances
from werkbund.core import ConfigError
from werkbund.core.arrays import Float64Array

INTEGERS = st.integers(3, 9).flatmap(lambda n: arrays(np.float64, (n, 2), elements=st.integers(-3, 3).map(float)))


def _krum(hostile: int) -> Krum:
    return Krum(hostile=hostile, momentum=0.0)


def _multi_krum(hostile: int, average: int | None = None) -> MultiKrum:
    return MultiKrum(hostile=hostile, average=average, momentum=0.0)


def _bulyan(hostile: int) -> Bulyan:
    return Bulyan(hostile=hostile, momentum=0.0)


def _distances(rows: Float64Array) -> Float64Array:
    return squared_distances(rows.astype(np.float32))


def _brute_score(rows: list[list[float]], client: int, hostile: int) -> float:
    """Return the least sum of squared distances to as many others as Krum looks at, over all sets of so many."""
    number = max(1, len(rows) - hostile - 2)
    ways = [
        sum((a - b) ** 2 for a, b in zip(rows[client], rows[other], strict=True))
        for other in range(len(rows))
        if other != client
    ]
    return min((sum(few) for few in combinations(ways, number)), default=0.0)


def _brute_krum(rows: list[list[float]], hostile: int) -> int:
    scores = [_brute_score(rows, client, hostile) for client in range(len(rows))]
    return scores.index(min(scores))


def _brute_bulyan(rows: list[list[float]], hostile: int) -> list[int]:
    left, chosen = list(range(len(rows))), []
    for _ in range(len(rows) - 2 * hostile):
        chosen.append(left.pop(_brute_krum([rows[client] for client in left], hostile)))
    return chosen


@pytest.mark.parametrize(
    ("hostile", "golden", "order"),
    [
        (2, (0.2875, 0.4075, 0.7575, 0.465, 0.7275, 276.66, 262.66), [0, 1, 3, 4, 2, 6, 5]),
        (1, (0.4275, 0.7475, 1.0975, 0.8475, 1.11, 415.955, 394.955), [0, 1, 3, 2, 4, 6, 5]),
    ],
)
def test_scores_are_the_golden_ones(hostile: int, golden: tuple[float, ...], order: list[int]) -> None:
    scores = krum_scores(_distances(TWO_OUTLIERS), hostile)
    np.testing.assert_allclose(scores, golden, rtol=1e-6)
    assert np.argsort(scores).tolist() == order


def test_krum_and_multi_krum_are_the_golden_ones() -> None:
    np.testing.assert_allclose(moved_by(_krum(2), TWO_OUTLIERS), (1, 2, 3), atol=1e-7)
    np.testing.assert_allclose(moved_by(_multi_krum(2), TWO_OUTLIERS), (1.116667, 2, 3.116667), atol=6e-7)
    np.testing.assert_allclose(moved_by(_multi_krum(1, 4), TWO_OUTLIERS), (1.0625, 2.075, 3.0375), atol=6e-7)


@pytest.mark.parametrize(
    ("rows", "choice", "golden"),
    [
        (TWO_OUTLIERS, [0, 1, 2, 3, 5], (1.116667, 2, 2.966667)),
        (ONE_OUTLIER, [0, 6, 1, 2, 3], (1.066667, 2.05, 3)),
        (SCATTERED, [5, 6, 1, 0, 2], (1.666667, 3.333333)),
    ],
)
def test_bulyan_is_the_golden_one(rows: Float64Array, choice: list[int], golden: tuple[float, ...]) -> None:
    assert bulyan_choice(_distances(rows), 1) == choice
    np.testing.assert_allclose(moved_by(_bulyan(1), rows), golden, atol=6e-7)


@settings(max_examples=50)
@given(INTEGERS, st.integers(0, 3))
def test_krum_is_brute_force_with_ties_to_the_first(rows: Float64Array, hostile: int) -> None:
    few = min(hostile, (len(rows) - 3) // 2)
    np.testing.assert_array_equal(moved_by(_krum(few), rows), rows[_brute_krum(rows.tolist(), few)])


@settings(max_examples=50)
@given(INTEGERS, st.integers(0, 3), st.integers(1, 9))
def test_multi_krum_is_brute_force(rows: Float64Array, hostile: int, average: int) -> None:
    few = min(hostile, (len(rows) - 3) // 2)
    number = min(average, len(rows) - few - 2)
    scores = [_brute_score(rows.tolist(), client, few) for client in range(len(rows))]
    best = sorted(range(len(rows)), key=lambda client: (scores[client], client))[:number]
    np.testing.assert_allclose(moved_by(_multi_krum(few, number), rows), rows[best].mean(axis=0), rtol=1e-6, atol=1e-7)


@settings(max_examples=50)
@given(INTEGERS, st.integers(0, 1))
def test_bulyan_chooses_as_brute_force(rows: Float64Array, hostile: int) -> None:
    few = min(hostile, (len(rows) - 3) // 4)
    assert bulyan_choice(_distances(rows), few) == _brute_bulyan(rows.tolist(), few)


@settings(max_examples=50)
@given(INTEGERS, st.integers(1, 9))
def test_near_the_median_are_the_values_of_least_distance(rows: Float64Array, wanted: int) -> None:
    number = min(wanted, len(rows))
    for column, mean in zip(
        rows.T, mean_near_median(rows.astype(np.float32), list(range(len(rows))), number).tolist(), strict=True
    ):
        middle = float(np.median(column))
        nearest = sorted(column.tolist(), key=lambda value: (abs(value - middle), value))[:number]
        assert mean == pytest.approx(sum(nearest) / number, abs=1e-6)


@pytest.mark.parametrize("rows", [TWO_OUTLIERS, ONE_OUTLIER, SCATTERED])
def test_flowers_krum_is_the_same_in_double_precision(rows: Float64Array) -> None:
    for hostile in (1, 2):
        theirs = flowers_move(FlowersKrum(num_malicious_nodes=hostile), rows)
        np.testing.assert_allclose(moved_by(_krum(hostile), rows), theirs, atol=5e-7)


@pytest.mark.parametrize("rows", [TWO_OUTLIERS, ONE_OUTLIER])
def test_flowers_multi_krum_is_the_same_where_rows_are_equal_and_weighs_by_rows_where_not(rows: Float64Array) -> None:
    strategy = FlowersMultiKrum(num_malicious_nodes=2, num_nodes_to_select=3)
    np.testing.assert_allclose(moved_by(_multi_krum(2, 3), rows), flowers_move(strategy, rows), atol=5e-7)
    claimed = np.arange(10.0, 80.0, 10.0)
    by_rows = flowers_move(strategy, rows, claimed)
    assert not np.allclose(by_rows, flowers_move(strategy, rows), atol=1e-3)
    np.testing.assert_allclose(moved_by(_multi_krum(2, 3), rows, claimed), moved_by(_multi_krum(2, 3), rows), rtol=1e-6)


@pytest.mark.parametrize("rows", [TWO_OUTLIERS, ONE_OUTLIER, SCATTERED])
def test_flowers_earlier_bulyan_is_the_same_and_its_later_one_chooses_all_at_once(rows: Float64Array) -> None:
    earlier = aggregate_bulyan([([row], 1) for row in rows], 1, aggregate_krum, to_keep=0)
    np.testing.assert_allclose(moved_by(_bulyan(1), rows), earlier[0], atol=5e-7)
    at_once = np.argsort(krum_scores(_distances(rows), 1), kind="stable")[:5].tolist()
    later = mean_near_median(rows.astype(np.float32), at_once, 3)
    np.testing.assert_allclose(flowers_move(FlowersBulyan(num_malicious_nodes=1), rows), later, atol=5e-7)


def test_small_updates_around_large_weights_keep_their_neighbours() -> None:
    """Flower compares weights in single precision, in which the differences of such updates are lost."""
    rng = np.random.default_rng(0)
    weights = rng.normal(scale=0.1, size=2000).astype(np.float32)
    updates = rng.normal(scale=1e-5, size=(10, 2000)).astype(np.float32)
    updates[8:] *= 3
    ways = updates.astype(np.float64)[:, None] - updates[None]
    expected = krum_scores((ways**2).sum(axis=2), 2)
    np.testing.assert_allclose(krum_scores(squared_distances(updates), 2), expected, rtol=1e-10)
    moved = weights + updates
    squares = np.square(moved).sum(axis=1)
    single = (squares[:, None] + squares[None] - 2 * moved @ moved.T).astype(np.float64)
    assert not np.allclose(krum_scores(np.maximum(single, 0), 2), expected, rtol=0.5)


def test_mixing_is_the_golden_one_and_the_mean_where_nobody_is_hostile() -> None:
    rows = TWO_OUTLIERS.astype(np.float32)
    np.testing.assert_allclose(mixed(rows, 2).mean(axis=0), (1.984286, 1.157143, 2.748571), atol=1e-6)
    np.testing.assert_allclose(mixed(rows, 0), np.tile(TWO_OUTLIERS.mean(axis=0), (7, 1)), rtol=1e-6)


@settings(max_examples=50)
@given(INTEGERS, st.integers(0, 4))
def test_mixing_is_brute_force(rows: Float64Array, hostile: int) -> None:
    number = max(len(rows) - hostile, 1)
    for client, mean in enumerate(mixed(rows.astype(np.float32), len(rows) - number)):
        ways = ((rows - rows[client]) ** 2).sum(axis=1)
        order = sorted(range(len(rows)), key=lambda other: (other != client, ways[other], other))
        np.testing.assert_allclose(mean, rows[order[:number]].mean(axis=0), atol=1e-6)


def test_mixing_keeps_a_minority_that_a_median_throws_away() -> None:
    rows = np.array([[0.0]] * 5 + [[1.0]] * 4)
    plain, mixing = Krum(hostile=2, momentum=0.0), Krum(hostile=2, mixing=True, momentum=0.0)
    assert moved_by(plain, rows) == 0.0
    assert moved_by(mixing, rows) == pytest.approx(2 / 7)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (
            _krum(3),
            "'krum' bears 2 hostile among 7 updates at most, got hostile = 3; lower it to 2, or see that 9 clients",
        ),
        (_bulyan(2), "'bulyan' bears 1 hostile among 7 .* lower it to 1, or see that 11 clients answer"),
        (_multi_krum(2, 4), "'multi-krum' bears 1 hostile among 7 .* lower it to 1, or see that 8 clients answer"),
        (_multi_krum(0, 6), "'multi-krum' takes 8 updates at least, got 7"),
    ],
)
def test_beyond_what_is_admissible_it_refuses_with_the_most_that_fits(rule: Krum, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        moved_by(rule, TWO_OUTLIERS)


def _filter(hostile: int, times: float = 1e6) -> SybilFilter:
    return SybilFilter(hostile=hostile, times=times, momentum=0.0)


def test_cosines_are_scikit_learns() -> None:
    rows = np.random.default_rng(0).normal(size=(7, 2500)).astype(np.float32)
    rows[3] = 0.0
    np.testing.assert_allclose(cosines(rows), cosine_similarity(rows.astype(np.float64)), atol=1e-9)


@settings(max_examples=100)
@given(INTEGERS, st.integers(0, 4))
def test_copies_are_at_most_as_many_as_may_be_hostile(rows: Float64Array, hostile: int) -> None:
    alike = cosines(rows.astype(np.float32))
    found = copied(alike, hostile, 0.95)
    assert found.sum() <= hostile
    others = alike - 4 * np.eye(len(alike))
    assert (others[found].max(axis=1, initial=-1) > 0.95).all()


def test_copies_and_nothing_are_left_out_and_the_mean_is_of_the_others() -> None:
    rng = np.random.default_rng(1)
    honest, hostile = rng.normal(size=(6, 50)), rng.normal(size=50)
    rows = np.array([*honest, hostile, 2 * hostile, np.zeros(50)])
    np.testing.assert_allclose(moved_by(_filter(3), rows), honest.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(moved_by(_filter(0), rows), rows[:8].mean(axis=0), atol=1e-6)


def test_more_copies_than_may_be_hostile_are_no_attack() -> None:
    rng = np.random.default_rng(2)
    alike, others = np.tile(rng.normal(size=40), (3, 1)), rng.normal(size=(5, 40))
    rows = np.array([*alike, *others])
    np.testing.assert_allclose(moved_by(_filter(2), rows), rows.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(moved_by(_filter(3), rows), others.mean(axis=0), atol=1e-6)


@given(st.integers(1, 3), st.floats(1.0, 1e6), st.integers(0, 99))
def test_who_is_no_copy_pulls_by_no_more_than_its_share_of_the_bound(hostile: int, size: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(7, 60))
    rows[7 - hostile :] *= size
    lengths = np.linalg.norm(rows, axis=1)
    bound = 2 * float(np.median(lengths))
    shortened = (rows * np.minimum(1, bound / lengths)[:, None])[: 7 - hostile].sum(axis=0) / 7
    assert np.linalg.norm(moved_by(_filter(hostile, 2.0), rows) - shortened) <= bound * hostile / 7 + 1e-4
