from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core import ConfigError, Failure
from werkbund.core.rng import generator
from werkbund.core.types import Choice
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.methods import oort_rules as rules
from werkbund.selection.methods.oort import Oort

ROWS = np.full(10, 100.0)


def _told(
    selector: Oort,
    state: State,
    losses: dict[int, float],
    round: int = 1,
    seconds: dict[int, float] | None = None,
    failures: tuple[Failure, ...] = (),
    choice: Choice | None = None,
) -> State:
    clients = np.array(sorted(losses), dtype=np.int64)
    signals = {"loss_rms": np.array([losses[client] for client in clients.tolist()])}
    if seconds is not None:
        signals["seconds"] = np.array([seconds.get(client, np.nan) for client in clients.tolist()])
    return selector.observe(state, Reports(round, clients, signals, failures, choice=choice))


def _choose(selector: Oort, view: View, seed: int = 0) -> Choice:
    return selector.choose(view, (), generator(seed, "selection", view.round))


def _often(selector: Oort, view: View, times: int = 600) -> Any:
    counts = np.zeros(int(view.available.max()) + 1)
    for seed in range(times):
        counts[_choose(selector, view, seed).cohort] += 1
    return counts / times


def test_the_golden_numbers() -> None:
    assert rules.statistical_utility(np.array([100.0]), np.array([0.5])).tolist() == [50.0]
    assert rules.straggler_factor(np.array([120.0]), 60.0, 2.0).tolist() == [0.25]
    assert rules.staleness_bonus(50, np.array([10.0]))[0] == pytest.approx(0.1978, abs=5e-5)


def test_the_bonus_grows_while_a_client_waits() -> None:
    """A port refreshes it only when the client reports."""
    grows = [float(rules.staleness_bonus(round, np.array([10.0]))[0]) for round in (11, 20, 50, 200)]
    assert grows == sorted(grows)
    assert len(set(grows)) == 4


def _authors_scores(rewards: list[float], clip_bound: float) -> list[float]:
    """Return what the authors' `get_norm` and the first term of their score say, told with plain Python."""
    ordered = sorted(reward for reward in rewards if reward > 0)
    clip = ordered[min(int(len(ordered) * clip_bound), len(ordered) - 1)]
    least = ordered[0] * 0.999
    width = max(ordered[-1] - least, 1e-4)
    return [(min(reward, clip) - least) / width for reward in rewards]


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.95, 0.98]))
def test_utilities_are_normalised_as_in_the_authors_code(rewards: list[float], clip_bound: float) -> None:
    ours = rules.normalised(np.array(rewards), clip_bound)
    np.testing.assert_allclose(ours, _authors_scores(rewards, clip_bound), rtol=1e-9, atol=1e-12)


def test_the_clip_is_used() -> None:
    """A port computes it and does not use it: the outlier would be 1."""
    utility = np.concatenate([np.arange(1.0, 100.0), [1000.0]])
    clipped = rules.normalised(utility, 0.95)
    assert clipped[95] == clipped[98] == clipped[99] < 0.1
    assert rules.normalised(utility, 1.0)[-1] == 1.0


@pytest.mark.parametrize("number", [1, 2, 5])
def test_normalising_takes_one_value_and_unknown_ones(number: int) -> None:
    np.testing.assert_allclose(rules.normalised(np.full(number, 3.0), 0.95), 1.0)
    assert rules.normalised(np.full(number, np.nan), 0.95).tolist() == [0.0] * number
    assert rules.normalised(np.zeros(number), 0.95).tolist() == [0.0] * number


def test_the_untried_count_in_the_normalisation_as_if_their_losses_were_one() -> None:
    """Of the tried alone the best would have utility 1, so that a stale client could not pass it."""
    selector = Oort(CohortSize(count=1), explored=0.0, explored_least=0.0, cut_off=1.0, over_commitment=1.0)
    state = _told(selector, _told(selector, {}, {0: 0.01}, 1), {1: 0.02}, 40)
    for num_untried, chosen in ((0, 1), (1, 0)):
        view = View(41, np.arange(2 + num_untried), {"rows": np.full(2 + num_untried, 10.0)}, state)
        assert _choose(selector, view).cohort.tolist() == [chosen]


def test_the_preferred_duration_is_one_of_all_that_are_registered() -> None:
    """Of the available alone the slower one would be beyond the preferred duration."""
    selector = Oort(
        CohortSize(count=1), explored=0.0, explored_least=0.0, cut_off=1.0, over_commitment=1.0, pacer_start=50.0
    )
    state = _told(selector, {}, {0: 1.0, 1: 2.0}, seconds={0: 1.0, 1: 100.0})
    for others, chosen in ((1.0, 0), (1000.0, 1)):
        seconds = np.full(10, others)
        seconds[:2] = np.nan
        facts = {"rows": ROWS, "seconds_compute": seconds}
        assert _choose(selector, View(2, np.arange(2), facts, state)).cohort.tolist() == [chosen]


