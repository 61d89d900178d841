import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core import ConfigError, Failure
from werkbund.core.arrays import Int64Array
from werkbund.core.rng import generator
from werkbund.core.types import Choice
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.methods.e3cs import ExponentialWeights, allocation, learned


def _choose(selector: ExponentialWeights, view: View, seed: int = 0) -> Choice:
    return selector.choose(view, (), generator(seed, "selection", view.round))


def _observe(
    selector: ExponentialWeights, state: State, choice: Choice, came: set[int], with_choice: bool = True
) -> State:
    answered = np.array([client for client in choice.cohort.tolist() if client in came], dtype=np.int64)
    failed = tuple(Failure(client, 1, "late") for client in choice.cohort.tolist() if client not in came)
    reports = Reports(1, answered, {}, failed, choice=choice) if with_choice else Reports(1, answered, {}, failed)
    return selector.observe(state, reports)


def test_the_golden_numbers() -> None:
    np.testing.assert_allclose(allocation(np.ones(4), 2, 0.25), 0.5)
    logs = learned(np.zeros(4), np.full(4, 0.5), np.array([1.0, 0, 0, 0]), cohort=2, everyone=4, quota=0.25, rate=0.5)
    np.testing.assert_allclose(np.exp(logs), [np.exp(0.25), 1, 1, 1])
    after = allocation(np.exp(logs), 2, 0.25)
    np.testing.assert_allclose(after, [0.5497, 0.4834, 0.4834, 0.4834], atol=5e-5)
    assert after.sum() == pytest.approx(2)


@pytest.mark.parametrize("with_choice", [True, False])
def test_the_golden_numbers_through_the_selector(with_choice: bool) -> None:
    selector = ExponentialWeights(CohortSize(count=2))
    everybody = View(1, np.arange(4))
    seed = next(s for s in range(99) if set(_choose(selector, everybody, s).cohort.tolist()) == {0, 3})
    state = _observe(selector, {}, _choose(selector, everybody, seed), {0}, with_choice)
    inclusion = _choose(selector, View(2, np.arange(4), state=state)).inclusion
    assert inclusion is not None
    np.testing.assert_allclose(inclusion, [0.5497, 0.4834, 0.4834, 0.4834], atol=5e-5)


def test_who_is_capped_leaves_the_rest_to_the_others() -> None:
    """A port cuts at 1 and scales nobody, so that fewer than k are drawn."""
    inclusion = allocation(np.array([1000.0, 1.0, 1.0, 2.0]), 2, 0.1)
    # One is certain; each other keeps 0.1, and 1 - 0.3 is shared 1 : 1 : 2.
    np.testing.assert_allclose(inclusion, [1.0, 0.275, 0.275, 0.45])


