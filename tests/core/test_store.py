"""What clients keep in one process."""

from __future__ import annotations

import numpy as np
import pytest

from werkbund.core.store import RowStore

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
