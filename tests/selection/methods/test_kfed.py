from __future__ import annotations

import numpy as np
import pytest

from werkbund.core import ConfigError
from werkbund.core.arrays import Float32Array, Int64Array
from werkbund.core.rng import generator
from werkbund.core.types import Replies
from werkbund.learner.signals import local_centroids
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.methods.kfed import FederatedClusters, cluster_sets, distinct_first, first_centres
from werkbund.selection.questions import CENTROIDS, LOSS

CORNERS = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10]])
HELD = [(0, 1), (2, 3), (0, 1), (1, 2), (0, 1), (0, 1)]
"""The corners whose rows each of six clients has."""


def _rows(client: int) -> Float32Array:
    rng = np.random.default_rng(client)
    rows = np.repeat(CORNERS[list(HELD[client])], 20, axis=0) + rng.normal(0, 0.3, (40, 2))
    return rows.astype(np.float32)


def _centroid_answers(clients: Int64Array, round: int = 1, local: int = 2) -> Replies:
    centroids = [local_centroids(_rows(client), local, np.random.default_rng(client))[0] for client in clients.tolist()]
    return Replies(CENTROIDS, round, clients, {}, {"centroids": np.stack(centroids)})


def test_local_centroids_are_the_middles_of_a_client_s_rows() -> None:
    centroids, sizes = local_centroids(_rows(0), 2, np.random.default_rng(0))
    assert sizes.tolist() == [20, 20]
    np.testing.assert_allclose(centroids[np.argsort(centroids[:, 0])], CORNERS[[0, 1]], atol=0.3)


def test_fewer_distinct_rows_than_clusters_leave_gaps() -> None:
    rows = np.array([[1.0, 2.0], [1.0, 2.0], [5.0, 6.0], [np.nan, 0.0]], np.float32)
    centroids, sizes = local_centroids(rows, 4, np.random.default_rng(0))
    assert sorted(centroids[:2, 0].tolist()) == [1, 5]
    assert np.isnan(centroids[2:]).all()
    assert sorted(sizes.tolist()) == [0, 0, 1, 2]
    centroids, sizes = local_centroids(rows[:0], 2, np.random.default_rng(0))
    assert np.isnan(centroids).all()
    assert sizes.sum() == 0


def test_no_local_cluster_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="k must be >= 1"):
        local_centroids(_rows(0), 0, np.random.default_rng(0))


def test_the_first_client_s_centroids_begin_and_the_farthest_follow() -> None:
    points = np.array([[0.0], [1], [0.5], [9], [4]])
    np.testing.assert_array_equal(first_centres(points, 2, 4)[:, 0], [0, 1, 9, 4])
    np.testing.assert_array_equal(first_centres(points[:2], 2, 5)[:, 0], [0, 1])
    np.testing.assert_array_equal(first_centres(np.zeros((3, 2)), 2, 4), np.zeros((1, 2)))


def test_clusters_over_all_clients_are_found() -> None:
    local = _centroid_answers(np.arange(6)).clear["centroids"]
    sets = cluster_sets(local, 4)
    assert sets.shape == (6, 4)
    assert (sets.sum(axis=1) == 2).all()
    assert (sets[[0, 2, 4, 5]] == sets[0]).all()
    assert (sets[1] == ~sets[0]).all()
    assert (sets[3] & sets[0]).sum() == (sets[3] & sets[1]).sum() == 1


def test_no_set_comes_twice_before_every_other_has_come() -> None:
    sets = np.array([4, 4, 4, 1, 0, 1, 4])
    assert distinct_first(sets).tolist() == [0, 3, 4, 1, 5, 2, 6]
    assert distinct_first(np.empty(0, np.int64)).tolist() == []


def _first(selector: FederatedClusters, clients: Int64Array) -> State:
    answers = (_centroid_answers(clients[3:]), _centroid_answers(clients[:3]))
    return selector.observe({}, Reports(1, clients[:1], {}, (), answers=answers))


def test_clients_of_one_set_are_not_chosen_together_as_long_as_there_are_others() -> None:
    selector = FederatedClusters(CohortSize(count=3), clusters=4, local=2)
    state = _first(selector, np.arange(6))
    chosen = set[tuple[int, ...]]()
    for seed in range(60):
        choice = selector.choose(View(3, np.arange(6), state=state), (), generator(seed, "s", 3))
        assert {HELD[client] for client in choice.cohort.tolist()} == {(0, 1), (2, 3), (1, 2)}
        chosen.add(tuple(choice.cohort.tolist()))
    assert len(chosen) == 4


def test_centroids_count_in_the_round_that_asks_for_them() -> None:
    selector, view = FederatedClusters(CohortSize(count=3), clusters=4, local=2), View(1, np.arange(6))
    rng = generator(0, "s", 1)
    asked = selector.probe(view, (), rng)
    assert asked is not None
    assert (asked.kind, int(asked.shared["k"]), asked.clients.tolist()) == (CENTROIDS, 2, list(range(6)))
    assert asked.own["key"].dtype == np.uint64
    answers = (_centroid_answers(np.arange(6)),)
    assert selector.probe(view, answers, rng) is None
    cohort = selector.choose(view, answers, rng).cohort.tolist()
    assert {HELD[client] for client in cohort} == {(0, 1), (2, 3), (1, 2)}


