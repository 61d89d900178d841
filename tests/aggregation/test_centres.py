"""Geometric median, centred clipping and norm bounding: golden numbers, SciPy as an oracle, and what is bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize

from tests.aggregation.golden import TWO_OUTLIERS, moved_by
from werkbund.aggregation import CentredClipping, FedAvg, GeometricMedian, NormBounding
from werkbund.core import ConfigError
from werkbund.core.arrays import Float64Array
from werkbund.engine.lengths import LengthLimits, Lengths

CLAIMED = np.arange(10.0, 80.0, 10.0)
GAUSSIAN = st.integers(1, 9).flatmap(
    lambda n: arrays(np.float64, (n, 3), elements=st.floats(-5, 5, width=16), unique=True)
)


def _median(**options: Any) -> GeometricMedian:
    return GeometricMedian(momentum=0.0, **options)


def _clipping(**options: Any) -> CentredClipping:
    return CentredClipping(momentum=0.0, **options)


def test_the_converged_median_is_the_golden_one() -> None:
    np.testing.assert_allclose(moved_by(_median(), TWO_OUTLIERS), (1.132508, 1.926377, 3.042069), atol=1e-6)


@pytest.mark.parametrize(
    ("passes", "golden"),
    [
        (1, (2.163351, 0.981330, 2.678248)),
        (3, (1.236151, 1.809786, 2.972846)),
        (4, (1.153159, 1.898013, 3.024181)),
        (8, (1.135768, 1.925046, 3.044223)),
    ],
)
def test_passes_of_weiszfeld_are_the_golden_ones(passes: int, golden: tuple[float, ...]) -> None:
    np.testing.assert_allclose(moved_by(_median(passes=passes), TWO_OUTLIERS), golden, atol=1e-6)


def test_by_rows_it_is_the_golden_one() -> None:
    rule = _median(weighting="examples", hostile=0)
    np.testing.assert_allclose(moved_by(rule, TWO_OUTLIERS, CLAIMED), (1.317537, 1.698556, 2.952753), atol=2e-6)
    np.testing.assert_allclose(moved_by(rule, TWO_OUTLIERS, np.arange(7.0, 0.0, -1.0)), (1, 2, 3), atol=2e-6)


@settings(max_examples=30)
@given(GAUSSIAN)
def test_no_point_has_a_smaller_sum_of_distances(rows: Float64Array) -> None:
    def total(point: Float64Array) -> float:
        return float(np.linalg.norm(rows - point, axis=1).sum())

    own = total(moved_by(_median(), rows))
    found = minimize(total, rows.mean(axis=0), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9})
    assert own <= min(float(found.fun), min(map(total, rows))) + 1e-4 * (1 + own)


def test_far_outliers_are_forgotten_by_the_converged_median_and_not_by_four_passes() -> None:
    rows = TWO_OUTLIERS.copy()
    rows[5:] *= 1e6
    converged, few = moved_by(_median(), rows), moved_by(_median(passes=4), rows)
    assert np.linalg.norm(converged - rows[:5].mean(axis=0)) < 1.0
    assert np.linalg.norm(few - rows[:5].mean(axis=0)) > 100.0


def test_half_of_the_weight_must_be_honest() -> None:
    heavy = np.array([1.0, 1, 1, 1, 1, 1, 6])
    with pytest.raises(ConfigError, match="less than half of the weight, got hostile = 1, and the 1 heaviest of 7"):
        moved_by(_median(weighting="examples", hostile=1), TWO_OUTLIERS, heavy)
    equal = moved_by(_median(hostile=1), TWO_OUTLIERS)
    np.testing.assert_allclose(moved_by(_median(hostile=1), TWO_OUTLIERS, heavy), equal, rtol=1e-6)


@pytest.mark.parametrize(
    ("radius", "passes", "golden"),
    [
        (1.0, 1, (0.432583, 0.239706, 0.585027)),
        (1.0, 3, (1.088175, 0.784929, 1.681251)),
        (5.0, 1, (1.937817, 0.728887, 2.222898)),
        (5.0, 3, (2.422764, 0.742483, 2.586368)),
        (100.0, 1, (3.421429, -0.128571, 2.3)),
    ],
)
def test_centred_clipping_is_the_golden_one(radius: float, passes: int, golden: tuple[float, ...]) -> None:
    np.testing.assert_allclose(moved_by(_clipping(radius=radius, passes=passes), TWO_OUTLIERS), golden, atol=1e-6)


def test_the_centre_goes_on_to_the_next_round() -> None:
    rule, zero = _clipping(radius=1.0), np.zeros(3, np.float32)
    centre = np.array([1, 2, 3], np.float32)
    golden = (1.201383, 1.829994, 2.953067)
    np.testing.assert_allclose(moved_by(rule, TWO_OUTLIERS, carry={"centre": centre}), golden, atol=1e-6)
    rows = TWO_OUTLIERS.astype(np.float32)
    moved, carry = rule.finish(rule.fold(rule.begin(3), {"update": rows}, np.ones(7)), zero, rule.init(3))
    np.testing.assert_array_equal(carry["centre"], moved)


def test_an_update_in_the_centre_pulls_nowhere() -> None:
    centre = np.array([1, 2, 3], np.float32)
    moved = moved_by(_clipping(radius=1.0), np.tile(centre.astype(np.float64), (3, 1)), carry={"centre": centre})
    np.testing.assert_array_equal(moved, centre)


def test_the_radius_left_out_is_the_middle_way() -> None:
    middle = float(np.median(np.linalg.norm(TWO_OUTLIERS, axis=1)))
    expected = moved_by(_clipping(radius=middle), TWO_OUTLIERS)
    np.testing.assert_allclose(moved_by(_clipping(), TWO_OUTLIERS), expected, atol=1e-6)


def test_norm_bounding_is_the_golden_one_and_a_wide_bound_the_mean() -> None:
    bounded = moved_by(NormBounding(momentum=0.0), TWO_OUTLIERS)
    np.testing.assert_allclose(bounded, (1.641094, 0.880673, 2.183588), atol=1e-6)
    wide = moved_by(NormBounding(momentum=0.0, times=1e6), TWO_OUTLIERS)
    np.testing.assert_allclose(wide, TWO_OUTLIERS.mean(axis=0), rtol=1e-6)


def test_a_fixed_bound_under_the_equal_mean_is_the_golden_one() -> None:
    """`strategy.aggregation.clip_norm` is norm bounding with a bound of one's own, under any rule."""
    lengths = Lengths(LengthLimits(clip_norm=4.0))
    rows = TWO_OUTLIERS.astype(np.float32)
    clipped = lengths.measured(np.arange(7), {"update": rows}, np.ones(7))["update"].astype(np.float64)
    moved = moved_by(FedAvg(weighting="equal", momentum=0.0), clipped)
    np.testing.assert_allclose(moved, (1.690189, 0.868953, 2.205525), atol=1e-6)


@given(st.integers(1, 3), st.floats(1.0, 1e6), st.integers(0, 99))
def test_hostile_clients_pull_by_no_more_than_their_share_of_the_bound(hostile: int, size: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(7, 4))
    honest = rows.copy()
    rows[7 - hostile :] *= size
    honest[7 - hostile :] = 0.0
    radius = 2.0
    pull = np.linalg.norm(moved_by(_clipping(radius=radius), rows) - moved_by(_clipping(radius=radius), honest))
    assert pull <= radius * hostile / 7 + 1e-5
    bound = float(np.median(np.linalg.norm(rows, axis=1)))
    shortened = honest * np.minimum(1, bound / np.maximum(np.linalg.norm(honest, axis=1, keepdims=True), 1e-9))
    pull = np.linalg.norm(moved_by(NormBounding(momentum=0.0), rows) - shortened.mean(axis=0))
    assert pull <= bound * hostile / 7 + 1e-5