def test_capping_is_the_sources_cut_of_weights() -> None:
    """Weights above (1 - σ)·α are cut, with α such that the largest probability is exactly 1."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        weights, number, quota = rng.exponential(size=8) ** 4 + 1e-9, 3, 0.2
        low, high = 0.0, float(weights.max())
        for _ in range(200):
            middle = (low + high) / 2
            cut = np.minimum(weights, middle)
            low, high = (low, middle) if quota + (number - 8 * quota) * middle / cut.sum() > 1 else (middle, high)
        cut = np.minimum(weights, high)
        expected = quota + (number - 8 * quota) * cut / cut.sum()
        np.testing.assert_allclose(allocation(weights, number, quota), expected, atol=1e-6)


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=20), st.floats(0, 1), st.integers(1, 20))
def test_probabilities_sum_to_the_cohort_and_nobody_is_below_the_quota(
    weights: list[float], share: float, wanted: int
) -> None:
    number = min(wanted, len(weights))
    quota = share * number / len(weights)
    inclusion = allocation(np.array(weights), number, quota)
    assert inclusion.sum() == pytest.approx(number)
    assert (inclusion >= quota - 1e-9).all()
    assert (inclusion <= 1).all()


def test_a_full_quota_is_uniform_and_learns_nothing() -> None:
    selector = ExponentialWeights(CohortSize(count=2), quota=1.0)
    choice = _choose(selector, View(1, np.arange(5), state={"log_weight": np.array([9.0, 0, 0, 0, 0])}))
    np.testing.assert_allclose(choice.probabilities, 0.4)
    np.testing.assert_allclose(_observe(selector, {}, choice, set(range(5)))["log_weight"], 0)


def test_who_was_certain_and_who_failed_learn_nothing() -> None:
    logs = learned(
        np.zeros(3), np.array([1.0, 0.5, 0.5]), np.array([1.0, 0.0, 1.0]), cohort=2, everyone=3, quota=0.0, rate=0.5
    )
    np.testing.assert_allclose(logs, [0, 0, 2 * 0.5 / 3 / 0.5])


def test_outcomes_of_clients_that_were_not_drawn_do_not_count() -> None:
    """A port raises the weights of all clients that would have answered."""
    selector = ExponentialWeights(CohortSize(count=2))
    choice = _choose(selector, View(1, np.arange(6)))
    logs = np.asarray(_observe(selector, {}, choice, set(range(6)))["log_weight"])
    assert set(np.flatnonzero(logs).tolist()) == set(choice.cohort.tolist())


def test_the_estimate_of_success_is_unbiased() -> None:
    """E[x̂] is x for every client: the draw has exactly the probability that the estimate divides by."""
    weights, num_rounds = np.array([0.0, 0.5, 2.0, 3.0, 0.1]), 4000
    selector, view = ExponentialWeights(CohortSize(count=2), 0.2), View(1, np.arange(5), state={"log_weight": weights})
    estimates = np.zeros((num_rounds, 5))
    for seed in range(num_rounds):
        choice = _choose(selector, view, seed)
        estimates[seed, choice.cohort] = 1.0 / choice.probabilities
    error = estimates.std(0, ddof=1) / np.sqrt(num_rounds)
    assert (np.abs(estimates.mean(0) - 1.0) <= 4 * error).all()


def test_an_increasing_quota_is_none_in_the_first_quarter_and_uniform_after_it() -> None:
    selector = ExponentialWeights(CohortSize(count=2), increasing=True)
    state = {"log_weight": np.array([2.0, 0.0, 0.0, 0.0])}
    alone = allocation(np.exp(state["log_weight"]), 2, 0.0)
    for round, last, expected in ((25, 100, alone), (26, 100, np.full(4, 0.5)), (26, 0, alone)):
        inclusion = _choose(selector, View(round, np.arange(4), state=state, last=last)).inclusion
        assert inclusion is not None
        np.testing.assert_allclose(inclusion, expected)


@pytest.mark.parametrize("with_choice", [True, False])
def test_clients_that_answer_are_drawn_more_often_and_the_others_keep_their_quota(with_choice: bool) -> None:
    rates = np.repeat([0.1, 0.9], 10)
    selector, luck = ExponentialWeights(CohortSize(count=4), quota=0.5), np.random.default_rng(0)
    state: State = {}
    for round in range(1, 401):
        choice = _choose(selector, View(round, np.arange(20), state=state, last=400))
        state = _observe(selector, state, choice, set(np.flatnonzero(luck.random(20) < rates).tolist()), with_choice)
    inclusion = choice.inclusion
    assert inclusion is not None
    assert inclusion[10:].mean() > 1.5 * inclusion[:10].mean()
    assert inclusion.min() >= 0.5 * 4 / 20 - 1e-9


def test_weights_never_overflow() -> None:
    selector, state = ExponentialWeights(CohortSize(count=1), quota=0.0, rate=50.0), {"log_weight": np.zeros(3)}
    for round in range(1, 200):
        choice = _choose(selector, View(round, np.arange(3), state=state))
        state = dict(_observe(selector, state, choice, {0, 1, 2}))
    assert np.isfinite(state["log_weight"]).all()


def test_new_and_vanished_clients_are_tolerated() -> None:
    selector = ExponentialWeights(CohortSize(count=2))
    state = _observe(selector, {}, _choose(selector, View(1, np.arange(3))), {0, 1, 2})
    choice = _choose(selector, View(2, np.array([1, 50, 60]), state=state))
    assert len(choice.cohort) == 2
    assert len(np.asarray(_observe(selector, state, choice, {60, 50, 1})["log_weight"])) > 50


def test_a_cohort_that_failed_altogether_changes_no_weight() -> None:
    selector = ExponentialWeights(CohortSize(count=2))
    for with_choice in (True, False):
        state = _observe(selector, {}, _choose(selector, View(1, np.arange(5))), set(), with_choice)
        assert not np.asarray(state["log_weight"]).any()
    assert selector.observe({}, Reports(1, np.empty(0, np.int64), {}, ()))["log_weight"].tolist() == []


@pytest.mark.parametrize("available", [np.empty(0, np.int64), np.array([4]), np.arange(3)])
def test_everybody_is_chosen_where_as_many_are_wanted(available: Int64Array) -> None:
    choice = _choose(ExponentialWeights(CohortSize(count=9)), View(1, available))
    assert choice.cohort.tolist() == available.tolist()
    assert choice.probabilities.tolist() == [1.0] * len(available)


@pytest.mark.parametrize("bad", [{"quota": 1.1}, {"quota": np.nan}, {"rate": 0.0}, {"rate": np.inf}])
def test_a_parameter_out_of_range_is_refused_by_name(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"strategy.selection.{next(iter(bad))} must be"):
        ExponentialWeights(**bad)  # type: ignore[arg-type]
