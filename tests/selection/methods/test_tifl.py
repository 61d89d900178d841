import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core import ConfigError, Failure
from werkbund.core.rng import generator
from werkbund.core.types import Choice
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.choices import AnnotatedChoice
from werkbund.selection.methods.tifl import TiFL, credits_of, tier_chances, tiers_of

KNOWN: State = {"latency": np.arange(1.0, 16.0), "times": np.ones(15)}
"""Fifteen clients: with five tiers 0-2 are the fastest, 12-14 the slowest."""


def _choose(selector: TiFL, state: State, seed: int = 0, round: int = 1, last: int = 0, here: int = 15) -> Choice:
    view = View(round, np.arange(here), state=state, last=last)
    return selector.choose(view, (), generator(seed, "selection", round))


def _told(
    selector: TiFL, state: State, round: int, tier: int, loss: dict[int, float], seconds: dict[int, float] | None = None
) -> State:
    clients = np.array(sorted(loss), np.int64)
    signals = {"loss": np.array([loss[client] for client in clients.tolist()])}
    if seconds is not None:
        signals["seconds"] = np.array([seconds[client] for client in clients.tolist()])
    else:
        signals["seconds"] = clients + 1.0
    ones = np.ones(len(clients))
    choice = AnnotatedChoice(clients, ones, ones, ("",) * len(clients), notes={"tier": tier * ones})
    return selector.observe(state, Reports(round, clients, signals, (), choice=choice))


def test_the_golden_probabilities() -> None:
    np.testing.assert_allclose(tier_chances(np.array([0.7, 0.8, 0.9]), np.ones(3, bool)), [1 / 2, 1 / 3, 1 / 6])
    np.testing.assert_allclose(tier_chances(np.array([0.9, 0.8, 0.7]), np.ones(3, bool)), [1 / 6, 1 / 3, 1 / 2])


def test_tiers_without_credit_are_not_ranked() -> None:
    credited = np.array([True, False, True])
    np.testing.assert_allclose(tier_chances(np.array([0.7, 0.1, 0.9]), credited), [2 / 3, 0, 1 / 3])


def test_a_tier_of_unknown_accuracy_comes_first() -> None:
    np.testing.assert_allclose(tier_chances(np.array([0.7, np.nan]), np.ones(2, bool)), [1 / 3, 2 / 3])


@pytest.mark.parametrize("number", [1, 3, 5, 7, 12])
def test_tiers_go_by_latency_and_differ_by_one_client_at_most(number: int) -> None:
    """A port splits equally only where the tiers divide the clients."""
    latency = np.random.default_rng(0).permutation(number).astype(float)
    tiers = tiers_of(latency, 5)
    assert (np.diff(tiers[np.argsort(latency)]) >= 0).all()
    sizes = np.bincount(tiers, minlength=5)
    assert sizes.sum() == number
    assert sizes.max() - sizes.min() <= 1


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.0, np.inf, np.nan]), min_size=1, max_size=25), st.randoms())
def test_tiers_know_no_numbers_of_clients(latency: list[float], order: random.Random) -> None:
    """Tiers by a sort alone would part clients of one speed by their numbers."""
    shuffled = list(range(len(latency)))
    order.shuffle(shuffled)
    tiers, again = tiers_of(np.array(latency), 5), tiers_of(np.array(latency)[shuffled], 5)
    assert again.tolist() == tiers[shuffled].tolist()
    placed = [tiers[np.array(latency) == value] for value in (0.0, 1.0, 2.0, 5.0, np.inf)]
    assert all(len(set(place.tolist())) <= 1 for place in placed)
    ranks = [int(place[0]) for place in placed if len(place)]
    assert ranks == sorted(ranks)


def test_without_any_time_there_are_no_tiers_and_the_reason_says_so() -> None:
    selector, state, drawn = TiFL(CohortSize(count=3)), dict[str, object](), list[int]()
    for round in range(1, 21):
        choice = _choose(selector, state, seed=round, round=round)
        reports = Reports(round, choice.cohort, {"loss": np.ones(len(choice.cohort))}, (), choice=choice)
        state = dict(selector.observe(state, reports))
        if round > 5:
            assert set(choice.reasons) == {"no tiers, for no time is known; drawn at random"}
            drawn += choice.cohort.tolist()
    assert len(set(drawn)) > 9
    assert choice.inclusion is not None
    np.testing.assert_allclose(choice.inclusion, 3 / 15)


def test_a_missing_time_is_not_zero_seconds_but_the_slowest_tier() -> None:
    selector = TiFL(CohortSize(count=1), tiers=3)
    state = _told(selector, {}, 1, -1, dict.fromkeys(range(6), 1.0), {**dict.fromkeys(range(5), 2.0), 5: np.nan})
    assert np.asarray(state["latency"]).tolist() == [2.0, 2.0, 2.0, 2.0, 2.0, np.inf]
    assert tiers_of(np.asarray(state["latency"]), 3).tolist() == [0, 0, 0, 0, 0, 2]
    state = _told(selector, state, 2, 2, {5: 1.0}, {5: 7.0})
    assert np.asarray(state["latency"])[5] == 7.0


def test_who_was_never_measured_comes_first() -> None:
    selector, state, seen = TiFL(CohortSize(count=4)), dict[str, object](), set[int]()
    for round in range(1, 4):
        cohort = _choose(selector, state, round=round, here=12).cohort.tolist()
        assert not seen & set(cohort)
        seen |= set(cohort)
        state = dict(_told(selector, state, round, -1, dict.fromkeys(cohort, 1.0)))
    assert seen == set(range(12))
    assert np.asarray(state["used"]).sum() == 0


