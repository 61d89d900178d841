"""A plant takes a question as its kind declares it, with its own minima and its own draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.errors import ClientError
from werkbund.core.types import Tasks
from werkbund.engine.kinds import TRAIN
from werkbund.plant.leaving import KINDS
from werkbund.plant.policy import Policy
from werkbund.plant.question import Draws, as_taken
from werkbund.selection.questions import CENTROIDS, LOSS
from werkbund.trees.protocol.kinds import TREE_LEVEL

POLICY = Policy(minimum_rows=20)
OWN = Draws(5, "run/1/x")
ONE = np.zeros(1, np.int64)


def _taken(kind: Any, shared: dict[str, Any], own: dict[str, Any] | None = None, draws: Draws | None = OWN) -> Tasks:
    arrays = {name: np.asarray(value) for name, value in shared.items()}
    tasks = Tasks(kind, 1, ONE, arrays, {name: np.asarray(value) for name, value in (own or {}).items()})
    return as_taken(tasks, POLICY, 100, draws)


@given(
    first=st.integers(0, 1_000), second=st.integers(0, 1_000), rows=st.integers(20, 500), minimum=st.integers(1, 100)
)
def test_two_samples_are_equal_or_differ_in_enough_rows(first: int, second: int, rows: int, minimum: int) -> None:
    policy, sizes = Policy(minimum_rows=minimum), []
    for most in (first, second):
        tasks = Tasks(LOSS, 1, ONE, {"most": np.array(most)})
        sizes.append(min(int(as_taken(tasks, policy, rows, OWN).shared["most"]), rows))
    assert sizes[0] == sizes[1] or abs(sizes[0] - sizes[1]) >= minimum
    assert min(sizes) >= min(minimum, rows)


def test_a_plants_own_minimum_counts_where_the_task_says_less_or_nothing() -> None:
    assert int(_taken(CENTROIDS, {"k": 3}).shared["least"]) == 20
    assert int(_taken(CENTROIDS, {"k": 3, "least": 4}).shared["least"]) == 20
    assert int(_taken(CENTROIDS, {"k": 3, "least": 33}).shared["least"]) == 33


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4), st.integers(0, 2**63 - 1))
def test_rows_are_drawn_by_the_plants_secret_whatever_key_comes(keys: list[int], secret: int) -> None:
    draws = {int(Draws(secret, "run/1/x").keys(np.array([key], np.uint64))[0]) for key in keys}
    assert len(draws) == 1
    assert draws.isdisjoint(Draws(secret ^ 1, "run/1/x").keys(np.array(keys, np.uint64)).tolist())
    assert draws.isdisjoint(Draws(secret, "run/2/x").keys(np.array(keys, np.uint64)).tolist())


def test_trees_that_share_a_draw_share_it_still() -> None:
    told = np.array([9, 4, 9, 7], np.uint64)
    own = _taken(TREE_LEVEL, {"row_keys": told}).shared["row_keys"]
    assert own.dtype == np.uint64
    assert own[0] == own[2]
    assert len(set(own.tolist())) == 3
    assert set(own.tolist()).isdisjoint(told.tolist())


def test_without_draws_of_its_own_the_servers_key_stays() -> None:
    key = np.array([123], np.uint64)
    assert _taken(TRAIN, {}, {"key": key}, None).own["key"] == key
    assert _taken(TRAIN, {}, {"key": key}).own["key"] != key


def test_what_a_kind_does_not_declare_is_left_out() -> None:
    taken = _taken(TRAIN, {"rate": 1.0, "clip": 3.0, "weights": np.zeros(4)}, {"rows": np.zeros((1, 3))})
    assert set(taken.shared) == {"rate", "weights"}
    assert set(taken.own) == set()
    assert set(_taken(TRAIN, {}, {"weights": np.zeros((1, 4), np.float32)}).own) == {"weights"}


@pytest.mark.parametrize(
    ("shared", "named"),
    [
        ({"rate": np.ones(3)}, "rate of a task must have 0 axes"),
        ({"rate": "fast"}, "numbers of kind f"),
        ({"rate": 2}, "numbers of kind f"),
        ({"rate": 7.0}, r"within 0\.0 and 1\.0"),
        ({"rate": np.nan}, r"within 0\.0 and 1\.0"),
        ({"weights": np.zeros((3, 4), np.float32)}, "weights of a task must have 1 axes"),
        ({"weights": np.zeros(4, np.int64)}, "numbers of kind f"),
    ],
)
def test_an_array_of_another_form_is_refused(shared: dict[str, Any], named: str) -> None:
    with pytest.raises(ClientError, match=named):
        _taken(TRAIN, shared)


def test_every_number_of_rows_that_a_task_may_name_is_bound_by_the_policy() -> None:
    """A field whose unit or words are of rows must say by which minimum it is bound, or that it draws none."""
    for kind in KINDS:
        for field in kind.request:
            about_rows = field.name in ("most", "least") or "rows" in field.unit
            assert not about_rows or field.minimum, (kind.name, field.name)
            assert not field.name.endswith("key") or field.stream, (kind.name, field.name)
