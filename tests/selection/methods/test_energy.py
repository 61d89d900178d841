import numpy as np
import pytest

from werkbund.core import ConfigError, Failure
from werkbund.core.arrays import Arrays
from werkbund.core.rng import generator
from werkbund.core.types import Choice
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.methods.energy import Battery, OortEnergy, blended, energy_factor, expected_joules, power_left
from werkbund.selection.methods.oort import Oort

ROWS = np.full(10, 100.0)


def _choose(selector: OortEnergy | Battery | Oort, view: View, seed: int = 0) -> Choice:
    return selector.choose(view, (), generator(seed, "selection", view.round))


def _often(selector: OortEnergy | Battery, view: View, times: int = 800) -> np.ndarray:
    counts = np.zeros(len(view.available))
    for seed in range(times):
        counts[_choose(selector, view, seed).cohort] += 1
    return counts / times


def test_the_power_term_is_what_the_round_leaves() -> None:
    power = power_left(
        np.array([0.5, 0.1, 1.0, 0.9]), np.array([100.0, 100, np.inf, 0]), np.array([20.0, 20, 20, np.nan])
    )
    np.testing.assert_allclose(power, [0.3, 0.0, 1.0, 1.0])


def test_the_blend_is_a_quarter_oort() -> None:
    np.testing.assert_allclose(blended(np.array([1.0]), np.array([0.2]), 0.25), [0.4])
    assert blended(np.array([0.7]), np.array([0.2]), 1.0).tolist() == [0.7]


def test_the_energy_factor_spares_those_up_to_the_median() -> None:
    np.testing.assert_allclose(energy_factor(np.array([1.0, 2.0, 8.0]), 2.0), [1, 1, 1 / 16])
    assert energy_factor(np.array([np.nan, np.nan]), 2.0).tolist() == [1, 1]


@pytest.mark.parametrize("selector", [OortEnergy(), OortEnergy(form="eafl"), OortEnergy(energy_penalty=0.0)])
def test_without_energy_known_it_chooses_as_oort(selector: OortEnergy) -> None:
    view = View(1, np.arange(10), {"rows": np.arange(1.0, 11.0)})
    flat = OortEnergy(CohortSize(count=3), form=selector.form, share=1.0, energy_penalty=selector.energy_penalty)
    assert _choose(flat, view).cohort.tolist() == _choose(Oort(CohortSize(count=3)), view).cohort.tolist()


def test_the_spendthrift_are_drawn_less() -> None:
    facts: Arrays = {"rows": ROWS, "joules": np.array([1.0] * 8 + [20.0] * 2)}
    often = _often(OortEnergy(CohortSize(count=2)), View(1, np.arange(10), facts), 400)
    assert often[8:].max() < 0.05
    assert often[:8].min() > 0.15


def test_the_fuller_are_drawn_more_in_the_other_form() -> None:
    facts: Arrays = {
        "rows": ROWS,
        "joules": np.full(10, 1.0),
        "battery": np.array([1.0] * 5 + [0.1] * 5),
        "battery_capacity": np.full(10, 100.0),
    }
    often = _often(OortEnergy(CohortSize(count=2), form="eafl"), View(1, np.arange(10), facts), 400)
    assert often[:5].min() > 1.4 * often[5:].max()


def test_who_has_spent_its_quota_is_left_out() -> None:
    selector = OortEnergy(CohortSize(count=10), quota_joules=5.0)
    reports = Reports(
        1, np.array([0, 1, 2]), {"joules": np.array([6.0, 4.0, np.nan])}, (Failure(3, 1, "late", 1.0, 9.0),)
    )
    state = selector.observe({}, reports)
    assert np.asarray(state["spent"]).tolist() == [6.0, 4.0, 0.0, 9.0]
    assert _choose(selector, View(2, np.arange(6), {"rows": ROWS}, state)).cohort.tolist() == [1, 2, 4, 5]
    assert _choose(OortEnergy(), View(2, np.arange(6), {"rows": ROWS}, state)).cohort.tolist() == [0, 1, 2, 3, 4, 5]


def test_who_cannot_finish_a_round_is_left_out() -> None:
    facts: Arrays = {
        "joules": np.full(3, 10.0),
        "battery": np.array([0.5, 0.05, 1.0]),
        "battery_capacity": np.full(3, 100.0),
    }
    assert _choose(OortEnergy(), View(1, np.arange(3), facts)).cohort.tolist() == [0, 2]


def test_if_nobody_is_left_somebody_comes_all_the_same() -> None:
    state: State = {"spent": np.full(3, 9.0)}
    assert len(_choose(OortEnergy(quota_joules=5.0), View(2, np.arange(3), state=state)).cohort) == 3
    facts: Arrays = {"joules": np.full(3, 10.0), "battery": np.full(3, 0.05), "battery_capacity": np.full(3, 100.0)}
    assert len(_choose(OortEnergy(), View(2, np.arange(3), facts, state)).cohort) == 3


def test_expected_energy_is_declared_else_the_mean_of_what_was_spent() -> None:
    state: State = {"spent": np.array([8.0, 8.0]), "turns": np.array([2.0, 2.0])}
    joules = expected_joules(View(3, np.arange(3), {"joules": np.array([1.0])}, state))
    assert joules[:2].tolist() == [1.0, 4.0]
    assert np.isnan(joules[2])


def test_batteries_are_drawn_with_their_square() -> None:
    facts: Arrays = {"battery": np.array([1.0, 0.5, 0.25, 0.1])}
    often = _often(Battery(CohortSize(count=1)), View(1, np.arange(4), facts))
    expected = np.array([16.0, 4.0, 1.0, 0.0]) / 21
    np.testing.assert_allclose(often, expected, atol=5 * np.sqrt(0.25 / 800))


def test_power_zero_is_uniform_above_the_level() -> None:
    facts: Arrays = {"battery": np.array([1.0, 0.5, 0.2, 0.1])}
    choice = _choose(Battery(CohortSize(count=2), power=0.0), View(1, np.arange(4), facts))
    np.testing.assert_allclose(choice.probabilities, 2 / 3)
    assert 3 not in choice.cohort


def test_those_below_the_level_stay_out_even_if_all_are_wanted_and_else_the_fullest_comes_alone() -> None:
    facts: Arrays = {"battery": np.array([0.9, 0.1, 0.5])}
    assert _choose(Battery(), View(1, np.arange(3), facts)).cohort.tolist() == [0, 2]
    facts = {"battery": np.array([0.1, 0.19, 0.0])}
    assert _choose(Battery(), View(1, np.arange(3), facts)).cohort.tolist() == [1]
    assert _choose(Battery(), View(1, np.arange(3), {"battery": np.zeros(3)})).cohort.tolist() == [0]
    assert len(_choose(Battery(), View(1, np.empty(0, np.int64))).cohort) == 0


def test_without_batteries_everybody_can_be_drawn() -> None:
    assert _choose(Battery(), View(1, np.array([2, 9]))).cohort.tolist() == [2, 9]


@pytest.mark.parametrize(
    ("name", "value"),
    [("form", "other"), ("share", 2.0), ("quota_joules", -1.0), ("energy_penalty", np.inf), ("over_commitment", 0.5)],
)
def test_a_wrong_parameter_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        OortEnergy(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), [("power", -1.0), ("least", 1.5)])
def test_a_wrong_parameter_of_the_plain_draw_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        Battery(**{name: value})  # type: ignore[arg-type]