def test_the_cut_off_counts_from_the_best() -> None:
    """A port sorts upwards and counts as if downwards, so that its cut-off is near the least score."""
    scores = np.array([1.0, 10.0, 9.0, 8.7, 2.0, 8.0])
    assert rules.above_cut_off(scores, 2, 0.95).tolist() == [1, 2, 3]
    assert rules.above_cut_off(scores, 2, 1.0).tolist() == [1, 2]


def test_as_many_as_were_scored_can_be_exploited() -> None:
    """The authors' code reads one place beyond the end."""
    scores = np.array([3.0, 1.0, 2.0])
    assert rules.above_cut_off(scores, 3, 0.95).tolist() == [0, 1, 2]
    selector = Oort(CohortSize(count=3), explored=0.0, explored_least=0.0)
    state = _told(selector, {}, {0: 1.0, 1: 2.0, 2: 3.0})
    assert _choose(selector, View(2, np.arange(3), {"rows": ROWS}, state)).cohort.tolist() == [0, 1, 2]


def test_at_least_as_many_stay_above_the_cut_off_as_are_drawn() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        scores, number = rng.random(rng.integers(1, 20)), 1
        number = int(rng.integers(1, len(scores) + 1))
        stay = rules.above_cut_off(scores, number, float(rng.random()))
        assert set(np.argsort(-scores)[:number].tolist()) <= set(stay.tolist())


def test_the_pacer_relaxes_when_flat_tightens_when_sharp_and_else_waits() -> None:
    assert rules.paced(30.0, [1.0, 1.0, 1.05, 1.0], 2, 5.0) == 35.0
    assert rules.paced(30.0, [1.0, 1.0, 1.5, 1.5], 2, 5.0) == 30.0
    assert rules.paced(30.0, [1.0, 1.0, 6.0, 6.0], 2, 5.0) == 25.0
    assert rules.paced(98.0, [1.0, 1.0], 1, 5.0) == 100.0
    assert rules.paced(5.0, [1.0, 9.0], 1, 5.0) == 5.0
    assert rules.paced(30.0, [1.0, 1.0, 1.0], 2, 5.0) == 30.0


def test_the_pacer_moves_once_a_window_from_the_second_on() -> None:
    selector, seen = Oort(pacer_window=3), []
    state: State = {}
    for round in range(1, 13):
        state = _told(selector, state, {0: 1.0, 1: 1.0}, round)
        seen.append(state["percentile"])
    assert seen == [30.0] * 5 + [35.0] * 3 + [40.0] * 3 + [45.0]
    assert len(state["gains"]) == 6


def test_the_pacer_hears_the_exploited_alone_and_counts_their_rows() -> None:
    selector = Oort(CohortSize(count=2), explored=0.5, explored_decay=1.0)
    state = _told(selector, {}, {0: 1.0})
    choice = _choose(selector, View(2, np.arange(3), {"rows": ROWS}, state))
    later = _told(selector, state, {int(client): 2.0 for client in choice.cohort}, 2, choice=choice)
    assert later["gains"] == [1.0, 200.0]


def test_a_fully_relaxed_pacer_punishes_nobody() -> None:
    assert rules.preferred_seconds(np.array([1.0, 2.0]), 100.0) == np.inf
    assert rules.straggler_factor(np.array([1e9]), np.inf, 2.0).tolist() == [1.0]


def test_exploration_decays_to_its_least() -> None:
    """A port never lets it decay."""
    seen = [rules.exploring(0.9, 0.98, 0.2, round) for round in (1, 2, 11, 75, 76, 500)]
    assert seen[:2] == [0.9, 0.9 * 0.98]
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == 0.2
    assert seen[3] > 0.2


def test_the_first_cohort_goes_by_size_and_speed() -> None:
    """A port explores at random."""
    facts = {"rows": np.array([100.0] * 8 + [1.0] * 2), "seconds_compute": np.array([1.0] * 4 + [10.0] * 4 + [1.0] * 2)}
    often = _often(Oort(CohortSize(count=2), over_commitment=1.0), View(1, np.arange(10), facts))
    assert often[:4].min() > 0.3
    assert often[4:8].max() < 0.05
    assert often[8:].max() < 0.05


def test_explored_are_some_of_the_foremost_only() -> None:
    facts = {"rows": np.arange(1.0, 11.0)}
    often = _often(Oort(CohortSize(count=1), sample_window=3.0), View(1, np.arange(10), facts), 100)
    assert often[:7].sum() == 0.0


def test_those_of_highest_utility_are_exploited() -> None:
    selector = Oort(CohortSize(count=3), explored=0.0, explored_least=0.0)
    state = _told(selector, {}, {client: float(client) for client in range(10)})
    assert _choose(selector, View(2, np.arange(10), {"rows": ROWS}, state)).cohort.tolist() == [7, 8, 9]


