import numpy as np
import polars as pl
import pytest

from werkbund.core.errors import ConfigError, DataError
from werkbund.data.schema import Column, Schema
from werkbund.data.table import Origin, Table
from werkbund.partition.column import by_column

RNG = np.random.default_rng(0)


def _table(sites: list[object], client: str | None = "site") -> Table:
    frame = pl.DataFrame({"x": np.arange(float(len(sites))), "y": [0] * len(sites), "site": sites})
    return Table(frame, Schema("y", (Column("x", "number"),), client=client), Origin("test"))


def test_clients_are_the_values_in_order_of_appearance() -> None:
    partition = by_column(_table(["ulm", "bonn", "ulm", "aach", "bonn"]), 3, RNG)
    assert partition.names == ("ulm", "bonn", "aach")
    assert partition.assignment.tolist() == [0, 1, 0, 2, 1]


def test_zero_clients_means_as_many_as_there_are() -> None:
    assert by_column(_table([7, 7, 3]), 0, RNG).names == ("7", "3")


def test_another_number_of_clients_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"number of clients must be 2 .* got 5; leave clients\.count out"):
        by_column(_table([7, 7, 3]), 5, RNG)


def test_another_column_may_be_named() -> None:
    assert by_column(_table(["a", "b"], client=None), 0, RNG, column="site").names == ("a", "b")


def test_no_column_is_refused() -> None:
    with pytest.raises(ConfigError, match="by-column needs a column"):
        by_column(_table(["a", "b"], client=None), 0, RNG)


def test_an_absent_column_is_refused() -> None:
    with pytest.raises(DataError, match="sites"):
        by_column(_table(["a", "b"]), 0, RNG, column="sites")


def test_a_row_without_a_site_is_refused() -> None:
    with pytest.raises(DataError, match="1 of 3 are missing"):
        by_column(_table(["a", None, "b"]), 0, RNG)
