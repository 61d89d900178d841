"""Every registered selector keeps these rules."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from werkbund.core import ConfigError, Failure
from werkbund.core.rng import generator
from werkbund.engine import Checkpoint, RunState, load_checkpoint, save_checkpoint
from werkbund.selection import SELECTORS, Reports, Selector, State, View, build_selector

CASES: list[tuple[str, dict[str, Any]]] = [
    ("uniform", {}),
    ("uniform", {"fraction": 0.3}),
    ("uniform", {"count": 4}),
    ("all", {}),
    ("round-robin", {"fraction": 0.3}),
    ("round-robin", {"count": 4}),
]
AVAILABLE = [np.arange(12), np.array([1, 2, 5, 7, 11]), np.array([3]), np.arange(12)]
ASSUMPTIONS = {"available", "addressable", "stateful", "reliable", "trustworthy"}

every_case = pytest.mark.parametrize(("name", "options"), CASES)


def test_every_registered_selector_is_covered() -> None:
    assert {name for name, _ in CASES} == set(SELECTORS)
    assert len(SELECTORS) == 3


def _view(round: int, state: State) -> View:
    return View(round, AVAILABLE[round % len(AVAILABLE)], {"rows": np.arange(12)}, state)


def _choose(selector: Selector, view: View, seed: int = 0) -> Any:
    rng = generator(seed, "selection", view.round)
    assert selector.probe(view, (), rng) is None
    return selector.choose(view, (), rng)


def _next(selector: Selector, state: State, choice: Any, round: int) -> State:
    """Let the first of the cohort fail and the others answer."""
    failed = tuple(Failure(int(client), round, "late") for client in choice.cohort[:1])
    signals = {name: np.ones(len(choice.cohort) - 1) for name in selector.declaration.needs}
    return selector.observe(state, Reports(round, choice.cohort[1:], signals, failed))


def _play(selector: Selector, first: int, last: int, state: State) -> tuple[list[list[int]], State]:
    cohorts = []
    for round in range(first, last + 1):
        choice = _choose(selector, _view(round, state))
        cohorts.append(choice.cohort.tolist())
        state = _next(selector, state, choice, round)
    return cohorts, state


@every_case
@pytest.mark.parametrize("round", range(1, 5))
def test_a_cohort_is_some_of_the_available_in_order(name: str, options: dict[str, Any], round: int) -> None:
    view = _view(round, {})
    choice = _choose(build_selector(name, **options), view)
    assert choice.cohort.tolist() == sorted(set(choice.cohort.tolist()))
    assert set(choice.cohort.tolist()) <= set(view.available.tolist())
    assert len(choice.cohort) >= 1
    assert choice.cohort.dtype == np.int64


@every_case
def test_probabilities_factors_and_reasons_fit_the_cohort(name: str, options: dict[str, Any]) -> None:
    choice = _choose(build_selector(name, **options), _view(1, {}))
    shape = choice.cohort.shape
    assert choice.probabilities.shape == choice.factors.shape == shape
    assert ((choice.probabilities > 0) & (choice.probabilities <= 1)).all()
    assert (np.isfinite(choice.factors) & (choice.factors > 0)).all()
    assert len(choice.reasons) == len(choice.cohort)
    assert all(choice.reasons)


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
    for stop in (1, 4, 8):
        before, state = _play(selector, 1, stop, {})
        path = tmp_path / f"{stop}.npz"
        save_checkpoint(path, Checkpoint(RunState(stop, np.zeros(1, np.float32), {}, state)))
        after, _ = _play(build_selector(name, **options), stop + 1, 9, load_checkpoint(path).state.selector_state)
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
    _next(selector, state, _choose(selector, view), 3)
    assert dict(state) == before
    np.testing.assert_array_equal(view.available, available)


@every_case
def test_it_is_a_value(name: str, options: dict[str, Any]) -> None:
    selector, other = build_selector(name, **options), build_selector(name, **options)
    assert selector == other == pickle.loads(pickle.dumps(selector))  # noqa: S301 - our own bytes
    assert hash(selector) == hash(other)


@every_case
def test_it_declares_its_source_and_what_it_assumes(name: str, options: dict[str, Any]) -> None:
    declaration = build_selector(name, **options).declaration
    assert declaration.source
    assert declaration.cost
    assert declaration.reveals
    assert declaration.assumes <= ASSUMPTIONS


@every_case
def test_an_unbiased_selector_chooses_as_often_as_it_says(name: str, options: dict[str, Any]) -> None:
    selector = build_selector(name, **options)
    if not selector.declaration.unbiased:
        return
    counts, expected, num_rounds = np.zeros(12), 0.0, 1500
    for seed in range(num_rounds):
        choice = _choose(selector, View(1, np.arange(12)), seed)
        counts[choice.cohort] += choice.factors
        expected = float(choice.probabilities[0])
    np.testing.assert_allclose(counts / num_rounds, expected, atol=5 * np.sqrt(0.25 / num_rounds))


@pytest.mark.parametrize("name", SELECTORS)
def test_an_unknown_option_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match="fracton"):
        build_selector(name, fracton=0.5)


def test_an_unknown_selector_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="must be one of uniform, all, round-robin, got 'randm'"):
        build_selector("randm")
