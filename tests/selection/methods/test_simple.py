import numpy as np
import pytest

from werkbund.core import Failure
from werkbund.core.arrays import Int64Array
from werkbund.core.rng import generator
from werkbund.selection import CohortSize, Everyone, Reports, RoundRobin, State, Uniform, View

NOBODY = np.random.default_rng(0)


def _view(round: int = 1, available: int = 10, state: State | None = None) -> View:
    return View(round, np.arange(available), state=state or {})


def test_everyone_is_everyone() -> None:
    choice = Everyone().choose(_view(), (), NOBODY)
    assert choice.cohort.tolist() == list(range(10))
    assert (choice.probabilities == 1).all()


def test_uniform_chooses_every_client_equally_often_and_as_often_as_it_says() -> None:
    selector, rounds = Uniform(CohortSize(0.3)), 4000
    counts = np.zeros(10)
    for round in range(rounds):
        choice = selector.choose(_view(round), (), generator(5, "selection", round))
        counts[choice.cohort] += 1
    assert (choice.probabilities == 0.3).all()
    # Five standard deviations of a binomial count.
    np.testing.assert_allclose(counts / rounds, 0.3, atol=5 * np.sqrt(0.3 * 0.7 / rounds))


def test_uniform_chooses_every_pair_equally_often() -> None:
    selector, rounds = Uniform(CohortSize(count=2)), 6000
    pairs = [
        tuple(selector.choose(_view(available=4), (), generator(1, "s", r)).cohort.tolist()) for r in range(rounds)
    ]
    counts = np.unique(np.array(pairs) @ [10, 1], return_counts=True)[1]
    assert len(counts) == 6
    np.testing.assert_allclose(counts / rounds, 1 / 6, atol=5 * np.sqrt(5 / 36 / rounds))


def _turns(num_rounds: int, available: list[list[int]], size: int) -> Int64Array:
    """Count how often each client is asked; every second of a cohort fails."""
    selector = RoundRobin(CohortSize(count=size))
    state: State = {}
    turns = np.zeros(10, np.int64)
    for round in range(1, num_rounds + 1):
        view = View(round, np.array(available[(round - 1) % len(available)]), state=state)
        cohort = selector.choose(view, (), NOBODY).cohort
        turns[cohort] += 1
        failed = tuple(Failure(int(client), round, "late") for client in cohort[::2])
        state = selector.observe(state, Reports(round, cohort[1::2], {}, failed))
    return turns


@pytest.mark.parametrize("size", [1, 3, 7, 10])
def test_round_robin_gives_equal_turns_whoever_fails(size: int) -> None:
    for num_rounds in (1, 5, 10, 23):
        turns = _turns(num_rounds, [list(range(10))], size)
        assert turns.sum() == num_rounds * size
        assert turns.max() - turns.min() <= 1


def test_a_client_that_was_away_catches_up() -> None:
    away = [list(range(9))] * 9
    turns = _turns(10, [*away, list(range(10))], 3)
    assert turns[9] == 1


def test_round_robin_with_everybody_there_goes_by_number() -> None:
    selector = RoundRobin(CohortSize(count=4))
    state: State = {}
    seen = []
    for round in range(1, 4):
        cohort = selector.choose(_view(round, state=state), (), NOBODY).cohort
        seen.append(cohort.tolist())
        state = selector.observe(state, Reports(round, cohort, {}, ()))
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 8, 9]]
