"""The rank error of agreed bins, computed from the raw values with numpy, which knows nothing of cells and cuts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trees.protocol.treefed import TreeFederation, divided
from werkbund.core.arrays import Float64Array
from werkbund.core.defaults import MOST_BINS, RANK_ERROR
from werkbund.trees.arithmetic import TreePlan

PLAN = TreePlan.boosting(1)


def rank_error(values: Float64Array, edges: Float64Array) -> int:
    """Return the most rows between any threshold and the nearest edge; all values below or above are an edge too."""
    ordered = np.sort(values)
    thresholds = np.concatenate(([0], np.flatnonzero(np.diff(ordered) > 0) + 1, [len(ordered)]))  # as rows below
    at = np.concatenate(([0], np.searchsorted(ordered, edges, "right"), [len(ordered)]))
    return int(np.abs(thresholds[:, None] - at).min(axis=1).max())


def heaviest(values: Float64Array) -> int:
    """Return the rows of the value that most rows have."""
    return int(np.unique(values, return_counts=True)[1].max())


def bound(values: Float64Array, num_bins: int, share: float, least: int = 1) -> float:
    """Return what docs/trees.md promises, in rows; where intervals of fewer rows than `least` are not looked into."""
    n = len(values)
    share = max(share, least / n)
    most = max(heaviest(values), share * n, 1.0)
    return min(max(n / num_bins, share * n / 2), n / (2 * num_bins) + most / 2)


@st.composite
def readings(draw: Any) -> Float64Array:
    """Draw a reading: some heavy values, light ones in between or far off, ties, rounding, missing values."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        n, scale = draw(st.integers(1, 400)), draw(st.sampled_from([1e-3, 1.0, 50.0, 1e6]))
        kind = draw(st.sampled_from(["constant", "whole", "halves", "smooth", "skew", "tenths"]))
        own = {
            "constant": np.full(n, rng.normal() * scale),
            "whole": rng.integers(0, draw(st.integers(1, 300)), n).astype(float),
            "halves": rng.integers(0, 300, n) + np.where(rng.random(n) < 0.1, 0.5, 0.0),
            "smooth": rng.normal(size=n) * scale,
            "skew": np.exp(3 * rng.normal(size=n)) * scale,
            "tenths": np.round(rng.normal(size=n) * 20, 1),
        }
        parts.append(own[kind])
    values = np.concatenate(parts)
    values[rng.random(len(values)) < draw(st.sampled_from([0.0, 0.2]))] = np.nan
    return rng.permutation(values)


def _edges(values: Float64Array, clients: int, **binning: Any) -> Float64Array:
    owner = np.random.default_rng(0).integers(0, clients, len(values))
    table = divided(values[:, None], np.arange(len(values)) % 2, owner, clients)
    agreed = TreeFederation.of(table).agree(PLAN, "logistic", levels=(0,), binning=binning)
    return np.asarray(agreed.terms.edges.of(0))


@settings(max_examples=60, deadline=None)
@given(readings(), st.sampled_from([2, 3, 8, 16, 31, 255]), st.sampled_from([0.0005, 0.01, 0.2]), st.integers(1, 7))
def test_the_rank_error_is_within_the_documented_bound(
    values: Float64Array, num_bins: int, share: float, clients: int
) -> None:
    present = values[~np.isnan(values)]
    edges = _edges(values, clients, num_bins=num_bins, rank_error=share)
    assert len(edges) < num_bins
    if not len(present):
        assert not len(edges)
    elif len(np.unique(present)) <= num_bins:
        assert rank_error(present, edges) == 0
    else:
        assert rank_error(present, edges) <= bound(present, num_bins, share)


@settings(max_examples=20, deadline=None)
@given(readings(), st.sampled_from([3, 16, 255]), st.sampled_from([5, 40]))
def test_the_bound_holds_where_few_rows_are_not_looked_into(values: Float64Array, num_bins: int, least: int) -> None:
    present = values[~np.isnan(values)]
    if len(present):
        edges = _edges(values, 3, num_bins=num_bins, least=least, most_parts=2)
        assert rank_error(present, edges) <= bound(present, num_bins, RANK_ERROR, least)


@pytest.mark.parametrize("share", [0.02, 0.05, 0.3])
@pytest.mark.parametrize("clients", [1, 3])
def test_light_values_between_heavy_ones_leave_no_part_of_the_range_without_edges(share: float, clients: int) -> None:
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 150, 12_000).astype(float)
    values = np.where(rng.random(12_000) < share, whole + 0.5, whole)
    edges = _edges(values, clients)
    light = np.unique(values, return_counts=True)[1][1::2].max()
    assert rank_error(values, edges) <= light
    for low in range(0, 150, 10):  # as many edges in every part
        assert ((edges >= low) & (edges < low + 10)).sum() >= 9


def test_a_reading_without_ties_has_half_a_bin_of_rank_error() -> None:
    values = np.random.default_rng(1).normal(size=20_000)
    assert rank_error(values, _edges(values, 4)) <= 20_000 * (1 / (2 * MOST_BINS) + RANK_ERROR / 2)
