from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from werkbund.core import ConfigError
from werkbund.core.arrays import Float64Array
from werkbund.core.rng import generator
from werkbund.core.types import Choice, Replies
from werkbund.selection import CohortSize, View
from werkbund.selection.methods.optimal import (
    AggregatedOptimalSampling,
    OptimalSampling,
    aggregated_probabilities,
    draw_somebody,
    optimal_probabilities,
)
from werkbund.selection.questions import HOLD

positive = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8).map(np.array)


def _variance(probabilities: Float64Array, importances: Float64Array) -> float:
    return float((importances**2 * (1 / probabilities - 1)).sum())


def test_golden_probabilities() -> None:
    u = np.array([1.0, 2.0, 3.0, 10.0])
    expected = [1 / 6, 1 / 3, 1 / 2, 1.0]
    np.testing.assert_allclose(optimal_probabilities(u, 2), expected)
    np.testing.assert_allclose(aggregated_probabilities(u, 2, 2), expected)


def test_equal_norms_are_uniform() -> None:
    for rule in (optimal_probabilities(np.full(6, 3.0), 2), aggregated_probabilities(np.full(6, 3.0), 2, 4)):
        np.testing.assert_allclose(rule, 1 / 3)


@given(positive, st.integers(1, 8))
def test_probabilities_sum_to_the_expected_number(u: Float64Array, k: int) -> None:
    probabilities = optimal_probabilities(u, k)
    assert ((probabilities > 0) & (probabilities <= 1)).all()
    np.testing.assert_allclose(probabilities.sum(), min(k, len(u)), rtol=1e-9)
    order = np.argsort(u, kind="stable")
    assert (np.diff(probabilities[order]) >= -1e-12).all()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [1, 2, 3])
def test_no_other_probabilities_vary_less(seed: int, k: int) -> None:
    u = np.random.default_rng(seed).lognormal(0, 1.5, 5)
    probabilities = optimal_probabilities(u, k)
    best = minimize(
        _variance,
        np.full(5, k / 5),
        args=(u,),
        bounds=[(1e-6, 1.0)] * 5,
        constraints={"type": "eq", "fun": lambda p: p.sum() - k},
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-13},
    )
    assert _variance(probabilities, u) <= best.fun * (1 + 1e-6)


def test_no_probabilities_on_a_grid_vary_less() -> None:
    u = np.array([0.5, 1.0, 4.0])
    steps = np.linspace(0.01, 1.0, 100)
    a, b = np.meshgrid(steps, steps)
    c = 2 - a - b
    fits = (c > 0) & (c <= 1)
    grid = np.stack([a[fits], b[fits], c[fits]], axis=1)
    least = min(_variance(row, u) for row in grid)
    best = _variance(optimal_probabilities(u, 2), u)
    assert best <= least + 1e-9
    assert best == pytest.approx(least, rel=0.01)


@given(positive, st.integers(1, 8))
def test_sums_alone_come_close_to_the_optimum(u: Float64Array, k: int) -> None:
    np.testing.assert_allclose(aggregated_probabilities(u, k, 50), optimal_probabilities(u, k), rtol=1e-6)


def test_the_server_hears_nothing_but_sums() -> None:
    heard: list[float] = []

    def total(values: Float64Array) -> float:
        heard.append(float(values.sum()))
        return heard[-1]

    aggregated_probabilities(np.array([1.0, 2.0, 3.0, 10.0]), 2, 4, total)
    assert heard[:3] == [16.0, 3.0, pytest.approx(0.75)]


def test_zeros_share_what_the_others_leave() -> None:
    np.testing.assert_allclose(optimal_probabilities(np.array([0.0, 0.0, 5.0]), 2), [0.5, 0.5, 1.0])
    np.testing.assert_allclose(optimal_probabilities(np.zeros(4), 2), 0.5)
    np.testing.assert_allclose(aggregated_probabilities(np.zeros(4), 2, 4), 0.5)


def test_an_update_of_zero_is_not_uploaded_where_others_are_there() -> None:
    assert optimal_probabilities(np.array([0.0, 1.0, 1.0, 1.0]), 2)[0] == 0


def test_everybody_uploads_where_as_many_are_wanted() -> None:
    u = np.array([0.0, 1.0, 100.0])
    assert optimal_probabilities(u, 3).tolist() == aggregated_probabilities(u, 7, 4).tolist() == [1, 1, 1]


def test_a_draw_of_somebody_is_as_probable_as_it_says() -> None:
    probabilities, draws = np.array([0.2, 0.3, 0.5]), 20_000
    rng = np.random.default_rng(0)
    counts = np.zeros(3)
    for _ in range(draws):
        drawn, said = draw_somebody(probabilities, rng)
        assert drawn.any()
        counts += drawn
    np.testing.assert_allclose(said, probabilities / (1 - 0.8 * 0.7 * 0.5))
    np.testing.assert_allclose(counts / draws, said, atol=5 * np.sqrt(0.25 / draws))


def _held(view: View, norms: Float64Array) -> tuple[Replies, ...]:
    """Answer in two batches, the later clients first."""
    half = len(view.available) // 2
    parts = [slice(half, None), slice(0, half)]
    return tuple(Replies(HOLD, view.round, view.available[part], {}, {"norm": norms[part]}) for part in parts)


def _aggregate(choice: Choice, updates: Float64Array, rows: Float64Array) -> Float64Array:
    assert choice.total is not None
    weights = choice.factors * (np.ones(len(choice.cohort)) if choice.equal else rows[choice.cohort])
    mean: Float64Array = weights @ updates[choice.cohort] / choice.total
    return mean


