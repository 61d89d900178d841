import itertools

import numpy as np
import pytest

from werkbund.core import ConfigError, Failure
from werkbund.core.arrays import Int64Array
from werkbund.core.rng import generator
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.methods.rbcs import FairAndFast, cheapest, optimistic, queued


def _after(selector: FairAndFast, state: State, seconds: dict[int, float], failed: tuple[int, ...] = ()) -> State:
    clients = np.array(sorted(seconds), dtype=np.int64)
    signals = {"seconds": np.array([seconds[client] for client in clients.tolist()])}
    return selector.observe(state, Reports(1, clients, signals, tuple(Failure(one, 1, "late") for one in failed)))


def _cohort(selector: FairAndFast, view: View, seed: int = 0) -> list[int]:
    cohort: list[int] = selector.choose(view, (), generator(seed, "selection", view.round)).cohort.tolist()
    return cohort


def test_the_golden_queue() -> None:
    queue, lengths = np.zeros(1), []
    for chosen in (0.0, 0.0, 1.0):
        queue = queued(queue, 0.4, np.array([chosen]))
        lengths.append(float(queue[0]))
    np.testing.assert_allclose(lengths, [0.4, 0.8, 0.2])


@pytest.mark.parametrize("seed", range(40))
def test_the_cohort_of_least_cost_is_that_of_an_exhaustive_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, price = int(rng.integers(1, 9)), float(rng.choice([0.0, 0.5, 3.0]))
    number = int(rng.integers(1, n + 1))
    times, queues = rng.integers(0, 5, n).astype(float), rng.integers(0, 6, n) / 2

    def cost(places: tuple[int, ...]) -> float:
        return float(price * times[list(places)].max() - queues[list(places)].sum())

    cohort = cheapest(times, queues, number, price)
    assert len(set(cohort.tolist())) == number
    assert cost(tuple(cohort.tolist())) == pytest.approx(min(map(cost, itertools.combinations(range(n), number))))


def test_without_a_price_the_longest_queues_go_and_with_a_high_one_the_fastest() -> None:
    times, queues = np.array([9.0, 1.0, 5.0, 2.0]), np.array([3.0, 0.0, 2.0, 1.0])
    assert cheapest(times, queues, 2, 0.0).tolist() == [0, 2]
    assert cheapest(times, queues, 2, 1e6).tolist() == [1, 3]


def test_the_regression_is_a_ridge_regression() -> None:
    """Checked against least squares on the data with √λ·I appended; a port adds the inner product to every entry."""
    rng = np.random.default_rng(0)
    contexts, true = rng.normal(size=(30, 2)), np.array([3.0, -1.0])
    seconds = contexts @ true + 0.1 * rng.normal(size=30)
    appended = np.vstack([contexts, np.sqrt(2.0) * np.eye(2)])
    theta = np.linalg.lstsq(appended, np.r_[seconds, 0, 0], rcond=None)[0]
    new = np.array([[2.0, 0.5]])
    inverse = np.linalg.inv(appended.T @ appended)
    times = optimistic((contexts.T @ contexts)[None], (contexts.T @ seconds)[None], new, np.zeros((1, 2)), 2.0, 0.3)
    np.testing.assert_allclose(times, new @ theta - 0.3 * np.sqrt(new[0] @ inverse @ new[0]))


def test_times_are_never_below_zero_and_unknown_ones_are_zero() -> None:
    nothing = optimistic(np.zeros((1, 2, 2)), np.zeros((1, 2)), np.ones((1, 2)), np.zeros((1, 2)), 1.0, 0.1)
    assert nothing.tolist() == [0.0]
    declared = optimistic(np.zeros((1, 2, 2)), np.zeros((1, 2)), np.ones((1, 2)), np.array([[7.0, 0]]), 1.0, 0.0)
    np.testing.assert_allclose(declared, [7.0])


def test_a_time_goes_with_the_round_in_which_it_was_measured() -> None:
    """A port pairs the context of a round with the time of the round before."""
    selector = FairAndFast(CohortSize(count=1))
    state = _after(selector, {}, {1: 10.0})  # took no part before: context (1, 0)
    state = _after(selector, state, {1: 4.0})  # took part in the last round: context (1, 1)
    np.testing.assert_allclose(np.asarray(state["gram"])[1], [[2, 1], [1, 1]])
    np.testing.assert_allclose(np.asarray(state["moment"])[1], [14, 4])
    state = _after(selector, state, {0: 1.0})
    state = _after(selector, state, {1: 10.0})
    np.testing.assert_allclose(np.asarray(state["gram"])[1], [[3, 1], [1, 1]])


