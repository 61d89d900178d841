import numpy as np
import pytest

from werkbund.core import ConfigError, Failure
from werkbund.core.rng import generator
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.methods.active import Active, masses, valuation


def _after_losses(losses: dict[int, float], state: State | None = None) -> State:
    clients = np.array(sorted(losses))
    reports = Reports(1, clients, {"loss": np.array([losses[client] for client in clients.tolist()])}, ())
    return Active().observe(state or {}, reports)


def _cohort(selector: Active, view: View, seed: int = 0) -> list[int]:
    cohort: list[int] = selector.choose(view, (), generator(seed, "selection", view.round)).cohort.tolist()
    return cohort


def test_the_golden_valuation() -> None:
    """Ports that divide the mean loss by √n give 0.1 and 0.025 here, and rank large clients last."""
    values = valuation(np.array([100.0, 400.0, 100.0]), np.array([1.0, 0.5, np.nan]))
    assert values.tolist() == [10.0, 10.0, -np.inf]


def test_three_quarters_are_left_out_not_one() -> None:
    """A port keeps the best 75 % instead of the best 25 %."""
    mass = masses(np.arange(20.0), 0.75, 0.01, np.random.default_rng(0))
    assert np.flatnonzero(mass).tolist() == [15, 16, 17, 18, 19]


def test_those_left_out_have_no_mass_at_all_and_the_others_go_by_the_exponential() -> None:
    """A port adds 0.01 to every mass, which softens the cut."""
    mass = masses(np.array([1.0, 300.0, 100.0, 2.0]), 0.5, 0.01, np.random.default_rng(0))
    assert mass[[0, 3]].tolist() == [0.0, 0.0]
    assert mass[1] / mass[2] == pytest.approx(np.exp(2.0))


def test_huge_losses_do_not_overflow() -> None:
    mass = masses(np.array([1e6, 1e6 - 100.0, 0.0, 0.0]), 0.5, 0.01, np.random.default_rng(0))
    np.testing.assert_allclose(mass, [1, np.exp(-1.0), 0, 0])


def test_the_first_round_is_uniform() -> None:
    selector, view, num_rounds = Active(CohortSize(count=3)), View(1, np.arange(10), {"rows": np.arange(1, 11)}), 3000
    counts = np.zeros(10)
    for seed in range(num_rounds):
        counts[_cohort(selector, view, seed)] += 1
    np.testing.assert_allclose(counts / num_rounds, 0.3, atol=5 * np.sqrt(0.21 / num_rounds))


def test_nine_in_ten_are_drawn_by_value_and_the_rest_by_chance() -> None:
    state = _after_losses({client: float(client) for client in range(100)})
    choice = Active(CohortSize(count=20)).choose(View(2, np.arange(100), state=state), (), generator(0, "s", 2))
    by_value = [client for client, why in zip(choice.cohort.tolist(), choice.reasons, strict=True) if "loss" in why]
    assert len(by_value) == 18
    assert min(by_value) >= 75
    assert len(choice.cohort) == len(set(choice.cohort.tolist())) == 20


def test_with_ten_clients_three_can_be_drawn_by_value_and_the_cohort_is_filled_up() -> None:
    state = _after_losses({client: float(client) for client in range(10)})
    choice = Active(CohortSize(count=5)).choose(View(2, np.arange(10), state=state), (), generator(0, "s", 2))
    assert len(choice.cohort) == 5
    assert {7, 8, 9} <= set(choice.cohort.tolist())


def test_with_no_exploration_and_no_cut_a_sharp_draw_takes_the_largest() -> None:
    state = _after_losses({client: float(client) for client in range(10)})
    selector = Active(CohortSize(count=3), dropped=0.0, sharpness=50.0, explored=0.0)
    assert _cohort(selector, View(2, np.arange(10), state=state)) == [7, 8, 9]


def test_drawing_without_sharpness_and_cut_is_uniform() -> None:
    state = _after_losses({client: float(client) for client in range(6)})
    selector = Active(CohortSize(count=2), dropped=0.0, sharpness=0.0, explored=0.0)
    choice = selector.choose(View(2, np.arange(6), state=state), (), generator(0, "s", 2))
    np.testing.assert_allclose(choice.probabilities, 2 / 6)


def test_a_value_stays_until_its_client_trains_again() -> None:
    state = _after_losses({0: 1.0, 3: 2.0})
    later = _after_losses({3: 0.5, 1: np.nan}, state)
    np.testing.assert_array_equal(later["loss"], [1.0, np.nan, np.nan, 0.5])
    np.testing.assert_array_equal(state["loss"], [1.0, np.nan, np.nan, 2.0])
    failed = Active().observe(later, Reports(3, np.empty(0, np.int64), {}, (Failure(9, 3, "late"),)))
    np.testing.assert_array_equal(failed["loss"], later["loss"])


def test_new_and_vanished_clients_are_tolerated() -> None:
    state = _after_losses({0: 1.0, 7: 2.0})
    view = View(5, np.array([1, 2, 40]), {"rows": np.array([3, 3, 3])}, state)
    assert _cohort(Active(), view) == [1, 2, 40]


@pytest.mark.parametrize("available", [np.empty(0, np.int64), np.array([4]), np.arange(3)])
def test_everybody_is_chosen_where_as_many_are_wanted(available: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    assert _cohort(Active(CohortSize(count=9)), View(1, available)) == available.tolist()


@pytest.mark.parametrize("bad", [{"dropped": -0.1}, {"explored": 1.1}, {"sharpness": np.nan}, {"dropped": np.nan}])
def test_a_parameter_out_of_range_is_refused_by_name(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"strategy.selection.{next(iter(bad))} must be"):
        Active(**bad)  # type: ignore[arg-type]


def test_a_candidate_keeps_some_mass_however_sharp_the_draw_is() -> None:
    mass = masses(np.array([0.0, 1e9, -np.inf]), 0.0, 1.0, np.random.default_rng(0))
    assert (mass[:2] > 0).all()
    assert mass[2] == 0
