"""What clients keep in one process."""

from __future__ import annotations

import numpy as np
import pytest

from werkbund.core.store import PendingStore, RowStore

SOME = np.array([3, 1])


def _filled() -> RowStore:
    store = RowStore()
    store.put("control", SOME, np.array([[3.0, 30.0], [1.0, 10.0]]))
    store.put("held", SOME, np.ones((2, 4)), lasting=False)
    return store


def test_rows_come_by_client_and_the_missing_ones_as_told() -> None:
    rows = _filled().rows("control", np.array([1, 2, 3]), np.zeros(2))
    assert rows.tolist() == [[1.0, 10.0], [0.0, 0.0], [3.0, 30.0]]
    assert _filled().knows("control", np.array([1, 2, 3])).tolist() == [True, False, True]


def test_what_lasts_goes_through_arrays_and_back_and_the_rest_does_not() -> None:
    arrays = _filled().arrays()
    assert sorted(arrays) == ["control.clients", "control.rows"]
    again = RowStore()
    again.put("old", SOME, np.ones((2, 1)))
    again.go_back(arrays)
    assert again.rows("control", SOME, np.zeros(2)).tolist() == [[3.0, 30.0], [1.0, 10.0]]
    assert not again.knows("held", SOME).any()
    assert not again.knows("old", SOME).any()


def test_a_row_is_never_changed_in_place() -> None:
    given = np.ones((2, 2))
    store = RowStore()
    store.put("control", SOME, given)
    given[:] = 7.0
    assert store.rows("control", SOME, np.zeros(2)).max() == 1.0
    with pytest.raises(ValueError, match="read-only"):
        store._rows["control"][1][0] = 2.0


def test_what_is_forgotten_is_gone() -> None:
    store = _filled()
    store.forget("control", np.array([3, 9]))
    assert store.knows("control", SOME).tolist() == [False, True]


def _put_in(round: int, value: float, store: RowStore) -> RowStore:
    PendingStore(store, round).put("control", SOME, np.full((2, 1), value))
    return store


def _values(store: RowStore | PendingStore) -> list[float]:
    values: list[float] = store.rows("control", SOME, np.zeros(1))[:, 0].tolist()
    return values


def test_what_is_put_counts_from_when_its_answer_was_taken_client_by_client() -> None:
    store = _put_in(1, 1.0, RowStore())
    pending = PendingStore(store, 1)
    assert _values(pending) == [0.0, 0.0]
    assert not pending.knows("control", SOME).any()
    pending = PendingStore(store, 2)
    pending.settle(SOME, np.array([1, 0]), is_last=True)
    assert _values(pending) == [1.0, 0.0]
    assert pending.names() == store.names() == ("control",)


def test_an_answer_that_was_not_taken_leaves_the_row_from_before() -> None:
    store = _put_in(1, 1.0, RowStore())
    PendingStore(store, 2).settle(SOME, np.array([1, 1]), is_last=True)
    _put_in(2, 2.0, store)
    PendingStore(store, 3).settle(SOME, np.array([1, 2]), is_last=True)
    assert _values(store) == [1.0, 2.0]


def test_a_late_answer_may_still_be_taken_until_the_client_trains_again() -> None:
    store, none = _put_in(1, 1.0, RowStore()), np.array([0, 0])
    PendingStore(store, 2).settle(SOME, none, is_last=False)
    PendingStore(store, 3).settle(SOME, np.array([1, 0]), is_last=True)
    assert _values(store) == [1.0, 0.0]


@pytest.mark.parametrize("round", [0, 5])
def test_tasks_of_the_same_round_or_before_the_first_settle_nothing_of_it(round: int) -> None:
    store = _put_in(round, 1.0, RowStore())
    PendingStore(store, round).settle(SOME, np.array([round, round]), is_last=True)
    assert _values(store) == [0.0, 0.0]
    PendingStore(store, round + 1).settle(SOME, np.array([round, 0]), is_last=True)
    assert _values(store) == [float(round > 0), 0.0]


def test_pending_rows_are_in_the_checkpoint_and_what_does_not_last_counts_at_once() -> None:
    store = _put_in(1, 1.0, RowStore())
    PendingStore(store, 1).put("held", SOME, np.ones((2, 3)), lasting=False)
    assert PendingStore(store, 1).knows("held", SOME).all()
    again = RowStore()
    again.go_back(store.arrays())
    PendingStore(again, 2).settle(SOME, np.array([1, 1]), is_last=True)
    assert _values(again) == [1.0, 1.0]
    assert again.names() == ("control",)


def test_what_is_forgotten_is_neither_kept_nor_pending() -> None:
    store = _put_in(1, 1.0, RowStore())
    PendingStore(store, 2).settle(SOME, np.array([1, 1]), is_last=True)
    _put_in(2, 2.0, store)
    PendingStore(store, 2).forget("control", SOME)
    PendingStore(store, 3).settle(SOME, np.array([2, 2]), is_last=True)
    assert _values(store) == [0.0, 0.0]


def test_rows_that_move_keep_their_clients_and_whether_they_last() -> None:
    store = _filled()
    store.move("control", "other", np.array([1, 2]))
    store.move("held", "kept", SOME)
    assert store.rows("other", SOME, np.zeros(2)).tolist() == [[0.0, 0.0], [1.0, 10.0]]
    assert store.knows("control", SOME).tolist() == [True, False]
    assert sorted(store.names()) == ["control", "kept", "other"]
    assert "kept.rows" not in store.arrays()
