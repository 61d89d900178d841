from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from werkbund.core import ConfigError
from werkbund.trees.arithmetic import Cells, keys_of
from werkbund.trees.arithmetic.keys import count_keys, numbers_of, ordered_keys

NUMBERS = st.floats(allow_nan=False, allow_infinity=True)


def _settled(parts: list[np.ndarray], withheld: int = 0, **how: float) -> tuple[Cells, int]:
    """Ask as long as something is wanted; each part answers for itself, with 0 where it has fewer rows than so many."""
    ordered = [np.sort(keys_of(part)) for part in parts]
    cells, questions = Cells.whole(**how), 0  # type: ignore[arg-type]
    while not cells.settled:
        lows, highs = cells.lows[cells.asked], cells.highs[cells.asked]
        counts = np.array([count_keys(keys, lows, highs) for keys in ordered])
        cells = cells.refined(np.where(counts < withheld, 0, counts).sum(axis=0))
        questions += 1
        assert questions < 70
    return cells, questions


@given(st.lists(NUMBERS, min_size=1, max_size=30))
def test_keys_keep_order_and_lead_back(numbers: list[float]) -> None:
    x = np.sort(np.array(numbers) + 0.0)
    keys = keys_of(x)
    assert ((x[1:] > x[:-1]) == (keys[1:] > keys[:-1])).all()
    assert (keys[1:] >= keys[:-1]).all()
    assert (numbers_of(keys) == x).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(), max_size=300), st.integers(1, 3))
def test_ordered_keys_are_those_of_each_columns_numbers(numbers: list[float], columns: int) -> None:
    x = np.resize(np.array(numbers, np.float64), (len(numbers) // columns, columns))
    for own, found in zip(x.T, ordered_keys(x), strict=True):
        assert np.array_equal(found, np.sort(keys_of(own[~np.isnan(own)])))


@settings(max_examples=40, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=60), st.integers(0, 60))
def test_few_values_become_one_bin_each(numbers: list[float], cut: int) -> None:
    x = np.array(numbers)
    cells, _ = _settled([x[:cut], x[cut:]])
    values = np.unique(x + 0.0)
    assert cells.exact
    assert (numbers_of(cells.lows) == values).all()
    edges = cells.edges()
    assert len(edges) == len(values) - 1
    assert ((values[:-1] <= edges) & (edges < values[1:])).all()


def test_an_edge_lies_half_way_between_two_values() -> None:
    cells, _ = _settled([np.array([1.0, 1.0, 2.0, 5.0])])
    assert cells.edges().tolist() == [1.5, 3.5]


@pytest.mark.parametrize("seed", range(3))
def test_edges_do_not_depend_on_how_rows_are_divided(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.exp(rng.normal(size=3000) * 3)
    one, _ = _settled([x])
    many, _ = _settled(np.split(rng.permutation(x), np.sort(rng.integers(0, 3000, 9))))
    assert np.array_equal(one.edges(), many.edges())
    assert len(one.edges()) == 254


@pytest.mark.parametrize("error", [1 / 64, 1 / 512, 1 / 4096])
def test_many_values_are_cut_into_bins_of_about_as_many_rows(error: float) -> None:
    x = np.random.default_rng(1).normal(size=20_000)
    cells, _ = _settled([x], num_bins=16, rank_error=error)
    rows = np.bincount(np.searchsorted(cells.edges(), x, side="left"), minlength=16)
    assert len(rows) == 16
    assert rows.max() <= 20_000 * (1 / 16 + error) + 1


@pytest.mark.parametrize("scale", [0.01, 1.0])
def test_halves_keep_edges_where_small_counts_are_withheld(scale: float) -> None:
    parts = np.split(300 + scale * np.random.default_rng(1).normal(size=6000), 10)
    at_once, _ = _settled(parts, 5)
    halved, _ = _settled(parts, 5, least=100, most_parts=2)
    everything = np.sort(np.concatenate(parts))
    rows = np.diff(np.searchsorted(everything, [-np.inf, *halved.edges(), np.inf]))
    assert len(at_once.edges()) < 20 < 50 < len(halved.edges())
    assert rows.max() < 2 * 100 + 50


def test_halves_lead_to_the_same_single_values() -> None:
    x = np.random.default_rng(3).integers(0, 40, 500).astype(float)
    assert np.array_equal(_settled([x])[0].edges(), _settled([x], most_parts=2)[0].edges())


def test_two_values_with_more_rows_than_a_bin_never_share_one() -> None:
    x = np.concatenate([np.zeros(4500), np.full(4500, 1e-9), np.random.default_rng(2).normal(size=1000)])
    cells, _ = _settled([x], num_bins=32, rank_error=1 / 1000)
    rows = np.sort(np.bincount(np.searchsorted(cells.edges(), x, side="left"), minlength=32))
    assert (rows[-2:] >= 4500).all()
    assert rows[-1] - 4500 + rows[-2] - 4500 <= 2 * 1000 / 30 + 2 * 10
    assert rows[-3] < 100


def test_few_rows_are_not_looked_into() -> None:
    x = np.concatenate([np.full(50, 1.25), [1e6 + 0.5, 1e6 + 0.75]])
    cells, _ = _settled([x], least=5)
    assert cells.counts.tolist() == [50, 2]
    assert (cells.lows == cells.highs).tolist() == [True, False]


def test_nobody_has_a_value() -> None:
    cells, questions = _settled([np.empty(0)])
    assert questions == 1
    assert len(cells.edges()) == 0


@pytest.mark.parametrize(
    "how", [{"num_bins": 1}, {"num_bins": 256}, {"rank_error": 0.0}, {"least": 0}, {"most_parts": 1}]
)
def test_parameters_out_of_range_raise(how: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Cells.whole(**how)  # type: ignore[arg-type]
