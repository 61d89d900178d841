import numpy as np
import pytest

from werkbund.core.arrays import Float64Array
from werkbund.core.rng import generator
from werkbund.selection import CohortSize, Reports, View
from werkbund.selection.facts import shares
from werkbund.selection.methods.proportional import Proportional, UniformUnbiased

ROWS = np.array([5.0, 100.0, 1.0, 40.0, 40.0, 14.0, 300.0])
BOTH = pytest.mark.parametrize("kind", [Proportional, UniformUnbiased])


def _aggregate(selector: Proportional | UniformUnbiased, view: View, updates: Float64Array, seed: int) -> Float64Array:
    """Return what the server makes of these updates, (clients, parameters), one a client."""
    choice = selector.choose(view, (), generator(seed, "selection", 1))
    rows = view.fact("rows", 1.0)[choice.cohort]
    weight = choice.factors * (1.0 if choice.equal else rows)
    assert choice.total is not None
    return np.asarray((weight[:, None] * updates[choice.cohort]).sum(0) / choice.total)


@BOTH
@pytest.mark.parametrize("count", [1, 3, 7])
def test_the_expected_aggregate_is_that_of_full_participation(
    kind: type[Proportional | UniformUnbiased], count: int
) -> None:
    view, num_rounds = View(1, np.arange(7), {"rows": ROWS}), 3000
    updates = np.random.default_rng(0).normal(size=(7, 4)) + 1.0
    selector = kind(CohortSize(count=count))
    aggregates = np.stack([_aggregate(selector, view, updates, seed) for seed in range(num_rounds)])
    error = aggregates.std(0, ddof=1) / np.sqrt(num_rounds)
    full = shares(ROWS) @ updates
    assert (np.abs(aggregates.mean(0) - full) <= 4 * error + 1e-12).all()
    if kind is UniformUnbiased and count == 7:
        np.testing.assert_allclose(aggregates, np.tile(full, (num_rounds, 1)))


@BOTH
def test_without_declared_rows_the_expected_aggregate_is_the_plain_mean(
    kind: type[Proportional | UniformUnbiased],
) -> None:
    view, num_rounds = View(1, np.arange(5)), 2000
    updates = np.random.default_rng(1).normal(size=(5, 3))
    selector = kind(CohortSize(count=2))
    aggregates = np.stack([_aggregate(selector, view, updates, seed) for seed in range(num_rounds)])
    error = aggregates.std(0, ddof=1) / np.sqrt(num_rounds)
    assert (np.abs(aggregates.mean(0) - updates.mean(0)) <= 4 * error).all()


def test_dividing_by_the_rows_of_the_cohort_would_be_biased() -> None:
    """What plain FedAvg does after a uniform draw; the mean over all draws of 2 is not the full aggregate."""
    rows, updates = np.array([1.0, 1.0, 98.0]), np.array([0.0, 0.0, 1.0])
    pairs = [(0, 1), (0, 2), (1, 2)]
    plain = np.mean([(rows[[*pair]] @ updates[[*pair]]) / rows[[*pair]].sum() for pair in pairs])
    corrected = np.mean([1.5 * (rows[[*pair]] @ updates[[*pair]]) / rows.sum() for pair in pairs])
    assert plain == pytest.approx(0.98 * 2 / 3 / (0.98 + 0.01), abs=1e-3)
    assert corrected == pytest.approx(0.98)


def test_md_counts_how_often_each_was_drawn() -> None:
    selector = Proportional(CohortSize(count=6))
    view = View(1, np.array([2, 4, 9]), {"rows": np.array([0, 0, 1, 0, 1, 0, 0, 0, 0, 2])})
    for seed in range(50):
        choice = selector.choose(view, (), generator(seed, "selection", 1))
        assert choice.factors.sum() == choice.total == 3  # never more draws than clients
        assert set(choice.cohort.tolist()) <= {2, 4, 9}
        assert choice.equal
        assert len(choice.cohort) == len(set(choice.cohort.tolist()))


def test_md_says_how_probable_it_is_that_a_client_is_drawn_at_all() -> None:
    view, num_rounds = View(1, np.arange(7), {"rows": ROWS}), 4000
    selector, counts = Proportional(CohortSize(count=3)), np.zeros(7)
    for seed in range(num_rounds):
        choice = selector.choose(view, (), generator(seed, "selection", 1))
        counts[choice.cohort] += 1
    assert choice.inclusion is not None
    np.testing.assert_allclose(choice.inclusion, 1 - (1 - shares(ROWS)) ** 3)
    np.testing.assert_allclose(counts / num_rounds, choice.inclusion, atol=5 * np.sqrt(0.25 / num_rounds))


@BOTH
def test_one_client_is_chosen_alone(kind: type[Proportional | UniformUnbiased]) -> None:
    choice = kind().choose(View(1, np.array([3]), {"rows": np.array([1, 1, 1, 8])}), (), generator(0, "s", 1))
    assert choice.cohort.tolist() == [3]
    assert choice.factors.tolist() == choice.probabilities.tolist() == [1.0]


@BOTH
def test_nobody_available_is_nobody_chosen(kind: type[Proportional | UniformUnbiased]) -> None:
    choice = kind().choose(View(1, np.empty(0, np.int64), {"rows": ROWS}), (), generator(0, "s", 1))
    assert len(choice.cohort) == len(choice.factors) == len(choice.reasons) == 0


def test_a_client_without_rows_is_never_drawn_by_rows() -> None:
    view = View(1, np.arange(3), {"rows": np.array([0, 3, 4])})
    for seed in range(40):
        assert 0 not in Proportional().choose(view, (), generator(seed, "s", 1)).cohort


@BOTH
def test_nothing_is_learned(kind: type[Proportional | UniformUnbiased]) -> None:
    state = {"a": 1}
    assert kind().observe(state, Reports(1, np.arange(2), {}, ())) is state
    assert kind().declaration.unbiased
