import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core import Replies
from werkbund.engine.kinds import EVALUATE
from werkbund.engine.records import gathered_counts


def _reply(clients: list[int], *splits: str) -> Replies:
    numbers = np.array(clients, np.int64)
    sums = {f"{split}.brier": numbers * 2.0 for split in splits} | {"rows": numbers}
    return Replies(EVALUATE, 1, numbers, sums)


@given(st.permutations(range(6)), st.integers(1, 6))
def test_counts_stand_in_client_order(order: list[int], size: int) -> None:
    parts = [order[first : first + size] for first in range(0, 6, size)]
    counts, evaluated = gathered_counts(_reply(part, "validation", "test") for part in parts)
    for split in ("validation", "test"):
        assert evaluated[split].tolist() == list(range(6))
        assert counts[split]["brier"].tolist() == [0, 2, 4, 6, 8, 10]
        assert list(counts[split]) == ["brier"]


def test_counts_that_came_added_make_one_row_an_answer() -> None:
    numbers = np.array([3, 5])
    added = Replies(EVALUATE, 1, numbers, pooled={"test.brier": np.array(7.0)})
    counts, evaluated = gathered_counts([added, Replies(EVALUATE, 1, np.array([1]), {"test.brier": np.array([2.0])})])
    assert counts["test"]["brier"].tolist() == [2.0, 7.0]
    assert evaluated["test"].tolist() == [1, 3, 5]


def test_a_split_that_nobody_scored_is_left_out() -> None:
    counts, evaluated = gathered_counts([_reply([1], "test"), _reply([0]), _reply([], "validation")])
    assert set(counts) == set(evaluated) == {"test"}
    assert evaluated["test"].tolist() == [1]


@pytest.mark.parametrize("replies", [[], [_reply([])]])
def test_nothing_gives_nothing(replies: list[Replies]) -> None:
    assert gathered_counts(replies) == ({}, {})
