"""Which answers to a question about trees are added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from werkbund.core import Failure, Replies, Tasks
from werkbund.trees.protocol.asking import Answers, ask_all
from werkbund.trees.protocol.kinds import TREE_CELLS, TREE_LEVEL

NAMES = ("Hof", "Ulm", "Jena")
SHAPES = {"histograms": (2, 3)}


def _words(scale: int = 1) -> Any:
    return np.arange(6).reshape(2, 3) * scale


def _one(client: int, words: Any = None, **how: Any) -> Replies:
    sums = {"histograms": (_words(client + 1) if words is None else np.asarray(words))[None]}
    return Replies(how.get("kind", TREE_LEVEL), how.get("round", 1), np.array([client]), sums)


def _answers(make_grid: Callable[..., Any], arrivals: Sequence[Replies | Failure]) -> Answers:
    grid = make_grid(NAMES, lambda sent: arrivals)
    return ask_all(grid, Tasks(TREE_LEVEL, 1, np.arange(3)), SHAPES, 1.0)


def test_answers_are_added_in_any_order_and_pooled_ones_beside_single_ones(make_grid: Any) -> None:
    pooled = Replies(TREE_LEVEL, 1, np.array([0, 2]), pooled={"histograms": _words(4)})
    singles = [_one(0), _one(2)]
    for arrivals in ([*singles, _one(1)], [_one(1), *singles[::-1]], [pooled, _one(1)]):
        answers = _answers(make_grid, arrivals)
        assert (answers.sums["histograms"] == _words(6)).all()
        assert sorted(answers.clients) == [0, 1, 2]
        assert not answers.failures


def test_late_repeated_and_foreign_answers_are_not_added(make_grid: Any) -> None:
    noise: list[Replies | Failure] = [
        _one(0),
        _one(7),
        _one(1, round=2),
        _one(1, kind=TREE_CELLS),
        Failure(0, 1, "late"),
        Failure(9, 1, "?"),
    ]
    answers = _answers(make_grid, [_one(0), *noise, _one(1), _one(2)])
    assert (answers.sums["histograms"] == _words(6)).all()
    assert not answers.failures


def test_who_does_not_answer_is_named(make_grid: Any) -> None:
    answers = _answers(make_grid, [_one(0), Failure(1, 1, "broken")])
    assert {failure.client: failure.reason.split(" (")[0] for failure in answers.failures} == {
        1: "broken",
        2: "no answer in time",
    }


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (np.zeros((2, 2), np.int64), "has the shape"),
        (np.zeros((3, 3), np.int64), "another form"),
        (np.zeros((2, 3)), "whole numbers"),
        (np.full((2, 3), 2**62), "whole numbers"),
        (np.array([[0, -1, 0], [0, 0, 0]]), "at least 0"),
        (np.array([[0, 0, -1], [0, 0, 0]]), "at least 0"),
    ],
)
def test_sums_that_cannot_be_are_refused(words: Any, reason: str, make_grid: Any) -> None:
    answers = _answers(make_grid, [_one(0), _one(1, words), _one(2)])
    assert [failure.client for failure in answers.failures] == [1]
    assert reason in answers.failures[0].reason
    assert (answers.sums["histograms"] == _words(4)).all()


def test_a_pooled_answer_with_someone_who_was_not_asked_is_refused(make_grid: Any) -> None:
    pooled = Replies(TREE_LEVEL, 1, np.array([1, 5]), pooled={"histograms": _words(4)})
    answers = _answers(make_grid, [_one(0), pooled, _one(2)])
    assert [failure.client for failure in answers.failures] == [1]


def test_who_is_behind_is_neither_added_nor_failed(make_grid: Any) -> None:
    late = Replies(TREE_LEVEL, 1, np.array([1]), {}, {"behind": np.array([True])})
    answers = _answers(make_grid, [_one(0), late, _one(2)])
    assert answers.behind == [1]
    assert not answers.failures
