from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core import ConfigError
from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.rng import generator
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.methods.clustered import (
    ClusteredBySimilarity,
    ClusteredBySize,
    by_likeness,
    capped_clusters,
    draw_each,
    in_order,
    packed,
    pour,
)

Clustered = ClusteredBySize | ClusteredBySimilarity

sizes = st.lists(st.integers(0, 500), min_size=2, max_size=12).filter(lambda rows: sum(rows) > 0).map(np.array)


def test_golden_urns() -> None:
    rows = np.array([50, 30, 20])
    urns = in_order(2 * rows / rows.sum(), np.argsort(-rows))
    np.testing.assert_allclose(urns.matrix(3), np.array([[1, 0, 0], [0, 0.6, 0.4]]), atol=1e-12)


@given(sizes, st.integers(1, 8), st.integers(0, 3))
def test_every_urn_is_full_and_every_client_has_its_share(rows: Int64Array, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    masses = k * rows / rows.sum()
    clusters = packed(masses % 1.0)
    for urns in (in_order(masses, np.argsort(-rows)), by_likeness(masses, clusters, rng)):
        matrix = urns.matrix(len(rows))
        np.testing.assert_allclose(matrix.sum(axis=1), np.ones(k), atol=1e-6)
        np.testing.assert_allclose(matrix.sum(axis=0), masses, atol=1e-6)


def test_draws_come_from_their_urns_as_often_as_these_say() -> None:
    masses = np.array([1.2, 0.5, 0.3, 0.7, 0.3])
    urns = in_order(masses, np.arange(5))
    matrix, rng, counts = urns.matrix(5), np.random.default_rng(0), np.zeros((3, 5))
    for _ in range(4000):
        drawn = draw_each(urns, rng)
        counts[np.arange(3), drawn] += 1
    np.testing.assert_allclose(counts / 4000, matrix, atol=5 * np.sqrt(0.25 / 4000))
    assert (counts[matrix == 0] == 0).all()


def test_inclusion_is_the_chance_of_one_urn_at_least() -> None:
    urns = pour(np.array([1.5, 0.5]), np.ones(2))
    np.testing.assert_allclose(urns.inclusion(2), [1.0, 0.5])
    urns = pour(np.array([0.6, 0.8, 0.6]), np.ones(2))
    np.testing.assert_allclose(urns.inclusion(3), [0.6, 1 - 0.6 * 0.6, 0.6])


def test_clusters_are_the_largest_branches_that_are_light_enough() -> None:
    points = np.array([0.0, 0.1, 5.0, 5.1, 5.3, 20.0])
    matrix = np.abs(points[:, None] - points[None, :])
    groups = capped_clusters(matrix, np.array([0.3, 0.3, 0.4, 0.4, 0.2, 1.0]))
    assert len(set(groups[:2])) == len(set(groups[2:5])) == 1
    assert len(set(groups)) == 3
    groups = capped_clusters(matrix, np.array([0.3, 0.3, 0.4, 0.4, 0.3, 1.0]))
    assert groups[2] == groups[3] != groups[4]


def test_similar_clients_share_an_urn() -> None:
    masses = np.full(6, 0.5)
    clusters = np.array([7, 8, 9, 7, 8, 9])
    matrix = by_likeness(masses, clusters, np.random.default_rng(0)).matrix(6)
    assert {tuple(np.flatnonzero(row).tolist()) for row in matrix} == {(0, 3), (1, 4), (2, 5)}


def _trained(selector: Clustered, clients: Int64Array, updates: Float64Array, round: int, state: State) -> State:
    return selector.observe(state, Reports(round, clients, {"update": updates.astype(np.float32)}, ()))


def _groups() -> tuple[Int64Array, Float64Array]:
    """Return nine clients of three directions."""
    clients = np.arange(9)
    rng = np.random.default_rng(0)
    return clients, np.eye(3)[clients % 3] + rng.normal(0, 0.01, (9, 3))


def test_with_updates_of_three_kinds_each_kind_is_drawn_once() -> None:
    selector = ClusteredBySimilarity(CohortSize(count=3))
    clients, updates = _groups()
    state = _trained(selector, clients, updates, 1, {})
    for seed in range(30):
        choice = selector.choose(View(2, clients, {"rows": np.full(9, 10)}, state), (), generator(seed, "s", 2))
        assert sorted(choice.cohort % 3) == [0, 1, 2]


@pytest.mark.parametrize("measure", ["arccos", "l2", "l1"])
@pytest.mark.parametrize("seen", [0, 4, 9])
def test_it_is_unbiased(measure: str, seen: int) -> None:
    rows, rounds = np.array([1, 2, 3, 4, 5, 6, 7, 8, 30]), 4000
    clients, updates = _groups()
    for selector in (ClusteredBySize(CohortSize(count=4)), ClusteredBySimilarity(CohortSize(count=4), measure)):
        state = _trained(selector, clients[:seen], updates[:seen], 1, {}) if seen else {}
        view, counts = View(2, clients, {"rows": rows}, state), np.zeros(9)
        for seed in range(rounds // 4):
            choice = selector.choose(view, (), generator(seed, "s", 2))
            assert choice.equal is True
            assert choice.total == choice.factors.sum() == 4
            counts[choice.cohort] += choice.factors / choice.total
        expected = rows / rows.sum()
        np.testing.assert_allclose(counts / (rounds // 4), expected, atol=5 * np.sqrt(0.25 / rounds))


def test_it_varies_less_than_independent_draws() -> None:
    rows, values = np.arange(1, 13), np.arange(12.0) ** 2
    masses = 4 * rows / rows.sum()
    matrix = in_order(masses, np.argsort(-rows)).matrix(12)
    each = (matrix @ values**2 - (matrix @ values) ** 2).sum() / 16
    p = rows / rows.sum()
    assert each < ((p @ values**2) - (p @ values) ** 2) / 4


def test_inclusion_holds_in_simulation() -> None:
    rows = np.array([40, 30, 20, 10, 5, 5])
    selector, view = ClusteredBySize(CohortSize(count=3)), View(1, np.arange(6), {"rows": rows})
    counts = np.zeros(6)
    for seed in range(3000):
        choice = selector.choose(view, (), generator(seed, "s", 1))
        counts[choice.cohort] += 1
    assert choice.inclusion is not None
    np.testing.assert_allclose(counts / 3000, choice.inclusion, atol=5 * np.sqrt(0.25 / 3000))


@pytest.mark.parametrize("selector", [ClusteredBySize(), ClusteredBySimilarity()])
def test_with_as_many_urns_as_clients_everybody_trains(selector: Clustered) -> None:
    for number in (0, 1, 5):
        view = View(1, np.arange(number) * 2, {"rows": np.array([9, 0, 5, 0, 1, 0, 1, 0, 1])})
        choice = selector.choose(view, (), np.random.default_rng(0))
        assert choice.cohort.tolist() == view.available.tolist()
        assert choice.equal is False or not number


def test_one_client_with_most_rows_is_drawn_from_several_urns() -> None:
    view = View(1, np.array([3, 5, 8]), {"rows": np.array([0, 0, 0, 90, 0, 5, 0, 0, 5])})
    for selector in (ClusteredBySize(CohortSize(count=2)), ClusteredBySimilarity(CohortSize(count=2))):
        factors = [selector.choose(view, (), generator(seed, "s", 1)).factors.max() for seed in range(20)]
        assert max(factors) == 2


def test_only_the_newest_updates_are_kept_and_odd_ones_are_not() -> None:
    selector = ClusteredBySimilarity(CohortSize(count=2), memory=3)
    state = _trained(selector, np.array([0, 1, 2]), np.ones((3, 2)), 1, {})
    state = _trained(selector, np.array([1, 9, 12]), np.array([[2.0, 2], [3, 3], [np.nan, 1]]), 2, state)
    assert state["clients"].tolist() == [0, 1, 9]
    assert state["vectors"][:, 0].tolist() == [1, 2, 3]
    assert state["vectors"].dtype == np.float32
    choice = selector.choose(View(3, np.arange(0, 14, 2), state=state), (), np.random.default_rng(0))
    assert choice.factors.sum() == 2


def test_without_updates_nothing_is_learned() -> None:
    selector = ClusteredBySimilarity(CohortSize(count=2))
    assert selector.observe({}, Reports(1, np.arange(3), {}, ())) == {}


def test_unknown_measures_and_empty_memories_are_refused() -> None:
    with pytest.raises(ConfigError, match="measure must be one of arccos, l2, l1, got 'cosine'"):
        ClusteredBySimilarity(measure="cosine")
    with pytest.raises(ConfigError, match="memory must be >= 1"):
        ClusteredBySimilarity(memory=0)
