import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.errors import ConfigError, DataError
from werkbund.partition.assignment import (
    Partition,
    apportion,
    check_choice,
    check_positive,
    client_names,
    deal,
    even_sizes,
)


def _partition(assignment: list[int], names: tuple[str, ...] = ("a", "b", "c")) -> Partition:
    return Partition("test", names, np.array(assignment, dtype=np.int64))


def test_rows_of_each_client_are_in_the_tables_order_and_unused_ones_left_out() -> None:
    partition = _partition([2, 0, -1, 2, 1, 0, -1])
    assert [partition.rows(client).tolist() for client in range(3)] == [[1, 5], [4], [0, 3]]
    assert partition.order.tolist() == [1, 5, 4, 0, 3]
    assert partition.offsets.tolist() == [0, 2, 3, 5]
    assert partition.sizes.tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("assignment", "names", "message"),
    [
        ([0, 1, 3], ("a", "b", "c"), r"assignment must lie in -1\.\.2, got 0\.\.3"),
        ([0, 1, -2], ("a", "b"), r"got -2\.\.1"),
        ([0, 0, 2], ("a", "b", "c"), "'b' has none"),
        ([0, 1], ("a", "a"), "different names"),
        ([], (), "different names"),
        ([-1, -1], ("a",), "'a' has none"),
    ],
)
def test_an_invalid_partition_cannot_exist(assignment: list[int], names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _partition(assignment, names)


def test_an_assignment_of_another_type_is_refused() -> None:
    with pytest.raises(DataError, match=r"must be \(rows,\) int64"):
        Partition("test", ("a",), np.zeros(2, dtype=np.int32))


def test_names_sort_like_their_numbers() -> None:
    names = client_names(120)
    assert list(names) == sorted(names)
    assert len(set(names)) == 120


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=30), st.integers(0, 1000))
def test_apportioned_rows_add_up_and_follow_the_shares(shares: list[float], spare: int) -> None:
    drawn = np.array(shares) + 1e-9
    rows = len(shares) + spare
    sizes = apportion(rows, drawn)
    assert sizes.sum() == rows
    assert sizes.min() >= 1
    assert (np.abs(sizes - 1 - drawn / drawn.sum() * spare) < 1 + 1e-6).all()


@given(st.integers(1, 20), st.integers(0, 100))
def test_even_sizes_differ_by_at_most_one(num_clients: int, num_items: int) -> None:
    sizes = even_sizes(num_items, num_clients)
    assert sizes.sum() == num_items
    assert sizes.max() - sizes.min() <= 1


def test_rows_are_dealt_in_their_order() -> None:
    assert deal(np.array([3, 1, 0, 2]), np.array([1, 3])).tolist() == [1, 1, 1, 0]


def test_an_option_outside_its_words_is_refused() -> None:
    with pytest.raises(ConfigError, match="law must be one of power, dirichlet, got 'zipf'"):
        check_choice("law", "zipf", ("power", "dirichlet"))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_an_option_that_is_not_above_zero_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="alpha must be a finite number above 0"):
        check_positive("alpha", value)
