"""Every registered selector keeps these rules."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from werkbund.core import ConfigError, Failure, Replies, Tasks
from werkbund.core.arrays import AnyArray, Arrays, Float32Array, Int64Array
from werkbund.core.rng import generator
from werkbund.core.types import Choice
from werkbund.engine import Checkpoint, RunState, load_checkpoint, save_checkpoint
from werkbund.selection import (
    SELECTORS,
    Declaration,
    Reports,
    Selector,
    State,
    View,
    build_selector,
    parameters_of,
)
from werkbund.selection.contract import OF_THE_UPDATE, SIGNALS
from werkbund.selection.questions import QUESTIONS

NUMBER, PARAMETERS, LAST = 12, 5, 40
NAMES = tuple(SELECTORS)
NUM_SELECTORS = 29
AVAILABLE = [np.arange(NUMBER), np.array([1, 2, 5, 7, 11]), np.array([3]), np.arange(NUMBER)]
ASSUMPTIONS = {"available", "addressable", "stateful", "reliable", "trustworthy"}
NOT_EVERYBODY = {
    *("md", "clustered-size", "clustered-similarity", "ocs", "aocs", "fedcs", "oort", "oort-energy", "battery"),
    *("tifl", "lag", "k-fed", "hics", "fmore"),
}
"""By declaration these need not take everybody where as many are wanted: they draw with replacement, by urns or coins,
or a deadline, a blacklist, a battery, a tier, a cluster or a threshold forbids it."""

CASES: list[tuple[str, dict[str, Any]]] = [(name, size) for name in NAMES for size in ({}, {"count": 4})]
every_case = pytest.mark.parametrize(("name", "options"), CASES)
ROWS = np.arange(1, NUMBER + 1) * 10.0


def test_the_suite_covers_every_registered_selector() -> None:
    assert len(NAMES) == NUM_SELECTORS


def _facts(nan: bool = False) -> Arrays:
    facts = {
        "rows": ROWS,
        "seconds_compute": np.linspace(1.0, 9.0, NUMBER),
        "seconds_up": np.linspace(0.2, 2.0, NUMBER),
        "seconds_down": np.linspace(0.1, 1.0, NUMBER),
        "joules": np.linspace(5.0, 50.0, NUMBER),
        "battery": np.linspace(0.9, 0.3, NUMBER),
        "battery_capacity": np.full(NUMBER, 1000.0),
        "price": np.linspace(0.1, 1.0, NUMBER),
    }
    return {name: np.full(NUMBER, np.nan) if nan else values for name, values in facts.items()}


def _view(round: int, state: State, nan: bool = False) -> View:
    return View(round, AVAILABLE[round % len(AVAILABLE)], _facts(nan), state, LAST)


def _answer(tasks: Tasks, nan: bool, updates: int) -> Replies:
    """Answer a question as clients would: by numbers that depend on client and round, norms on the updates too."""
    rng, held = (np.random.Generator(np.random.PCG64((tasks.round, seed))) for seed in (0, 1 + updates))
    lengths = {name: held.gamma(2.0, 1.0, NUMBER) for name in ("norm", "change")}
    drawn = {"loss": rng.gamma(2.0, 1.0, NUMBER), **lengths}
    clear: dict[str, AnyArray] = {name: values[tasks.clients] for name, values in drawn.items()}
    if "k" in tasks.shared:
        clear["centroids"] = rng.normal(size=(NUMBER, int(tasks.shared["k"]), 3))[tasks.clients]
    clear = {name: np.full_like(values, np.nan) if nan else values for name, values in clear.items()}
    return Replies(tasks.kind, tasks.round, tasks.clients, {}, clear)


Turn = tuple[Choice, tuple[Replies, ...]]
"""A choice, and the answers before it."""


def _turn(selector: Selector, view: View, seed: int = 0, nan: bool = False, updates: int = 0) -> Turn:
    rng = generator(seed, "selection", view.round)
    answers: tuple[Replies, ...] = ()
    for _ in range(20):
        question = selector.probe(view, answers, rng)
        if question is None:
            return selector.choose(view, answers, rng), answers
        assert question.kind in selector.declaration.asks
        assert set(question.clients.tolist()) <= set(view.available.tolist())
        assert question.clients.tolist() == sorted(set(question.clients.tolist()))
        answers = (*answers, _answer(question, nan, updates))
    raise AssertionError("it asks for ever")


def _choose(selector: Selector, view: View, seed: int = 0, nan: bool = False) -> Choice:
    return _turn(selector, view, seed, nan)[0]


def _score(weights: Float32Array) -> float:
    return -float(np.square(weights - 1.0).sum())


def _signals(names: frozenset[str], clients: Int64Array, round: int, nan: bool, updates: int) -> Arrays:
    """Return signals that depend on client and round, and where they are taken from updates on these."""
    signals: dict[str, AnyArray] = {}
    for name in sorted(names - {"score"}):
        seed = 1000 + updates if name in OF_THE_UPDATE else 0
        rng = np.random.Generator(np.random.PCG64((round, seed, *name.encode())))
        drawn = rng.gamma(2.0, 1.0, (NUMBER, PARAMETERS) if name == "update" else NUMBER)[clients]
        signals[name] = np.full_like(drawn, np.nan) if nan and name != "update" else drawn
    if "update" in signals:
        signals["update"] = (signals["update"] - 2.0).astype(np.float32)
    return signals


def _next(
    selector: Selector, state: State, turn: Turn, round: int, nan: bool = False, updates: int | None = None
) -> State:
    """Let the first of the cohort fail and the others answer; with `updates` they tell more than is declared."""
    choice, answers = turn
    failed = tuple(Failure(int(client), round, "late") for client in choice.cohort[:1])
    answered = choice.cohort[1:]
    weights = np.zeros(PARAMETERS, np.float32) if "score" in selector.declaration.needs else None
    score = _score if weights is not None else None
    names = selector.declaration.needs | (frozenset() if updates is None else OF_THE_UPDATE)
    signals = _signals(names, answered, round, nan, updates or 0)
    return selector.observe(state, Reports(round, answered, signals, failed, weights, score, choice, answers))


def _play(selector: Selector, first: int, last: int, state: State, nan: bool = False) -> tuple[list[list[int]], State]:
    cohorts = []
    for round in range(first, last + 1):
        turn = _turn(selector, _view(round, state, nan), nan=nan)
        cohorts.append(turn[0].cohort.tolist())
        state = _next(selector, state, turn, round, nan)
    return cohorts, state


def _same(one: State, other: State) -> None:
    assert set(one) == set(other)
    for key in one:
        np.testing.assert_equal(one[key], other[key])


def _is_a_cohort(choice: Choice, view: View) -> None:
    cohort = choice.cohort.tolist()
    assert cohort == sorted(set(cohort))
    assert set(cohort) <= set(view.available.tolist())
    assert choice.cohort.dtype == np.int64
    assert choice.probabilities.shape == choice.factors.shape == choice.cohort.shape
    assert ((choice.probabilities > 0) & (choice.probabilities <= 1 + 1e-9)).all()
    assert (np.isfinite(choice.factors) & (choice.factors > 0)).all()
    assert len(choice.reasons) == len(cohort)
    assert all(choice.reasons)


@every_case
def test_cohorts_are_some_of_the_available_in_order(name: str, options: dict[str, Any]) -> None:
    selector = build_selector(name, **options)
    state: State = {}
    for round in range(1, 13):
        view = _view(round, state)
        turn = _turn(selector, view)
        choice = turn[0]
        _is_a_cohort(choice, view)
        assert len(choice.cohort) >= 1
        if "count" in options and choice.keep is None and not choice.held and name not in {"all", "fedcs"}:
            assert len(choice.cohort) <= options["count"]
        state = _next(selector, state, turn, round)


@every_case
def test_numbers_that_are_missing_or_no_numbers_are_borne(name: str, options: dict[str, Any]) -> None:
    selector = build_selector(name, **options)
    state: State = {}
    for round in range(1, 9):
        view = _view(round, state, nan=True)
        turn = _turn(selector, view, nan=True)
        _is_a_cohort(turn[0], view)
        state = _next(selector, state, turn, round, nan=True)
    bare = View(9, np.arange(NUMBER), {}, state)
    _is_a_cohort(_choose(selector, bare), bare)


@every_case
def test_new_and_vanished_clients_are_borne(name: str, options: dict[str, Any]) -> None:
    selector = build_selector(name, **options)
    state: State = {}
    for round, available in enumerate((np.arange(4), np.arange(9), np.array([2, 8, 10, 11]), np.arange(NUMBER)), 1):
        view = View(round, available, _facts(), state, LAST)
        turn = _turn(selector, view)
        _is_a_cohort(turn[0], view)
        state = _next(selector, state, turn, round)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOT_EVERYBODY])
def test_whoever_wants_all_gets_all(name: str) -> None:
    selector = build_selector(name, count=NUMBER + 5)
    state: State = {}
    for round in (1, 2, 3):
        view = View(round, np.arange(NUMBER), _facts(), state, LAST)
        turn = _turn(selector, view)
        assert turn[0].cohort.tolist() == list(range(NUMBER)), round
        state = _next(selector, state, turn, round)


@every_case
def test_inclusion_adds_up_to_the_size_of_the_cohort(name: str, options: dict[str, Any]) -> None:
    selector = build_selector(name, **options)
    view = View(1, np.arange(NUMBER), _facts(), {}, LAST)
    choice = _choose(selector, view)
    if choice.inclusion is None:
        return
    assert choice.inclusion.shape == view.available.shape
    assert ((choice.inclusion >= 0) & (choice.inclusion <= 1 + 1e-9)).all()
    sizes = [len(_choose(selector, view, seed).cohort) for seed in range(300)]
    error = np.std(sizes) / np.sqrt(len(sizes))
    assert abs(np.mean(sizes) - choice.inclusion.sum()) <= 4 * error + 1e-9


@every_case
def test_with_nobody_available_nobody_is_chosen(name: str, options: dict[str, Any]) -> None:
    choice = _choose(build_selector(name, **options), View(1, np.empty(0, np.int64)))
    assert len(choice.cohort) == len(choice.probabilities) == len(choice.reasons) == 0


@every_case
def test_the_same_address_gives_the_same_choice(name: str, options: dict[str, Any]) -> None:
    first, again = (_play(build_selector(name, **options), 1, 8, {})[0] for _ in range(2))
    assert first == again


@every_case
def test_a_resumed_selector_goes_on_as_if_nothing_had_been(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    selector = build_selector(name, **options)
    whole, _ = _play(selector, 1, 9, {})
    for stop in (1, 5):
        before, state = _play(selector, 1, stop, {})
        path = tmp_path / f"{stop}.npz"
        save_checkpoint(path, Checkpoint.of(RunState(stop, np.zeros(1, np.float32), {}, state)))
        after, _ = _play(
            build_selector(name, **options), stop + 1, 9, RunState.of_checkpoint(load_checkpoint(path)).selector_state
        )
        assert before + after == whole


@every_case
def test_its_state_is_json_and_arrays(name: str, options: dict[str, Any]) -> None:
    _, state = _play(build_selector(name, **options), 1, 3, {})
    values = {key: value for key, value in state.items() if not isinstance(value, np.ndarray)}
    assert json.loads(json.dumps(values)) == values


@every_case
def test_neither_choosing_nor_observing_changes_what_it_is_given(name: str, options: dict[str, Any]) -> None:
    selector = build_selector(name, **options)
    _, state = _play(selector, 1, 2, {})
    before, view = copy.deepcopy(dict(state)), _view(3, state)
    available = view.available.copy()
    _next(selector, state, _turn(selector, view), 3)
    _same(state, before)
    np.testing.assert_array_equal(view.available, available)


@every_case
def test_it_is_a_value(name: str, options: dict[str, Any]) -> None:
    selector, other = build_selector(name, **options), build_selector(name, **options)
    assert selector == other == pickle.loads(pickle.dumps(selector))  # noqa: S301 - our own bytes
    assert hash(selector) == hash(other)


@pytest.mark.parametrize("name", NAMES)
def test_it_declares_itself(name: str) -> None:
    selector = build_selector(name)
    declaration, card = selector.declaration, SELECTORS[name].card
    assert declaration.source
    assert declaration.cost
    assert declaration.reveals
    assert declaration.assumes <= ASSUMPTIONS
    assert all((card.title, card.rule, card.policy, card.shared, card.interpretation, card.use_when, card.avoid_when))
    json.dumps(card.to_json())


def _played(name: str, updates: int) -> str:
    """Return all choices and the last state, in words, where clients tell updates and norms, declared or not."""
    selector, state, played = build_selector(name, count=4), dict[str, Any](), list[Any]()
    for round in range(1, 9):
        turn = _turn(selector, View(round, np.arange(NUMBER), _facts(), state, LAST), updates=updates)
        played += [turn[0].cohort.tolist(), turn[0].factors.tolist(), turn[0].reasons]
        state = dict(_next(selector, state, turn, round, updates=updates))
    return repr([*played, {key: np.asarray(value).tolist() for key, value in state.items()}])


@pytest.mark.parametrize("name", NAMES)
def test_it_works_with_secure_aggregation_exactly_if_single_updates_change_nothing(name: str) -> None:
    """Show that what is declared is what is read: a sum of updates hides each of them and its norm."""
    same = _played(name, 1) == _played(name, 2)
    assert build_selector(name).declaration.secure_aggregation == same


def test_what_is_taken_from_an_update_is_not_there_under_secure_aggregation() -> None:
    assert set(SIGNALS) >= OF_THE_UPDATE
    for name in SIGNALS:
        declaration = Declaration("a source", needs=frozenset({name}))
        assert declaration.secure_aggregation == (name not in {"norm", "change", "update"})
    assert Declaration("a source", asks=frozenset(QUESTIONS)).secure_aggregation


@pytest.mark.parametrize("name", NAMES)
def test_an_unbiased_selector_expects_the_mean_of_all(name: str) -> None:
    """Show that the expected aggregate is that of full participation, coordinate by coordinate."""
    selector = build_selector(name, count=4)
    if not selector.declaration.unbiased:
        return
    view = View(1, np.arange(NUMBER), _facts(), {}, LAST)
    share, num_draws = ROWS / ROWS.sum(), 2000
    aggregates = np.zeros((num_draws, NUMBER))
    for seed in range(num_draws):
        choice = _choose(selector, view, seed)
        weight = choice.factors * (1.0 if choice.equal else ROWS[choice.cohort])
        aggregates[seed, choice.cohort] = weight / (choice.total if choice.total is not None else weight.sum())
    error = aggregates.std(axis=0) / np.sqrt(num_draws)
    assert (np.abs(aggregates.mean(axis=0) - share) <= 4.5 * error + 1e-12).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_option_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match="fracton"):
        build_selector(name, fracton=0.5)
    assert "size" not in parameters_of(name)


@pytest.mark.parametrize("name", NAMES)
def test_an_option_of_another_type_is_refused_by_name(name: str) -> None:
    for option in parameters_of(name):
        wrong: dict[str, Any] = {option: [1]}
        with pytest.raises(ConfigError, match=rf"strategy\.selection\.{option} must be "):
            build_selector(name, **wrong)


def test_a_whole_number_is_refused_a_fraction() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.selection\.tiers must be a whole number, got 2\.5"):
        build_selector("tifl", tiers=2.5)


def test_an_unknown_selector_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"must be one of uniform, .*, got 'randm'"):
        build_selector("randm")
