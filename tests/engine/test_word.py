"""A client is held to what it said: training rows, what its update weighs, and how many held-out rows it counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.conftest import SpokenGrid
from werkbund.core.arrays import Arrays, Float64Array
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine.asking import Form, ask
from werkbund.engine.kinds import EVALUATE, TRAIN
from werkbund.engine.word import Word, most_held_out, weights_expected, with_counts
from werkbund.learner.counts import count_scores

ROWS = np.array([100.0, 30.0, np.nan, 0.0, 7.0])
COHORT = np.array([0, 1, 2, 3])
NOBODY_KNOWS = np.full(5, np.nan)


def _update(client: int, weight: float, rows: float | None = None, **sums: Any) -> Replies:
    told = {} if rows is None else {"rows": np.array([rows])}
    whole = {"update": np.zeros((1, 2), np.float32), "weight": np.array([weight]), **told, **sums}
    return Replies(TRAIN, 1, np.array([client]), whole)


def _word(factors: Float64Array, equal: bool = False) -> Word:
    least, most = weights_expected(ROWS, COHORT, factors, equal)
    return Word(ROWS, least, most)


@given(st.lists(st.floats(0.01, 50), min_size=4, max_size=4), st.integers(0, 3), st.floats(0, 1e12), st.booleans())
def test_an_update_weighs_its_factor_times_the_rows_that_were_said(
    factors: list[float], client: int, weight: float, equal: bool
) -> None:
    word, factor = _word(np.array(factors), equal), factors[client]
    known = {0: 100.0, 1: 30.0, 3: 0.0}
    if client in known:
        right = factor * (min(known[client], 1.0) if equal else known[client])
        assume(not np.isclose(weight, right, rtol=1e-6, atol=0))
        assert word.broken(_update(client, right)) == {}
        assert "weighs" in word.broken(_update(client, weight))[0]
    else:
        most = factor * (1.0 if equal else 100.0)
        assume(not np.isclose(weight, most, rtol=1e-6))
        assert bool(word.broken(_update(client, weight))) is (weight > most)


def test_rows_are_those_that_were_said() -> None:
    word = _word(np.ones(4))
    assert word.broken(_update(1, 30.0, 30.0)) == {}
    assert word.broken(_update(2, 30.0, 12.0)) == {}
    assert "said 30" in word.broken(_update(1, 30.0, 31.0))[0]
    assert word.broken(_update(1, 30.0, 31.0), frozenset({"rows"})) == {}


def test_what_layers_changed_is_not_held_to_anything() -> None:
    assert _word(np.ones(4)).broken(_update(0, 1e12), frozenset({"weight"})) == {}


def test_where_nobody_is_held_to_anything_any_weight_will_do() -> None:
    assert Word().broken(_update(0, 1e12, 5.0)) == {}


def _counts(rows: int, failures: int, seed: int = 0, prefix: str = "test.") -> Arrays:
    logits, labels = np.random.default_rng(seed).normal(size=rows), (np.arange(rows) < failures).astype(np.float64)
    counted = count_scores(logits, labels, np.zeros((rows, 1), np.bool_), np.array([0, rows]))
    return {f"{prefix}{name}": array for name, array in counted.items()}


def _evaluation(client: int, counts: Arrays, pooled: bool = False) -> Replies:
    if pooled:
        return Replies(EVALUATE, 1, np.array([client]), pooled={name: array[0] for name, array in counts.items()})
    return Replies(EVALUATE, 1, np.array([client]), counts)


@given(st.integers(1, 60), st.integers(0, 60), st.integers(1, 60), st.integers(0, 60), st.booleans())
def test_held_out_rows_by_class_stay_what_they_were(
    rows: int, failures: int, later: int, failed: int, pooled: bool
) -> None:
    failures, failed = min(failures, rows), min(failed, later)
    known = with_counts({}, [_evaluation(2, _counts(rows, failures), pooled)], 5)
    now = _evaluation(2, _counts(later, failed, 1), pooled)
    word = Word(NOBODY_KNOWS, held_out=known)
    assert bool(word.broken(now)) is ((rows, failures) != (later, failed))
    assert word.broken(replace(now, clients=np.array([3]))) == {}
    assert with_counts(known, [now], 5)["test"][2].tolist() == [later - failed, failed]
    assert (with_counts(known, [now], 5)["test"][[0, 1, 3, 4]] == -1).all()


def test_counts_that_came_added_say_nothing_of_any_client() -> None:
    both = Replies(EVALUATE, 1, np.array([0, 1]), pooled={name: array[0] for name, array in _counts(9, 2).items()})
    assert with_counts({}, [both], 5) == {}
    assert Word(NOBODY_KNOWS, held_out={"test": np.ones((5, 2))}).broken(both) == {}


@pytest.mark.parametrize("pooled", [False, True])
def test_counts_that_contradict_one_another_are_refused_by_name(pooled: bool) -> None:
    counts = _counts(20, 5)
    lie = _evaluation(1, {**counts, "test.brier": np.array([21.0])}, pooled)
    said = {0: "its test counts contradict one another: more squared errors than rows"}
    assert Word(NOBODY_KNOWS).broken(lie) == said
    assert Word().broken(lie) == {}


def test_who_breaks_its_word_fails_by_name_and_nobody_else() -> None:
    arrivals = [_update(0, 100.0), _update(1, 1e12), _update(3, 0.0)]
    asked = [Tasks(TRAIN, 1, np.array([0, 1, 3]))]
    form = Form(2, "", word=_word(np.ones(4)))
    came = list(ask(SpokenGrid(("a",) * 5, lambda sent: arrivals), asked, 1.0, form))
    assert [one.client for one in came if isinstance(one, Failure)] == [1]
    assert [one.clients.tolist() for one in came if isinstance(one, Replies)] == [[0], [3]]


@given(st.integers(1, 500), st.integers(1, 500))
def test_nobody_counts_more_held_out_rows_than_it_has(rows: int, most: int) -> None:
    word = Word(NOBODY_KNOWS, most_held_out=np.array([np.inf, most, 0.0]))
    said = word.broken(_evaluation(1, _counts(rows, 1)))
    assert bool(said) is (rows > most)
    assert word.broken(_evaluation(0, _counts(rows, 1))) == {}
    assert "at most 0" in word.broken(_evaluation(2, _counts(rows, 1)))[0]


def test_how_many_rows_can_be_held_out_follows_from_what_was_told() -> None:
    training = np.array([60.0, 60.0, np.nan, 3.0, 60.0])
    told = np.array([100.0, np.nan, np.nan, np.nan, 50.0])
    most = most_held_out(training, told, 0.25, 0.15)
    np.testing.assert_allclose(most, [40, 250, 250, 100, 0])


@given(st.lists(st.floats(0.01, 50), min_size=4, max_size=4), st.floats(0, 1e12))
def test_a_sum_of_updates_weighs_what_all_its_clients_said_together(factors: list[float], weight: float) -> None:
    word = _word(np.array(factors))
    clients = np.array([0, 1, 3])
    right = factors[0] * 100 + factors[1] * 30
    total = Replies(TRAIN, 1, clients, pooled={"update": np.zeros(2, np.float32), "weight": np.array(right)})
    assert word.broken(total) == {}
    assume(not np.isclose(weight, right, rtol=1e-6, atol=0))
    broken = word.broken(replace(total, pooled={**total.pooled, "weight": np.array(weight)}))
    assert sorted(broken) == [0, 1, 2], "sums do not show which of them lies"
    assert "one of them lies" in broken[0]
