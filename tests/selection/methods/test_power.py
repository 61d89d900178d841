import numpy as np
import pytest

from werkbund.core import ConfigError, Failure, Replies, Tasks
from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.rng import generator
from werkbund.core.types import Choice
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.draws import successive_inclusion
from werkbund.selection.methods.power import CheapPowerOfChoice, PowerOfChoice, RecentPowerOfChoice
from werkbund.selection.questions import LOSS

Asking = PowerOfChoice | CheapPowerOfChoice

ASKING = pytest.mark.parametrize("kind", [PowerOfChoice, CheapPowerOfChoice])


def _play(selector: Asking, view: View, losses: Float64Array, seed: int = 0) -> tuple[Tasks | None, Choice]:
    """Ask, let every candidate answer alone, in reverse order, and choose."""
    rng = generator(seed, "selection", view.round)
    question = selector.probe(view, (), rng)
    answers: tuple[Replies, ...] = ()
    if question is not None:
        each = [np.array([client]) for client in question.clients[::-1]]
        answers = tuple(Replies(LOSS, view.round, one, clear={"loss": losses[one]}) for one in each)
        assert selector.probe(view, answers, rng) is None
    return question, selector.choose(view, answers, rng)


@ASKING
def test_the_cohort_is_the_candidates_of_highest_loss(kind: type[Asking]) -> None:
    """A port ranks the candidates and then takes these ranks for places among all clients."""
    losses, available = np.random.default_rng(0).normal(size=60), np.arange(0, 60, 2)
    view = View(1, available, {"rows": np.ones(60)})
    for seed in range(30):
        question, choice = _play(kind(CohortSize(count=4), candidates=9), view, losses, seed)
        assert question is not None
        asked = question.clients.tolist()
        assert len(asked) == len(set(asked)) == 9
        assert asked == sorted(asked)
        assert choice.cohort.tolist() == sorted(sorted(asked, key=lambda client: -losses[client])[:4])
        assert choice.equal
        assert (choice.factors == 1).all()


@ASKING
def test_candidates_are_drawn_in_proportion_to_rows_without_replacement(kind: type[Asking]) -> None:
    """Ports draw them uniformly, or with replacement."""
    rows, num_rounds = np.array([1.0, 1.0, 10.0, 10.0, 20.0]), 3000
    view, counts = View(1, np.arange(5), {"rows": rows}), np.zeros(5)
    for seed in range(num_rounds):
        question = kind(CohortSize(count=1), candidates=2).probe(view, (), generator(seed, "selection", 1))
        assert question is not None
        counts[question.clients] += 1
    np.testing.assert_allclose(counts / num_rounds, successive_inclusion(rows, 2), atol=0.04)
    assert counts[:2].max() < counts[2:].min()


def test_only_the_cheap_form_restricts_the_rows() -> None:
    view = View(3, np.arange(20), {"rows": np.ones(20)})
    full = PowerOfChoice(CohortSize(count=2)).probe(view, (), generator(0, "s", 3))
    few = CheapPowerOfChoice(CohortSize(count=2), most=7).probe(view, (), generator(0, "s", 3))
    assert full is not None
    assert few is not None
    assert dict(full.shared) == {}
    assert int(few.shared["most"]) == 7
    assert (full.kind, full.round, len(full)) == (few.kind, few.round, len(few)) == (LOSS, 3, 4)


@ASKING
def test_with_as_many_candidates_as_places_nobody_is_asked(kind: type[Asking]) -> None:
    view = View(1, np.arange(10), {"rows": np.arange(1, 11)})
    question, choice = _play(kind(CohortSize(count=4), candidates=2), view, np.ones(10))
    assert question is None
    assert len(choice.cohort) == 4
    assert _play(kind(CohortSize(count=99)), view, np.ones(10))[1].cohort.tolist() == list(range(10))


@ASKING
def test_all_clients_as_candidates_give_the_highest_of_all(kind: type[Asking]) -> None:
    losses = np.array([3.0, 1.0, np.nan, 5.0, np.inf, 4.0])
    choice = _play(kind(CohortSize(count=3), candidates=50), View(1, np.arange(6)), losses)[1]
    assert choice.cohort.tolist() == [0, 3, 5]


