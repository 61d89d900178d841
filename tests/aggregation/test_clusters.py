from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from werkbund.aggregation.clusters import CFL, CLUSTERINGS, IFCA, bipartition, build_clustering, cosines
from werkbund.core.arrays import Float64Array
from werkbund.core.errors import ConfigError

BLOCKS = {"01": 0.9, "02": 0.8, "12": 0.85, "03": 0.1, "04": -0.2, "13": 0.2, "14": -0.1, "23": 0.3, "24": 0, "34": 0.7}
DIFFERENT = {
    **{"01": -0.4, "02": -0.2, "03": 0.3, "04": -0.3, "12": -0.5},
    **{"13": 0.5, "14": 0.1, "23": -0.8, "24": 0.4, "34": 0},
}
"""Where complete linkage finds other groups than the best."""


def _matrix(pairs: dict[str, float]) -> Float64Array:
    similarities = np.eye(5)
    for pair, value in pairs.items():
        i, j = map(int, pair)
        similarities[i, j] = similarities[j, i] = value
    return similarities


def _across(similarities: Float64Array, second: tuple[int, ...]) -> float:
    first = [i for i in range(len(similarities)) if i not in second]
    return float(similarities[np.ix_(first, list(second))].max())


def _best(similarities: Float64Array) -> float:
    """Return the least largest similarity across, over all bipartitions."""
    rest = range(1, len(similarities))
    groups = [group for size in rest for group in itertools.combinations(rest, size)]
    return min(_across(similarities, group) for group in groups)


@pytest.mark.parametrize(
    ("pairs", "second", "across"), [(BLOCKS, [3, 4], 0.3), (DIFFERENT, [2, 4], 0.1)], ids=["blocks", "different"]
)
def test_golden_bipartitions(pairs: dict[str, float], second: list[int], across: float) -> None:
    found = bipartition(_matrix(pairs))
    assert np.flatnonzero(found.second).tolist() == second
    assert found.across == pytest.approx(across) == _best(_matrix(pairs))


def test_complete_linkage_misses_the_best_groups() -> None:
    """The authors' code does that; SciPy agrees with the golden numbers of both."""
    distances = squareform(1 - _matrix(DIFFERENT), checks=False)
    groups = fcluster(linkage(distances, "complete"), 2, "maxclust")
    second = tuple(np.flatnonzero(groups != groups[0]).tolist())
    assert second == (1, 3)
    assert _across(_matrix(DIFFERENT), second) == pytest.approx(0.3)


@given(st.integers(2, 7), st.integers(0, 2**32 - 1), st.booleans())
def test_no_bipartition_is_better(num_members: int, seed: int, has_ties: bool) -> None:
    drawn = np.random.default_rng(seed).uniform(-1, 1, (num_members, num_members))
    similarities = np.round(drawn, 1) if has_ties else drawn
    similarities = np.triu(similarities, 1) + np.triu(similarities, 1).T
    found = bipartition(similarities)
    assert found.across == _best(similarities)
    assert _across(similarities, tuple(np.flatnonzero(found.second).tolist())) == found.across
    assert not found.second[0]
    assert found.second.any()


def test_cosines_of_rows_of_zeros_are_zero() -> None:
    rows = np.array([[3, 4], [0, 0], [-6, -8], [4, -3]], np.float32)
    assert cosines(rows) == pytest.approx(np.array([[1, 0, -1, 0], [0, 0, 0, 0], [-1, 0, 1, 0], [0, 0, 0, 1]]))


ROWS = np.array([[1, 0.1], [0.9, -0.1], [-1, 0.1], [-0.8, 0]], np.float32)
"""Two kinds of members, whose mean is short."""


@pytest.mark.parametrize(
    ("method", "round", "rows", "parts"),
    [
        (CFL(), 11, ROWS, True),
        (CFL(), 10, ROWS, False),  # within the warm-up
        (CFL(warm_up=9), 10, ROWS, True),
        (CFL(converged=0.01), 11, ROWS, False),  # the mean update is longer
        (CFL(moving=1.5), 11, ROWS, False),  # no member's update is as long
        (CFL(), 11, ROWS[[0, 2]], False),  # two are not split
        (CFL(moving=0.1, converged=2.0), 11, np.abs(ROWS), False),  # all point in one direction
        (CFL(moving=0.1, converged=2.0, noise=0.0), 11, np.abs(ROWS), True),
    ],
)
def test_when_a_cluster_is_split(method: CFL, round: int, rows: Float64Array, parts: bool) -> None:
    found = method.parted(round, rows.astype(np.float32), np.ones(len(rows)), 1.0)
    assert (found is not None) == parts
    if rows is ROWS and found is not None:
        assert found.tolist() == [False, False, True, True]


def test_a_member_without_weight_is_no_part_of_the_mean() -> None:
    """Else its update would shorten it."""
    assert CFL().parted(11, ROWS, np.array([1.0, 1.0, 0.0, 0.0]), 1.0) is None
    assert CFL().parted(11, ROWS, np.zeros(4), 1.0) is None


def test_methods_by_name() -> None:
    assert {name: build_clustering(name, {}) for name in CLUSTERINGS} == {"ifca": IFCA(), "cfl": CFL()}
    assert build_clustering("none", {}) is None
    assert build_clustering("ifca", {"count": 3}) == IFCA(3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ifca", {"count": 0}, "strategy.clusters.count must be in"),
        ("ifca", {"moving": 1.0}, "takes no option moving"),
        ("cfl", {"converged": 0.0}, "strategy.clusters.converged must be > 0"),
        ("none", {"count": 2}, "takes no option count"),
        ("kmeans", {}, "must be one of ifca, cfl"),
    ],
)
def test_refused_options(name: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_clustering(name, options)