@pytest.mark.parametrize(
    "selector", [OptimalSampling(CohortSize(count=1)), AggregatedOptimalSampling(CohortSize(count=3))]
)
@pytest.mark.parametrize("known", [True, False])
def test_it_is_unbiased(selector: OptimalSampling | AggregatedOptimalSampling, known: bool) -> None:
    rng = np.random.default_rng(3)
    updates = rng.normal(size=(8, 2)) * rng.lognormal(0, 1, (8, 1))
    rows = np.arange(1.0, 9.0)
    view = View(1, np.arange(8), {"rows": rows} if known else {})
    answers = _held(view, np.linalg.norm(updates, axis=1))
    draws = np.array(
        [_aggregate(selector.choose(view, answers, generator(0, "t", seed)), updates, rows) for seed in range(4000)]
    )
    full = rows @ updates / rows.sum() if known else updates.mean(axis=0)
    error = draws.std(axis=0) / np.sqrt(len(draws))
    assert (np.abs(draws.mean(axis=0) - full) < 5 * error).all()


def test_it_is_unbiased_with_a_part_of_the_clients_as_pool() -> None:
    selector = OptimalSampling(CohortSize(count=2), pool=4)
    updates, rows = np.random.default_rng(3).normal(size=(8, 2)), np.arange(1.0, 9.0)
    view = View(1, np.arange(8), {"rows": rows})
    draws = []
    for seed in range(6000):
        stream = generator(0, "t", seed)
        asked = selector.probe(view, (), stream)
        assert asked is not None
        assert len(asked) == 4
        answers = (Replies(HOLD, 1, asked.clients, {}, {"norm": np.linalg.norm(updates[asked.clients], axis=1)}),)
        choice = selector.choose(view, answers, stream)
        np.testing.assert_allclose(choice.factors * choice.probabilities, 1.0)
        draws.append(_aggregate(choice, updates, rows))
    error = np.std(draws, axis=0) / np.sqrt(len(draws))
    assert (np.abs(np.mean(draws, axis=0) - rows @ updates / rows.sum()) < 5 * error).all()


def test_it_asks_once_and_uploads_what_is_held() -> None:
    view, rng = View(1, np.array([1, 4, 6])), np.random.default_rng(0)
    selector = OptimalSampling(CohortSize(count=2))
    asked = selector.probe(view, (), rng)
    assert asked is not None
    assert (asked.kind, asked.clients.tolist()) == (HOLD, [1, 4, 6])
    answers = _held(view, np.array([1.0, 1.0, 1.0]))
    assert selector.probe(view, answers, rng) is None
    choice = selector.choose(view, answers, rng)
    assert choice.held
    assert choice.inclusion is not None
    np.testing.assert_allclose(choice.inclusion, (2 / 3) / (1 - 1 / 27))


def test_who_did_not_train_is_not_asked_to_upload() -> None:
    view = View(1, np.arange(5), {"rows": np.full(5, 10.0)})
    answers = (Replies(HOLD, 1, np.array([3]), {}, {"norm": np.array([2.0])}),)
    choice = OptimalSampling(CohortSize(count=2)).choose(view, answers, np.random.default_rng(0))
    assert choice.cohort.tolist() == [3]
    assert choice.total == 10.0


def test_missing_norms_count_like_the_mean_of_the_others() -> None:
    view, norms = View(1, np.arange(4)), np.array([1.0, np.nan, 3.0, np.inf])
    choice = OptimalSampling(CohortSize(count=2)).choose(view, _held(view, norms), np.random.default_rng(0))
    expected = draw_somebody(np.array([0.25, 0.5, 0.75, 0.5]), np.random.default_rng(0))[1]
    assert choice.inclusion is not None
    np.testing.assert_allclose(choice.inclusion, expected)


def test_what_is_no_number_a_client_counts_as_missing() -> None:
    view = View(1, np.arange(3))
    odd = (
        Replies(HOLD, 1, np.arange(2), {}, {"norm": np.ones((2, 2))}),
        Replies(HOLD, 1, np.array([2]), {}, {"norm": np.array(["x"])}),
    )
    assert len(OptimalSampling(CohortSize(count=3)).choose(view, odd, np.random.default_rng(0)).cohort) == 3


def test_without_any_norm_all_are_alike() -> None:
    view = View(1, np.arange(4))
    answers = (Replies(HOLD, 1, np.arange(4)),)
    choice = AggregatedOptimalSampling(CohortSize(count=4)).choose(view, answers, np.random.default_rng(0))
    assert choice.cohort.tolist() == [0, 1, 2, 3]


def test_a_silent_pool_is_replaced_by_a_cohort_that_trains() -> None:
    choice = OptimalSampling(CohortSize(count=2)).choose(View(1, np.arange(5)), (), np.random.default_rng(0))
    assert (choice.held, len(choice.cohort)) == (False, 2)


def test_nobody_is_asked_where_nobody_is_there() -> None:
    view = View(1, np.empty(0, np.int64))
    assert OptimalSampling().probe(view, (), np.random.default_rng(0)) is None
    assert len(OptimalSampling().choose(view, (), np.random.default_rng(0)).cohort) == 0


@pytest.mark.parametrize("kind", [OptimalSampling, AggregatedOptimalSampling])
def test_a_pool_of_nobody_is_refused(kind: type[OptimalSampling]) -> None:
    with pytest.raises(ConfigError, match=r"selection\.pool must be >= 1, got 0"):
        kind(pool=0)


def test_negative_steps_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"selection\.steps must be >= 0, got -1"):
        AggregatedOptimalSampling(steps=-1)