def test_queues_are_those_of_the_recursion_though_only_turns_are_noted() -> None:
    selector, rng, n = FairAndFast(CohortSize(count=2), due=0.3, price=0.0), np.random.default_rng(1), 6
    state: State = {}
    queue = np.zeros(n)
    for _ in range(25):
        cohort = rng.choice(n, 2, replace=False)
        chosen = np.isin(np.arange(n), cohort).astype(float)
        queue = queued(queue, 0.3, chosen)
        state = _after(selector, state, {int(cohort[0]): 1.0}, (int(cohort[1]),))
        first = _cohort(FairAndFast(CohortSize(count=1), due=0.3, price=0.0), View(2, np.arange(n), state=state))
        assert queue[first[0]] == pytest.approx(queue.max())


def test_slow_clients_wait_but_get_the_turns_that_are_due() -> None:
    seconds = np.array([1.0, 1.0, 1.0, 1.0, 8.0])
    turns, rounds = np.zeros(5), 300
    selector = FairAndFast(CohortSize(count=2), due=0.2, price=2.0)
    state: State = {}
    for round in range(1, rounds + 1):
        cohort = _cohort(selector, View(round, np.arange(5), state=state))
        turns[cohort] += 1
        state = _after(selector, state, {client: float(seconds[client]) for client in cohort})
    assert (turns >= 0.2 * rounds - 30).all()
    assert turns[4] == turns.min()
    hasty = FairAndFast(CohortSize(count=2), due=0.0, price=5.0)
    state = _after(hasty, {}, dict(enumerate(seconds.tolist())))
    assert 4 not in _cohort(hasty, View(2, np.arange(5), state=state))


def test_a_declared_slow_client_need_not_be_tried_first() -> None:
    facts = {"seconds_compute": np.array([1.0, 50.0, 1.0]), "seconds_up": np.ones(3)}
    selector = FairAndFast(CohortSize(count=2))
    assert all(_cohort(selector, View(1, np.arange(3), facts), seed) == [0, 2] for seed in range(10))


def test_a_failure_is_a_turn_and_no_time() -> None:
    selector = FairAndFast()
    state = _after(selector, {}, {0: 2.0, 2: np.nan}, (1,))
    assert np.asarray(state["since"]).tolist() == [1, 1, 1]
    np.testing.assert_allclose(np.asarray(state["gram"])[:, 0, 0], [1, 0, 0])
    assert _cohort(FairAndFast(CohortSize(count=1), due=0.5), View(2, np.arange(4), state=state)) == [3]


def test_the_unit_of_time_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    seconds = rng.uniform(1, 9, 8)
    cohorts = []
    for unit in (1.0, 3600.0):
        selector = FairAndFast(CohortSize(count=3), optimism=0.0, price=0.5)
        state = _after(selector, {}, {client: float(unit * seconds[client]) for client in range(8)})
        state = _after(selector, state, {0: float(unit)})
        cohorts.append(_cohort(selector, View(3, np.arange(8), state=state)))
    assert cohorts[0] == cohorts[1]


def test_at_first_everybody_may_be_chosen() -> None:
    cohorts = [_cohort(FairAndFast(CohortSize(count=2)), View(1, np.arange(6)), seed) for seed in range(40)]
    assert set(np.concatenate(cohorts).tolist()) == set(range(6))


@pytest.mark.parametrize("available", [np.empty(0, np.int64), np.array([4]), np.array([0, 3, 90])])
def test_everybody_is_chosen_where_as_many_are_wanted(available: Int64Array) -> None:
    state = _after(FairAndFast(), {}, {0: 1.0, 3: 2.0})
    assert _cohort(FairAndFast(CohortSize(count=9)), View(1, available)) == available.tolist()
    assert _cohort(FairAndFast(CohortSize(count=9)), View(2, available, state=state)) == available.tolist()


@pytest.mark.parametrize("bad", [{"due": 1.1}, {"price": -1.0}, {"optimism": np.inf}, {"ridge": 0.0}])
def test_a_parameter_out_of_range_is_refused_by_name(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"strategy.selection.{next(iter(bad))} must be"):
        FairAndFast(**bad)  # type: ignore[arg-type]
