import numpy as np
import pytest

from werkbund.core import ConfigError, Failure
from werkbund.core.arrays import Int64Array
from werkbund.core.rng import generator
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.methods.ucb import UpperConfidence, scores


def _told(
    selector: UpperConfidence, state: State, losses: dict[int, float], spread: float = 0.0, failed: tuple[int, ...] = ()
) -> State:
    clients = np.array(sorted(losses), dtype=np.int64)
    loss = np.array([losses[client] for client in clients.tolist()])
    signals = {"loss": loss, "loss_std": np.full(len(clients), spread)}
    return selector.observe(state, Reports(1, clients, signals, tuple(Failure(one, 1, "late") for one in failed)))


def _cohort(selector: UpperConfidence, view: View, seed: int = 0) -> list[int]:
    cohort: list[int] = selector.choose(view, (), generator(seed, "selection", view.round)).cohort.tolist()
    return cohort


def test_the_score_is_the_formula() -> None:
    bounds = scores(np.array([0.25, 0.75]), np.array([2.0, 0.3]), np.array([4.0, 0.1]), 0.5, np.e)
    np.testing.assert_allclose(bounds, [0.25 * (0.5 + np.sqrt(0.125)), 0.75 * (3.0 + np.sqrt(5.0))])


def test_the_logarithm_is_never_below_zero() -> None:
    assert scores(np.ones(1), np.ones(1), np.ones(1), 5.0, 0.5).tolist() == [1.0]


def test_sums_are_those_of_the_definition() -> None:
    """L, N and T by their sums over all rounds, which the state never holds."""
    discount, rng = 0.7, np.random.default_rng(0)
    selector = UpperConfidence(discount=discount)
    state: State = {}
    history: list[dict[int, float]] = []
    for _ in range(12):
        history.append({int(client): float(rng.random()) for client in rng.choice(6, 2, replace=False)})
        state = _told(selector, state, history[-1], float(rng.random()))
    ages = discount ** np.arange(len(history))[::-1]
    for client in range(6):
        took = np.array([client in past for past in history], dtype=float)
        loss = np.array([past.get(client, 0.0) for past in history])
        assert np.asarray(state["count"])[client] == pytest.approx(ages @ took)
        assert np.asarray(state["total"])[client] == pytest.approx(ages @ loss)
    assert state["elapsed"] == pytest.approx(ages.sum())
    assert ages.sum() < 1 / (1 - discount)


def test_the_spread_is_the_largest_of_the_latest_round() -> None:
    selector = UpperConfidence()
    state = _told(selector, {}, {0: 1.0}, 9.0)
    assert _told(selector, state, {1: 1.0, 2: 1.0}, 0.25)["spread"] == 0.25
    assert _told(selector, state, {1: 1.0}, np.nan)["spread"] == 9.0
    assert _told(selector, state, {}, failed=(1,))["spread"] == 9.0


def test_everybody_comes_once_first_and_in_random_order() -> None:
    selector = UpperConfidence(CohortSize(count=2))
    state: State = {}
    seen: list[int] = []
    for round in range(1, 6):
        cohort = _cohort(selector, View(round, np.arange(10), {"rows": np.arange(1, 11)}, state))
        seen += cohort
        state = _told(selector, state, dict.fromkeys(cohort, 0.5))
    assert sorted(seen) == list(range(10))
    assert len({tuple(_cohort(selector, View(1, np.arange(10)), seed)) for seed in range(20)}) > 5


def test_without_spread_the_highest_mean_loss_times_share_wins() -> None:
    selector = UpperConfidence(CohortSize(count=1))
    state = _told(selector, {}, {0: 1.0, 1: 2.0, 2: 3.0})
    assert _cohort(selector, View(2, np.arange(3), state=state)) == [2]
    assert _cohort(selector, View(2, np.arange(3), {"rows": np.array([9, 1, 1])}, state)) == [0]


def test_a_client_not_seen_for_long_comes_back() -> None:
    selector = UpperConfidence(CohortSize(count=1))
    state = _told(selector, {}, {0: 1.0, 1: 0.9}, 0.5)
    for _ in range(3):
        state = _told(selector, state, {0: 1.0}, 0.5)
    assert _cohort(selector, View(5, np.arange(2), state=state)) == [1]


def test_a_client_unseen_for_thousands_of_rounds_does_no_harm() -> None:
    selector = UpperConfidence(CohortSize(count=1), discount=0.1)
    state = _told(selector, {}, {0: 1.0, 1: 0.9}, 0.5)
    for _ in range(400):
        state = _told(selector, state, {0: 1.0}, 0.5)
    assert _cohort(selector, View(402, np.arange(2), state=state)) == [1]


def test_a_failure_counts_as_a_turn_and_changes_no_mean() -> None:
    selector = UpperConfidence(CohortSize(count=1), discount=0.5)
    state = _told(selector, {}, {0: 1.0, 1: 3.0})
    state = _told(selector, state, {0: 1.0, 3: np.nan}, failed=(1, 2))
    np.testing.assert_allclose(np.asarray(state["total"]) / np.asarray(state["count"]), [1.0, 3.0, 1.0, 1.0])
    np.testing.assert_allclose(state["count"], [1.5, 1.5, 1.0, 1.0])
    assert _cohort(selector, View(3, np.array([0, 2]), state=state), 1) in ([0], [2])


@pytest.mark.parametrize("available", [np.empty(0, np.int64), np.array([4]), np.arange(3)])
def test_everybody_is_chosen_where_as_many_are_wanted(available: Int64Array) -> None:
    assert _cohort(UpperConfidence(), View(1, available)) == available.tolist()


@pytest.mark.parametrize("bad", [0.0, 1.1, np.nan])
def test_a_discount_out_of_range_is_refused_by_name(bad: float) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.selection\.discount must be in \(0, 1\]"):
        UpperConfidence(discount=bad)