@ASKING
def test_too_few_answers_are_filled_up_from_the_others(kind: type[Asking]) -> None:
    selector, rng = kind(CohortSize(count=4), candidates=6), generator(0, "s", 1)
    view = View(1, np.arange(12), {"rows": np.r_[np.zeros(8), np.ones(4)]})
    one = (Replies(LOSS, 1, np.array([2]), clear={"loss": np.array([0.1])}),)
    choice = selector.choose(view, one, rng)
    assert 2 in choice.cohort
    assert len(choice.cohort) == 4
    assert set(choice.cohort.tolist()) - {2} < {8, 9, 10, 11}
    silent = (Replies(LOSS, 1, np.arange(12), clear={"loss": np.full(12, np.nan)}),)
    assert len(selector.choose(view, silent, rng).cohort) == 4


@ASKING
def test_answers_of_clients_that_went_away_are_passed_over(kind: type[Asking]) -> None:
    stray = (Replies(LOSS, 1, np.array([1, 3, 40]), clear={"loss": np.array([9.0, 1.0, 9.0])}),)
    choice = kind(CohortSize(count=1)).choose(View(1, np.array([0, 3])), stray, generator(0, "s", 1))
    assert choice.cohort.tolist() == [3]


def _trained(selector: RecentPowerOfChoice, state: State, losses: dict[int, float], failed: tuple[int, ...]) -> State:
    clients = np.array(sorted(losses), dtype=np.int64)
    signals = {"train_loss": np.array([losses[client] for client in clients.tolist()])}
    return selector.observe(state, Reports(1, clients, signals, tuple(Failure(one, 1, "late") for one in failed)))


def test_by_recent_losses_everybody_comes_once_before_anybody_comes_twice() -> None:
    selector = RecentPowerOfChoice(CohortSize(count=2), candidates=8)
    state: State = {}
    seen: list[int] = []
    for round in range(1, 5):
        view = View(round, np.arange(8), {"rows": np.arange(1, 9)}, state)
        assert selector.probe(view, (), generator(0, "s", round)) is None
        cohort = selector.choose(view, (), generator(0, "s", round)).cohort.tolist()
        seen += cohort
        state = _trained(selector, state, {client: float(client) for client in cohort}, ())
    assert sorted(seen) == list(range(8))
    later = selector.choose(View(5, np.arange(8), state=state), (), generator(0, "s", 5))
    assert later.cohort.tolist() == [6, 7]


def test_by_recent_losses_only_candidates_are_chosen() -> None:
    """With d = k the losses decide nothing."""
    state = _trained(RecentPowerOfChoice(), {}, {client: float(client) for client in range(10)}, ())
    selector = RecentPowerOfChoice(CohortSize(count=2), candidates=2)
    chosen = [selector.choose(View(2, np.arange(10), state=state), (), generator(s, "s", 2)).cohort for s in range(60)]
    assert set(np.concatenate(chosen).tolist()) == set(range(10))


def test_a_client_that_never_answers_does_not_come_first_for_ever() -> None:
    selector = RecentPowerOfChoice(CohortSize(count=1), candidates=4)
    state = _trained(selector, {}, {0: 1.0, 1: 3.0, 2: np.nan}, (3,))
    np.testing.assert_array_equal(state["train_loss"], [1.0, 3.0, 2.0, 2.0])
    again = _trained(selector, state, {}, (1,))
    np.testing.assert_array_equal(again["train_loss"], state["train_loss"])
    assert selector.choose(View(2, np.arange(4), state=again), (), generator(0, "s", 2)).cohort.tolist() == [1]


@pytest.mark.parametrize("available", [np.empty(0, np.int64), np.array([4]), np.arange(3)])
def test_everybody_is_chosen_where_as_many_are_wanted(available: Int64Array) -> None:
    for selector in (PowerOfChoice(), CheapPowerOfChoice(), RecentPowerOfChoice()):
        choice = selector.choose(View(1, available), (), generator(0, "s", 1))
        assert choice.cohort.tolist() == available.tolist()


@pytest.mark.parametrize("kind", [PowerOfChoice, CheapPowerOfChoice, RecentPowerOfChoice])
def test_a_parameter_out_of_range_is_refused_by_name(kind: type[PowerOfChoice]) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.selection\.candidates must be >= 1 or left out, got 0"):
        kind(candidates=0)
    with pytest.raises(ConfigError, match=r"strategy\.selection\.most must be >= 1, got 0"):
        CheapPowerOfChoice(most=0)
