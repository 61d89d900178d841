from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from werkbund.core import ConfigError, Failure
from werkbund.core.arrays import Float64Array
from werkbund.core.rng import generator
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.methods.hics import (
    HierarchicalClustered,
    as_classes,
    bias_distances,
    bias_entropy,
    cluster_probabilities,
    draw_clients,
    ward_clusters,
)


def test_golden_probabilities_of_clusters() -> None:
    probabilities = cluster_probabilities(np.array([0.5, 1.0, 2.0]), 4.0)
    np.testing.assert_allclose(probabilities, [0.0024, 0.0179, 0.9796], atol=1e-4)
    np.testing.assert_allclose(cluster_probabilities(np.array([0.5, 1.0, 2.0]), 0.0), 1 / 3)


def test_entropy_is_that_of_the_softmax_however_sharp() -> None:
    biases = np.random.default_rng(0).normal(size=(7, 5))
    for temperature in (10.0, 1.0, 0.01, 1e-6):
        shares = softmax(biases / temperature, axis=1)
        np.testing.assert_allclose(bias_entropy(biases, temperature), entropy(shares, axis=1), atol=1e-9)


def test_one_logit_is_two_classes_of_which_one_stays() -> None:
    wide = as_classes(np.array([[0.0], [0.3], [-0.3]], np.float32))
    assert wide.shape == (3, 2)
    entropies = bias_entropy(wide, 0.1)
    assert entropies[0] == pytest.approx(np.log(2))
    assert entropies[1] == pytest.approx(entropies[2], rel=1e-6)
    p = 1 / (1 + np.exp(-3.0))
    assert entropies[1] == pytest.approx(-p * np.log(p) - (1 - p) * np.log(1 - p), rel=1e-6)


def test_the_entropy_does_not_depend_on_how_the_logit_is_split_over_two_classes() -> None:
    step = np.array([[0.2], [-0.1]])
    np.testing.assert_allclose(
        bias_entropy(as_classes(step), 0.1), bias_entropy(np.column_stack([-step / 2, step / 2]), 0.1)
    )


def test_distances_are_angle_and_difference_of_entropies() -> None:
    biases = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [0.0, 0.0]])
    levels = np.array([0.1, 0.2, 0.4, 0.6])
    distances = bias_distances(biases, levels, biases, levels, 10.0)
    np.testing.assert_allclose(distances[0, 1:], [np.pi / 2 + 1, np.pi + 3, np.pi / 2 + 5])
    np.testing.assert_allclose(distances, distances.T)


def test_clusters_find_like_clients() -> None:
    biases = np.array(
        [[5.0, 0, 0], [5.1, 0, 0.1], [0, 4.0, 0], [0.1, 4.0, 0], [0.01, 0.01, 0.012], [0.011, 0.01, 0.01]]
    )
    labels = ward_clusters(biases, bias_entropy(biases, 0.5), 10.0, 3, np.random.default_rng(0))
    np.testing.assert_array_equal(labels[::2], labels[1::2])
    assert sorted(set(labels.tolist())) == [0, 1, 2]


def test_among_very_many_those_left_out_join_the_nearest() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 2, 1200)
    biases = np.eye(2)[kinds] + rng.normal(0, 0.01, (1200, 2))
    labels = ward_clusters(biases, np.zeros(1200), 10.0, 2, rng)
    assert len({(kind, label) for kind, label in zip(kinds.tolist(), labels.tolist(), strict=True)}) == 2


def test_draws_follow_entropy_and_rows_and_never_repeat() -> None:
    labels, counts = np.array([0, 0, 1, 1]), np.array([1.0, 3.0, 1.0, 1.0])
    first = np.zeros(4)
    for seed in range(4000):
        drawn = draw_clients(labels, np.array([0.0, 1.0]), counts, 1.0, 4, generator(seed, "s"))
        assert sorted(drawn.tolist()) == [0, 1, 2, 3]
        first[drawn[0]] += 1
    p = 1 / (1 + np.e)
    expected = [p / 4, 3 * p / 4, (1 - p) / 2, (1 - p) / 2]
    np.testing.assert_allclose(first / 4000, expected, atol=5 * np.sqrt(0.25 / 4000))