def test_a_straggler_gives_way() -> None:
    selector = Oort(CohortSize(count=3), explored=0.0, explored_least=0.0, over_commitment=1.0)
    seconds = dict.fromkeys(range(9), 1.0) | {9: 100.0}
    state = _told(selector, {}, {client: float(client) for client in range(10)}, seconds=seconds)
    assert 9 not in _choose(selector, View(2, np.arange(10), {"rows": ROWS}, state)).cohort


def test_more_are_asked_than_wanted_where_durations_are_known() -> None:
    facts = {"rows": ROWS, "seconds_up": np.ones(10)}
    choice = _choose(Oort(CohortSize(count=5)), View(1, np.arange(10), facts))
    assert (len(choice.cohort), choice.keep) == (7, 5)
    for view, selector in (
        (View(1, np.arange(10), {"rows": ROWS}), Oort(CohortSize(count=5))),
        (View(1, np.arange(10), facts), Oort(CohortSize(count=5), over_commitment=1.0)),
    ):
        choice = _choose(selector, view)
        assert (len(choice.cohort), choice.keep) == (5, None)
    everyone = _choose(Oort(CohortSize(count=10)), View(1, np.arange(10), facts))
    assert (len(everyone.cohort), everyone.keep) == (10, None)


def test_a_dead_client_is_not_explored_for_ever() -> None:
    selector = Oort(CohortSize(count=1), explored=1.0, explored_decay=1.0)
    state = _told(selector, {}, {}, failures=(Failure(0, 1, "late"),))
    for seed in range(20):
        assert _choose(selector, View(2, np.arange(3), {"rows": np.array([1e6, 1, 1])}, state), seed).cohort[0] != 0


def test_a_failure_keeps_the_utility_and_lengthens_the_duration() -> None:
    selector = Oort()
    state = _told(selector, {}, {0: 2.0, 1: 1.0}, seconds={0: 5.0, 1: 5.0})
    lost = (Failure(0, 2, "late", seconds=9.0), Failure(1, 2, "late", seconds=3.0))
    state = _told(selector, state, {}, 2, failures=lost)
    assert np.asarray(state["loss_rms"])[:2].tolist() == [2.0, 1.0]
    assert np.asarray(state["seconds"])[:2].tolist() == [9.0, 5.0]
    assert np.asarray(state["last"])[:2].tolist() == [2.0, 2.0]
    assert np.asarray(state["turns"])[:2].tolist() == [2.0, 2.0]


def test_the_blacklist_holds_the_most_used_and_never_more_than_its_share() -> None:
    turns = np.array([5, 9, 1, 7, 0, 0, 0, 0, 0, 0])
    assert np.flatnonzero(rules.blacklisted(turns, 4, 0.3)).tolist() == [0, 1, 3]
    assert np.flatnonzero(rules.blacklisted(turns, 4, 0.2)).tolist() == [1, 3]
    assert np.flatnonzero(rules.blacklisted(turns, 6, 0.3)).tolist() == [1, 3]
    assert not rules.blacklisted(turns, 0, 0.3).any()
    assert not rules.blacklisted(np.array([99]), 1, 0.3).any()


def test_a_blacklisted_client_is_not_asked_even_if_all_are_wanted() -> None:
    selector = Oort(CohortSize(count=10), blacklist_after=1)
    state: State = {}
    for round in (1, 2):
        state = _told(selector, state, {4: 9.0}, round)
    assert 4 not in _choose(selector, View(3, np.arange(10), {"rows": ROWS}, state)).cohort


@pytest.mark.parametrize("number", [1, 2, 3, 10, 99])
def test_cohorts_are_full_at_any_number(number: int) -> None:
    selector: Oort = Oort(CohortSize(count=number), over_commitment=1.0)
    state: State = {}
    for round in range(1, 30):
        choice = _choose(selector, View(round, np.arange(10), {"rows": ROWS}, state))
        assert len(set(choice.cohort.tolist())) == min(number, 10)
        assert ((choice.probabilities > 0) & (choice.probabilities <= 1)).all()
        state = _told(selector, state, dict.fromkeys(choice.cohort.tolist(), np.nan), round, choice=choice)


def test_new_and_vanished_clients_are_fine() -> None:
    state = _told(Oort(), {}, {0: 1.0, 7: 2.0})
    choice = _choose(Oort(), View(2, np.array([3, 7, 40]), {"rows": ROWS}, state))
    assert choice.cohort.tolist() == [3, 7, 40]


@pytest.mark.parametrize(("name", "value"), [("clip", 1.5), ("penalty", -1.0), ("over_commitment", 0.5)])
def test_a_wrong_parameter_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        Oort(**{name: value})  # type: ignore[arg-type]
