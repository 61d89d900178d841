import numpy as np
import pytest

from werkbund.core import ConfigError
from werkbund.core.rng import generator
from werkbund.core.types import Choice, Replies
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.choices import AnnotatedChoice
from werkbund.selection.methods.lag import LazyUpload, informative, threshold
from werkbund.selection.questions import HOLD

ROWS = {"rows": np.full(8, 10.0)}


def _held(norms: dict[int, float]) -> tuple[Replies, ...]:
    """One answer a client, the last first, as a grid may yield them."""
    return tuple(
        Replies(HOLD, 1, np.array([client]), {}, {"norm": np.array([norms[client]])})
        for client in sorted(norms, reverse=True)
    )


def _choose(selector: LazyUpload, view: View, norms: dict[int, float]) -> Choice:
    return selector.choose(view, _held(norms), generator(0, "selection", view.round))


def test_the_threshold_is_the_root_of_a_weighted_sum_of_squares() -> None:
    assert threshold(np.array([3.0, 4.0]), 0.1) == pytest.approx(np.sqrt(2.5))
    assert threshold(np.empty(0), 0.1) == 0.0


def test_norms_count_by_rows() -> None:
    passed = informative(np.array([1.0, 1.0, 1.0]), np.array([10.0, 20.0, 30.0]), 0.9)
    assert passed.tolist() == [False, True, True]


def test_a_norm_at_the_threshold_stays_silent_and_an_unknown_one_does_not() -> None:
    assert informative(np.array([2.0, np.nan]), np.ones(2), 2.0).tolist() == [False, True]


def test_all_train_and_hold_and_are_asked_once() -> None:
    view = View(1, np.array([1, 4, 6]))
    tasks = LazyUpload().probe(view, (), np.random.default_rng(0))
    assert tasks is not None
    assert (tasks.kind, tasks.clients.tolist()) == (HOLD, [1, 4, 6])
    assert LazyUpload().probe(view, _held({1: 1.0}), np.random.default_rng(0)) is None
    some = LazyUpload(CohortSize(count=2)).probe(view, (), np.random.default_rng(0))
    assert some is not None
    assert len(some.clients) == 2


def test_in_the_first_round_nobody_stays_silent() -> None:
    choice = _choose(LazyUpload(), View(1, np.arange(8), ROWS), {1: 0.1, 5: 9.0, 3: 0.2})
    assert (choice.cohort.tolist(), choice.held, choice.total) == ([1, 3, 5], True, 30.0)


def test_those_above_the_threshold_upload_and_the_sum_is_divided_by_all_that_trained() -> None:
    state: State = {"steps": [2.0] * 10}
    choice = _choose(LazyUpload(), View(11, np.arange(8), ROWS, state), {1: 1.9, 5: 2.1, 3: 8.0, 7: 0.0})
    assert choice.cohort.tolist() == [3, 5]
    assert choice.total == 40.0
    assert choice.equal is False
    assert "8, threshold 2" in choice.reasons[0]


def test_if_nobody_passes_the_longest_comes_alone() -> None:
    choice = _choose(LazyUpload(), View(2, np.arange(8), ROWS, {"steps": [100.0]}), {1: 1.9, 5: 2.1})
    assert choice.cohort.tolist() == [5]


def test_a_larger_factor_silences_more_and_zero_silences_nobody() -> None:
    norms = {client: float(client) for client in range(1, 8)}
    sizes = [
        len(_choose(LazyUpload(factor=factor), View(3, np.arange(8), ROWS, {"steps": [3.0, 3.0]}), norms).cohort)
        for factor in (0.0, 0.1, 0.5, 2.0, 50.0)
    ]
    assert sizes == [7, 6, 4, 1, 1]


def test_steps_are_those_of_the_mean_over_all_that_trained_and_the_last_few_are_kept() -> None:
    selector = LazyUpload(memory=2)
    clients, ones = np.array([3, 5]), np.ones(2)
    choice = AnnotatedChoice(clients, ones, ones, ("", ""), notes={"share": np.array([0.25, 0.25])})
    updates = np.array([[4.0, 0.0], [0.0, 4.0]], np.float32)
    state: State = {}
    for round in range(1, 4):
        state = selector.observe(state, Reports(round, clients, {"update": round * updates}, (), choice=choice))
    np.testing.assert_allclose(state["steps"], [2 * np.sqrt(2), 3 * np.sqrt(2)])


def test_what_is_missing_is_tolerated() -> None:
    selector, clients = LazyUpload(), np.array([3, 5])
    assert selector.observe({}, Reports(1, clients, {}, ())) == {}
    state = selector.observe({}, Reports(1, clients, {"update": np.array([[np.nan, 1.0], [3.0, 4.0]])}, ()))
    assert state["steps"] == [2.5]
    view = View(1, np.array([3, 5]))
    nobody = (Replies(HOLD, 1, np.empty(0, np.int64)),)
    choice = selector.choose(view, nobody, generator(0, "selection", 1))
    assert (choice.held, choice.cohort.tolist()) == (False, [3, 5])
    silent = (Replies(HOLD, 1, clients),)
    choice = selector.choose(view, silent, generator(0, "selection", 1))
    assert (choice.held, choice.cohort.tolist(), choice.equal) == (True, [3, 5], True)
    empty = View(1, np.empty(0, np.int64))
    assert selector.probe(empty, (), np.random.default_rng(0)) is None
    assert len(selector.choose(empty, (), np.random.default_rng(0)).cohort) == 0


@pytest.mark.parametrize(("name", "value"), [("factor", -1.0), ("memory", 0)])
def test_a_wrong_parameter_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        LazyUpload(**{name: value})  # type: ignore[arg-type]
