from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core import ClientSplits, ClientTable, DataError


def _table(offsets: list[int], rows: int, num_labels: int | None = None, num_modes: int = 0) -> ClientTable:
    return ClientTable(
        tuple(f"plant {i}" for i in range(len(offsets) - 1)),
        np.array(offsets),
        np.zeros((rows, 2), np.float32),
        np.zeros(rows if num_labels is None else num_labels, np.float32),
        np.zeros((rows, num_modes), np.bool_),
    )


@pytest.mark.parametrize("offsets", [[1, 5], [0, 4], [0, 6], [0, 3, 2, 5], [0, 6, 5]])
def test_offsets_that_do_not_rise_from_zero_to_the_rows_are_refused(offsets: list[int]) -> None:
    with pytest.raises(DataError, match="offsets must rise from 0 to 5"):
        _table(offsets, 5)


def test_offsets_must_fit_the_names() -> None:
    good = _table([0, 5], 5)
    with pytest.raises(DataError, match="in 3 steps"):
        ClientTable(("a", "b"), good.offsets, good.features, good.labels, good.modes)


def test_labels_and_modes_must_fit_the_rows() -> None:
    with pytest.raises(DataError, match="must have 5 rows, got 4"):
        _table([0, 5], 5, num_labels=4)
    with pytest.raises(DataError, match="must have 5 rows"):
        _table([0, 5], 5, num_modes=1)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=6))
def test_only_and_pooled_keep_the_rows(sizes: list[int]) -> None:
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    rows = int(offsets[-1])
    features = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    labels = (np.arange(rows) % 3 == 0).astype(np.float32)
    names = tuple(f"plant {i}" for i in range(len(sizes)))
    table = ClientTable(names, offsets, features, labels, labels[:, None] > 0, ("worn",))
    parts = [table.only(client) for client in range(len(sizes))]
    assert [part.num_clients for part in parts] == [1] * len(sizes)
    assert [int(part.sizes[0]) for part in parts] == sizes == table.sizes.tolist()
    np.testing.assert_array_equal(np.concatenate([part.features for part in parts]), features)
    np.testing.assert_array_equal([int(part.labels.sum()) for part in parts], table.positives())
    assert table.pooled().sizes.tolist() == [rows]
    assert table.pooled().positives().tolist() == [int(labels.sum())]


def test_positives_are_exact_beyond_single_precision() -> None:
    rows = 2**24 + 3
    ones = np.ones(rows, np.float32)
    table = ClientTable(("a",), np.array([0, rows]), ones[:, None][:, :0], ones, np.empty((rows, 0), np.bool_))
    assert table.positives().tolist() == [rows]


def test_splits_must_name_the_same_clients(make_table: Any) -> None:
    two, three = make_table([2, 3]), make_table([2, 3, 4])
    with pytest.raises(DataError, match="same clients"):
        ClientSplits(two, two, three)


def test_splits_of_one_client_and_pooled(make_splits: Any) -> None:
    splits: ClientSplits = make_splits([4, 6])
    assert splits.only(1).train.sizes.tolist() == [6]
    assert splits.pooled().test.sizes.tolist() == [5]


def test_taking_clients_gives_their_rows_in_the_order_asked() -> None:
    offsets = np.array([0, 2, 2, 5, 6])
    features = np.arange(12, dtype=np.float32).reshape(6, 2)
    table = ClientTable(("a", "b", "c", "d"), offsets, features, features[:, 0] % 2, np.zeros((6, 0), np.bool_))
    taken = table.take(np.array([3, 1, 0]))
    assert taken.names == ("d", "b", "a")
    assert taken.sizes.tolist() == [1, 0, 2]
    np.testing.assert_array_equal(taken.features, features[[5, 0, 1]])
    np.testing.assert_array_equal(table.row_numbers(np.array([3, 1, 0])), [5, 0, 1])