def test_only_those_who_lack_are_asked_again_and_ever_more_rarely() -> None:
    selector = FederatedClusters(CohortSize(count=2), clusters=4, local=2)
    state = _first(selector, np.arange(5))
    asked = []
    for round in range(1, 20):
        question = selector.probe(View(round, np.array([0, 2, 5, 9]), state=state), (), generator(0, "s", round))
        if question is not None:
            assert question.clients.tolist() == [5, 9]
            asked.append(round)
    assert asked == [1, 2, 4, 8, 16]


def test_with_power_of_choice_large_losses_come_first_but_sets_do_not_repeat() -> None:
    selector = FederatedClusters(CohortSize(count=2), clusters=4, local=2, candidates=6)
    state, rng = _first(selector, np.arange(6)), generator(0, "s", 3)
    view = View(3, np.arange(6), state=state)
    asked = selector.probe(view, (), rng)
    assert asked is not None
    assert (asked.kind, len(asked)) == (LOSS, 6)
    losses = np.array([5.0, 1.0, 6.0, 2.0, np.nan, 4.0])
    answers = (Replies(LOSS, 3, np.arange(6), {}, {"loss": losses}),)
    assert selector.probe(view, answers, rng) is None
    assert selector.choose(view, answers, rng).cohort.tolist() == [2, 3]


def test_candidates_are_as_many_as_said_and_come_before_the_others() -> None:
    selector = FederatedClusters(CohortSize(count=1), local=2, candidates=3)
    state = _first(selector, np.arange(6))
    view = View(3, np.arange(6), {"rows": np.array([1, 0, 1, 0, 1, 0])}, state)
    asked = selector.probe(view, (), generator(0, "s", 3))
    assert asked is not None
    assert asked.clients.tolist() == [0, 2, 4]
    answers = (Replies(LOSS, 3, np.array([4]), {}, {"loss": np.array([0.1])}),)
    assert selector.choose(view, answers, generator(0, "s", 3)).cohort.tolist() == [4]


def test_odd_answers_are_passed_over() -> None:
    selector = FederatedClusters(CohortSize(count=2), clusters=4, local=2)
    odd = (
        Replies(CENTROIDS, 1, np.array([0]), {}, {"centroids": np.zeros((1, 3, 2), np.float32)}),
        Replies(CENTROIDS, 1, np.array([1]), {}, {}),
        Replies(CENTROIDS, 1, np.array([2]), {}, {"centroids": np.full((1, 2, 2), np.nan, np.float32)}),
        Replies(CENTROIDS, 1, np.array([3]), {}, {"centroids": np.array([[[1.0, 1], [np.nan, 1]]], np.float32)}),
    )
    state = selector.observe({}, Reports(1, np.array([0]), {}, (), answers=odd))
    assert state["clients"].tolist() == [3]
    choice = selector.choose(View(2, np.arange(5), state=state), (), generator(0, "s", 2))
    assert len(choice.cohort) == 2


def test_one_client_with_other_features_does_not_drive_out_the_rest() -> None:
    selector = FederatedClusters(CohortSize(count=2), clusters=4, local=2)
    odd = Replies(CENTROIDS, 1, np.array([9]), {}, {"centroids": np.ones((1, 2, 7), np.float32)})
    state = selector.observe({}, Reports(1, np.array([0]), {}, (), answers=(odd, _centroid_answers(np.arange(6)))))
    assert state["clients"].tolist() == list(range(6))
    assert selector.observe(state, Reports(2, np.array([0]), {}, (), answers=(odd,))) == state


def test_without_answers_it_learns_nothing_and_draws_by_rows() -> None:
    selector = FederatedClusters(CohortSize(count=1))
    assert selector.observe({}, Reports(1, np.arange(2), {}, ())) == {}
    counts = np.zeros(3)
    for seed in range(3000):
        counts[
            selector.choose(View(3, np.arange(3), {"rows": np.array([1, 2, 3])}), (), generator(seed, "s")).cohort
        ] += 1
    np.testing.assert_allclose(counts / 3000, [1 / 6, 1 / 3, 1 / 2], atol=5 * np.sqrt(0.25 / 3000))


@pytest.mark.parametrize("number", [0, 1, 3])
def test_as_many_as_there_are_is_everybody(number: int) -> None:
    choice = FederatedClusters().choose(View(3, np.arange(number)), (), generator(0, "s"))
    assert choice.cohort.tolist() == list(range(number))


@pytest.mark.parametrize(("name", "value"), [("clusters", 0), ("local", 0), ("candidates", -1)])
def test_parameters_out_of_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"selection.{name} must be"):
        FederatedClusters(**{name: value})  # type: ignore[arg-type]
