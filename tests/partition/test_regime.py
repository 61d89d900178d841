import itertools
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.errors import ConfigError, DataError
from werkbund.data import rules
from werkbund.data.ai4i import generated_table
from werkbund.data.schema import Column, Schema
from werkbund.data.table import Origin, Table
from werkbund.partition.assignment import Partition
from werkbund.partition.regime import regime


def _regime(values: Sequence[float | None], num_clients: int) -> Partition:
    frame = pl.DataFrame({"x": values, "y": [0] * len(values)}, schema={"x": pl.Float64, "y": pl.Int64})
    table = Table(frame, Schema("y", (Column("x", "number"),)), Origin("test"))
    return regime(table, num_clients, np.random.default_rng(0), column="x")


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.data())
def test_regimes_are_ordered_and_equal_values_stay_together(values: list[int], data: st.DataObject) -> None:
    distinct = len(set(values))
    partition = _regime([float(value) for value in values], data.draw(st.integers(1, distinct)))
    columns = np.array(values)
    ends = [(columns[partition.rows(c)].min(), columns[partition.rows(c)].max()) for c in range(partition.num_clients)]
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(ends))


@pytest.mark.parametrize("num_clients", [1, 3, 7, 100])
def test_different_values_are_divided_evenly(num_clients: int) -> None:
    values = np.random.default_rng(0).permutation(100).astype(float)
    sizes = _regime(values.tolist(), num_clients).sizes
    assert sizes.max() - sizes.min() <= 1


def test_cuts_lie_at_the_quantiles() -> None:
    table = generated_table(rows=10_000, plants=1, seed=0)
    partition = regime(table, 5, np.random.default_rng(0), column=rules.TORQUE)
    torque = table.frame[rules.TORQUE].to_numpy()
    highest = [torque[partition.rows(client)].max() for client in range(4)]
    np.testing.assert_allclose(highest, np.quantile(torque, [0.2, 0.4, 0.6, 0.8]), atol=0.1)


def test_a_derived_feature_divides_too() -> None:
    table = generated_table(rows=2000, plants=1, seed=0)
    partition = regime(table, 3, np.random.default_rng(0), column="overstrain")
    product = (table.frame[rules.WEAR] * table.frame[rules.TORQUE]).to_numpy()
    assert product[partition.rows(0)].max() < product[partition.rows(1)].min()
    assert product[partition.rows(1)].max() < product[partition.rows(2)].min()


def test_a_frequent_value_makes_sizes_uneven_but_none_empty() -> None:
    assert _regime([0.0] * 90 + [1.0, 2.0, 3.0], 4).sizes.tolist() == [90, 1, 1, 1]
    assert _regime([-2.0, -1.0] + [0.0] * 90, 3).sizes.tolist() == [1, 1, 90]


def test_a_missing_value_is_refused() -> None:
    with pytest.raises(DataError, match="2 of 4 are missing"):
        _regime([1.0, None, 2.0, float("nan")], 2)


def test_more_regimes_than_values_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"1\.\.2 \(number of different values of 'x'\), got 3"):
        _regime([1.0, 1.0, 2.0], 3)


def test_no_column_is_refused() -> None:
    with pytest.raises(ConfigError, match="regime needs a column"):
        regime(generated_table(rows=10, plants=1, seed=0), 2, np.random.default_rng(0))


@pytest.mark.parametrize("column", [rules.TYPE, "absent"])
def test_a_column_without_numbers_is_refused(column: str) -> None:
    with pytest.raises(DataError, match=column):
        regime(generated_table(rows=10, plants=1, seed=0), 2, np.random.default_rng(0), column=column)
