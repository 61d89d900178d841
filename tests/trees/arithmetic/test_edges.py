from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from werkbund.core import ConfigError, DataError
from werkbund.core.defaults import MOST_BINS
from werkbund.trees.arithmetic import BinEdges, even_edges

NUMBERS = st.floats(allow_nan=False, allow_infinity=True)


@settings(deadline=None)  # the first example compiles
@given(st.lists(NUMBERS, unique=True, max_size=254), st.lists(NUMBERS, max_size=40))
def test_a_number_is_in_bin_b_or_below_exactly_if_it_does_not_exceed_edge_b(edges: list[float], x: list[float]) -> None:
    own = np.unique(np.array(edges, np.float64) + 0.0)
    agreed = BinEdges.build([own])
    codes = agreed.encode(np.array(x).reshape(-1, 1))[:, 0]
    for b, edge in enumerate(own.tolist()):
        assert ((codes <= b) == (np.array(x) <= edge)).all()


def test_missing_values_have_the_last_cell() -> None:
    agreed = BinEdges.build([[1.0], []], [0, 3])
    codes = agreed.encode(np.array([[np.nan, np.nan], [1.0, 2.0], [1.5, 0.0]]))
    assert codes.tolist() == [[2, 3], [0, 2], [1, 0]]
    assert agreed.sizes.tolist() == [3, 4]


@pytest.mark.parametrize("value", [-1.0, 0.5, 3.0, 1e300, np.inf, -np.inf, np.nan])
def test_what_is_no_level_counts_as_missing(value: float) -> None:
    assert BinEdges.build([[]], [3]).encode(np.array([[value]]))[0, 0] == 3


def test_a_code_does_not_depend_on_the_rows_beside_it() -> None:
    x = np.random.default_rng(0).normal(size=(1537, 3))
    agreed = BinEdges.build([np.sort(x[:200, f]) for f in range(3)])
    alone = np.concatenate([agreed.encode(row[None]) for row in x])
    assert (agreed.encode(x) == alone).all()


def test_a_feature_has_at_most_255_bins() -> None:
    assert BinEdges.build([np.arange(MOST_BINS - 1.0)]).sizes[0] == 256
    with pytest.raises(ConfigError, match="at most 255 bins"):
        BinEdges.build([np.arange(MOST_BINS)])
    with pytest.raises(ConfigError, match="at most 255 bins"):
        BinEdges.build([[]], [256])


@pytest.mark.parametrize("edges", [[1.0, 1.0], [2.0, 1.0], [np.nan]])
def test_edges_that_do_not_rise_raise(edges: list[float]) -> None:
    with pytest.raises(ConfigError, match="rise strictly"):
        BinEdges.build([edges])


def test_rows_of_another_width_raise() -> None:
    with pytest.raises(DataError, match="must have 1 features"):
        BinEdges.build([[1.0]]).encode(np.zeros((2, 2)))


def test_a_threshold_is_the_edge_and_infinite_behind_the_last_bin() -> None:
    agreed = BinEdges.build([[1.0, 4.0]])
    assert [agreed.threshold(0, b) for b in range(3)] == [1.0, 4.0, np.inf]


def test_arrays_keep_everything() -> None:
    agreed = BinEdges.build([[0.1, 0.3], []], [0, 5])
    again = BinEdges.from_arrays(agreed.to_arrays())
    assert all(
        np.array_equal(a, b) for a, b in zip(agreed.to_arrays().values(), again.to_arrays().values(), strict=True)
    )


@pytest.mark.parametrize(("low", "high", "bins"), [(1.0, 1.0, 4), (0.0, np.inf, 4), (0.0, 1.0, 0), (0.0, 1.0, 256)])
def test_a_range_that_cannot_be_cut_raises(low: float, high: float, bins: int) -> None:
    with pytest.raises(ConfigError):
        even_edges(low, high, bins)