def _met(selector: HierarchicalClustered, steps: Float64Array) -> State:
    updates = np.column_stack([np.random.default_rng(1).normal(size=(len(steps), 3)), steps]).astype(np.float32)
    return selector.observe({}, Reports(1, np.arange(len(steps)), {"update": updates}, ()))


def test_everybody_is_met_once_in_random_order() -> None:
    selector, state, met = HierarchicalClustered(CohortSize(count=4)), dict[str, object](), list[int]()
    for round in range(1, 4):
        cohort = selector.choose(View(round, np.arange(10), state=state), (), generator(0, "s", round)).cohort
        assert len(cohort) == 4
        met += cohort.tolist()
        signals = {"update": np.ones((3, 5), np.float32)}
        state = dict(
            selector.observe(state, Reports(round, cohort[1:], signals, (Failure(int(cohort[0]), round, ""),)))
        )
    assert set(met) == set(range(10))
    assert sorted(met[:8]) != list(range(8))


def test_clients_of_high_entropy_come_early_and_all_alike_late() -> None:
    selector = HierarchicalClustered(CohortSize(count=2), clusters=2, temperature=0.1)
    steps = np.array([0.0, 0.001, -0.001, 0.0, 1.0, 1.1, 0.9, 1.0])[:, None]
    state = _met(selector, steps)
    early, late = np.zeros(2), np.zeros(2)
    for seed in range(400):
        for round, counts in ((2, early), (100, late)):
            view = View(round, np.arange(8), state=state, last=100)
            for client in selector.choose(view, (), generator(seed, "s", round)).cohort:
                counts[client // 4] += 1
    assert early[0] > 4 * early[1]
    assert abs(late[0] - late[1]) < 5 * np.sqrt(800 * 0.25)


def test_the_bias_is_found_where_it_is_said_to_be() -> None:
    updates = np.arange(12.0).reshape(2, 6).astype(np.float32)
    reports = Reports(1, np.array([2, 5]), {"update": updates}, ())
    assert HierarchicalClustered().observe({}, reports)["vectors"].tolist() == [[5.0], [11.0]]
    inner = HierarchicalClustered(bias_from=1, bias_to=3).observe({}, reports)
    assert inner["vectors"].tolist() == [[1.0, 2.0], [7.0, 8.0]]
    assert "vectors" not in HierarchicalClustered(bias_from=9).observe({}, reports)


def test_clients_asked_in_vain_are_drawn_too() -> None:
    selector = HierarchicalClustered(CohortSize(count=1), clusters=2)
    signals = {"update": np.array([[0.1], [0.2]], np.float32)}
    state = selector.observe({}, Reports(1, np.array([0, 1]), signals, (Failure(2, 1, "late"), Failure(3, 1, "late"))))
    cohorts = [
        selector.choose(View(2, np.arange(4), state=state), (), generator(seed, "s", 2)).cohort[0] for seed in range(60)
    ]
    assert set(cohorts) == {0, 1, 2, 3}


def test_with_no_bias_known_the_draw_is_by_rows() -> None:
    selector = HierarchicalClustered(CohortSize(count=1))
    state = selector.observe({}, Reports(1, np.arange(3), {}, ()))
    view = View(2, np.arange(3), {"rows": np.array([0, 0, 5])}, state)
    assert selector.choose(view, (), generator(0, "s", 2)).cohort.tolist() == [2]


@pytest.mark.parametrize("number", [0, 1, 3])
def test_as_many_as_there_are_is_everybody(number: int) -> None:
    choice = HierarchicalClustered().choose(View(1, np.arange(number)), (), generator(0, "s"))
    assert choice.cohort.tolist() == list(range(number))


@pytest.mark.parametrize(
    ("name", "value"),
    [("clusters", -1), ("entropy_factor", -0.1), ("sharpness", -1.0), ("temperature", 0.0), ("temperature", np.inf)],
)
def test_parameters_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"selection.{name} must be"):
        HierarchicalClustered(**{name: value})  # type: ignore[arg-type]