def test_a_cohort_is_of_one_tier() -> None:
    selector = TiFL(CohortSize(count=2))
    drawn = set()
    for seed in range(100):
        tiers = {client // 3 for client in _choose(selector, KNOWN, seed).cohort.tolist()}
        assert len(tiers) == 1
        drawn |= tiers
    assert drawn == set(range(5))


def test_a_tier_that_is_too_small_is_filled_up_from_the_faster_ones_first() -> None:
    selector = TiFL(CohortSize(count=5))
    for seed in range(50):
        choice = _choose(selector, KNOWN, seed)
        tier = {why: client // 3 for client, why in zip(choice.cohort.tolist(), choice.reasons, strict=True)}
        own = next(value for why, value in tier.items() if not why.startswith("fills"))
        fill = next(value for why, value in tier.items() if why.startswith("fills"))
        assert fill == (own - 1 if own else 1)
        assert len(choice.cohort) == 5


def test_inclusion_is_how_often_each_is_drawn() -> None:
    selector, counts = TiFL(CohortSize(count=4)), np.zeros(15)
    for seed in range(1000):
        choice = _choose(selector, KNOWN, seed)
        counts[choice.cohort] += 1
    assert choice.inclusion is not None
    assert choice.inclusion.sum() == pytest.approx(4)
    np.testing.assert_allclose(counts / 1000, choice.inclusion, atol=5 * np.sqrt(0.25 / 1000))


def test_a_tier_without_credit_is_not_drawn_and_when_all_are_used_up_they_are_void() -> None:
    selector = TiFL(CohortSize(count=2), slowest_credit=0.1)
    state = {**KNOWN, "used": np.array([0.0, 0, 0, 0, 10])}
    drawn = {_choose(selector, state, seed, last=100).cohort[0] // 3 for seed in range(100)}
    assert drawn == {0, 1, 2, 3}
    state = {**KNOWN, "used": np.full(5, 100.0)}
    assert {_choose(selector, state, seed, last=100).cohort[0] // 3 for seed in range(100)} == set(range(5))


def test_credits_fall_from_all_rounds_to_a_share() -> None:
    assert credits_of(100, 5, 0.2).tolist() == [100, 80, 60, 40, 20]
    assert credits_of(100, 3, 1.0).tolist() == [100, 100, 100]


def test_probabilities_change_only_if_the_tier_of_the_round_has_stagnated() -> None:
    """A port changes them at every test."""
    selector = TiFL(CohortSize(count=3), tiers=5, interval=2)
    state = _told(selector, KNOWN, 2, 0, {0: 1.0, 1: 1.0, 2: 1.0})
    assert "ranked" not in state
    better = _told(selector, state, 4, 0, {0: 0.9, 1: 0.9, 2: 0.9})
    assert "ranked" not in better
    stagnant = _told(selector, state, 4, 0, {0: 1.0, 1: 1.0, 2: 1.0})
    assert "ranked" in stagnant
    between = _told(selector, state, 5, 0, {0: 2.0, 1: 2.0, 2: 2.0})
    assert "ranked" not in between


def test_a_stagnant_tier_makes_the_worst_tier_the_likeliest() -> None:
    selector = TiFL(CohortSize(count=1), tiers=3, interval=1)
    state: State = {"latency": np.array([1.0, 2.0, 3.0]), "times": np.ones(3), "loss": np.array([0.3, 0.2, 0.1])}
    for round in (1, 2):
        state = _told(selector, state, round, 0, {0: 0.3})
    inclusion = _choose(selector, state, here=3).inclusion
    assert inclusion is not None
    np.testing.assert_allclose(inclusion, [1 / 2, 1 / 3, 1 / 6])


def test_latency_is_the_mean_and_a_failure_changes_only_an_unknown_one() -> None:
    selector = TiFL()
    state = _told(selector, {}, 1, -1, {0: 1.0}, {0: 4.0})
    state = _told(selector, state, 2, -1, {0: 1.0}, {0: 8.0})
    state = selector.observe(
        state, Reports(3, np.empty(0, np.int64), {}, (Failure(0, 3, "late"), Failure(1, 3, "late")))
    )
    assert np.asarray(state["latency"]).tolist() == [6.0, np.inf]
    state = _told(selector, state, 4, -1, {1: 1.0}, {1: 9.0})
    assert np.asarray(state["latency"]).tolist() == [6.0, 9.0]


def test_nan_everywhere_is_tolerated_and_everyone_is_chosen_if_all_are_wanted() -> None:
    selector, state = TiFL(CohortSize(count=20), interval=1), dict[str, object]()
    for round in range(1, 5):
        choice = _choose(selector, state, round=round)
        assert choice.cohort.tolist() == list(range(15))
        nothing = np.full(15, np.nan)
        reports = Reports(round, choice.cohort, {"loss": nothing, "seconds": nothing}, (), choice=choice)
        state = dict(selector.observe(state, reports))


@pytest.mark.parametrize(("name", "value"), [("tiers", 0), ("interval", 0), ("slowest_credit", 0.0)])
def test_a_wrong_parameter_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        TiFL(**{name: value})  # type: ignore[arg-type]
