"""An update that is no update is not folded, in whatever order answers come; long ones are told of, and clipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.aggregation import FedAvg
from werkbund.core.arrays import Float32Array, Float64Array
from werkbund.engine.folding import OrderedFold
from werkbund.engine.lengths import OUTLYING, USELESS, LengthLimits, Lengths, lengths_of, unusable_result

COHORT = np.array([1, 4, 5, 8, 9])
WEIGHTS = np.array([10.0, 200.0, 35.0, 7.0, 90.0])
HONEST = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)


def _folded(
    updates: Float32Array,
    order: list[int],
    weights: Float64Array = WEIGHTS,
    limits: LengthLimits | None = None,
    group: int = 1,
) -> tuple[OrderedFold, Any, Lengths]:
    lengths = Lengths(limits or LengthLimits())
    fold = OrderedFold(FedAvg(), COHORT, updates.shape[1], lengths=lengths)
    weighted = updates * weights[:, None].astype(np.float32)
    for start in range(0, len(order), group):
        places = sorted(order[start : start + group])
        fold.add(COHORT[places], {"update": weighted[places]}, weights[places])
    return fold, fold.close(), lengths


LIE = st.floats(1.0, 1e38) | st.just(np.inf) | st.just(float("nan"))


@given(st.permutations(range(5)), st.integers(1, 5), st.integers(0, 4), LIE, st.sampled_from([0.0, 0.1, 1.0, 50.0]))
def test_a_liar_is_left_out_or_bounded_whatever_the_order_and_the_grouping(
    order: list[int], group: int, liar: int, factor: float, usual: float
) -> None:
    updates = HONEST.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        updates[liar] *= np.float32(factor)
        limits = LengthLimits(usual={"update": usual} if usual else {})
        fold, sums, lengths = _folded(updates, order, limits=limits, group=group)
        again, other, _ = _folded(updates, [0, 1, 2, 3, 4], limits=limits, group=5)
    assert fold.useless == again.useless
    np.testing.assert_array_equal(sums.arrays["update"], other.arrays["update"])
    assert np.isfinite(sums.arrays["update"]).all()
    assert set(fold.useless) <= {int(COHORT[liar])}
    if not fold.useless:
        middle = float(np.median(list(lengths.known["update"].values())))
        assert lengths.known["update"][int(COHORT[liar])] <= USELESS * max(middle, usual)
    else:
        rest = [place for place in range(5) if place != liar]
        absent = OrderedFold(FedAvg(), COHORT, 6)
        weighted = HONEST * WEIGHTS[:, None].astype(np.float32)
        absent.add(COHORT[rest], {"update": weighted[rest]}, WEIGHTS[rest])
        np.testing.assert_array_equal(absent.close().arrays["update"], sums.arrays["update"])
        assert fold.weight == absent.weight


def test_one_entry_at_the_edge_of_float32_is_no_update() -> None:
    updates = HONEST.copy()
    updates[2, 3] = 3e37
    with np.errstate(over="ignore"):
        fold, sums, _ = _folded(updates, [4, 3, 2, 1, 0], np.full(5, 2.0))
    assert list(fold.useless) == [5]
    assert "its update is inf long for each unit of its weight" in fold.useless[5]
    assert np.isfinite(sums.arrays["update"]).all()


def test_an_update_without_a_weight_is_none_and_no_update_without_one_is_fine() -> None:
    weights = np.array([10.0, 0.0, 35.0, 0.0, 90.0])
    weighted = HONEST * weights[:, None].astype(np.float32)
    weighted[3] = 1e-3
    fold = OrderedFold(FedAvg(), COHORT, 6, lengths=Lengths(LengthLimits()))
    fold.add(COHORT, {"update": weighted}, weights)
    fold.close()
    assert list(fold.useless) == [8]


def test_where_all_take_long_steps_nobody_is_blamed() -> None:
    fold, _, lengths = _folded(HONEST * np.float32(1e7), [3, 1, 0, 4, 2], limits=LengthLimits(usual={"update": 1e-3}))
    assert fold.useless == {}
    assert lengths.outlying == ()


def test_a_step_that_is_no_longer_than_the_weights_is_neither_useless_nor_told_of() -> None:
    updates = HONEST * np.array([1e-6, 1e-6, 1e-6, 1e-6, 1], np.float32)[:, None]
    fold, _, lengths = _folded(updates, [0, 1, 2, 3, 4], limits=LengthLimits(weights_norm=10.0))
    assert fold.useless == {}
    assert lengths.outlying == ()


def test_of_two_one_is_useless_only_if_it_is_absurd_by_itself() -> None:
    for factor, found in ((100.0, []), (1e6, [4])):
        fold = OrderedFold(FedAvg(), COHORT[:2], 6, lengths=Lengths(LengthLimits(weights_norm=3.0)))
        fold.add(COHORT[:2], {"update": HONEST[:2] * np.array([[1], [factor]], np.float32)}, np.ones(2))
        fold.close()
        assert list(fold.useless) == found


@given(st.floats(0.01, 1e6))
def test_long_updates_are_told_of(factor: float) -> None:
    updates = HONEST.copy()
    updates[1] *= np.float32(factor)
    _, _, lengths = _folded(updates, [0, 1, 2, 3, 4])
    raw = lengths_of(updates)
    told = dict(lengths.outlying)
    assert list(told) == ([4] if raw[1] > max(OUTLYING * np.median(raw), 1.0) else [])
    assert told.get(4, float(raw[1])) == pytest.approx(float(raw[1]), rel=1e-5)
    assert lengths.usual["update"] == pytest.approx(float(np.median(raw)), rel=1e-5)


@given(st.floats(1e-3, 1e3), st.integers(0, 4), st.floats(1.0, 1e15))
def test_clipped_updates_are_no_longer_than_the_bound_and_others_are_not_touched(
    clip: float, liar: int, factor: float
) -> None:
    updates = HONEST.copy()
    updates[liar] *= np.float32(factor)
    weighted = updates * WEIGHTS[:, None].astype(np.float32)
    lengths = Lengths(LengthLimits(clip_norm=clip))
    came = lengths.measured(COHORT, {"update": weighted}, WEIGHTS)["update"]
    long = lengths_of(updates) > clip
    assert (lengths_of(came) / WEIGHTS <= clip * (1 + 1e-5))[long].all()
    np.testing.assert_array_equal(came[~long], weighted[~long])
    assert set(lengths.clipped) == set(COHORT[lengths_of(weighted) / WEIGHTS > clip].tolist())
    directions = (came * weighted).sum(axis=1) / np.maximum(lengths_of(came) * lengths_of(weighted), 1e-30)
    np.testing.assert_allclose(directions, 1, rtol=1e-4)


def test_off_or_not_needed_clipping_does_not_touch_a_bit() -> None:
    weighted = HONEST * WEIGHTS[:, None].astype(np.float32)
    for clip in (None, 1e9):
        arrays: Mapping[str, Any] = {"update": weighted}
        assert Lengths(LengthLimits(clip_norm=clip)).measured(COHORT, arrays, WEIGHTS)["update"] is weighted


def test_what_is_folded_beside_the_update_is_looked_at_too() -> None:
    beside = np.ones((5, 2), np.float32)
    beside[3] = 1e30
    lengths = Lengths(LengthLimits())
    lengths.measured(COHORT, {"update": HONEST, "control": beside}, np.ones(5))
    assert list(lengths.useless()) == [8]
    assert "its control" in lengths.useless()[8]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.1e6, -3e38])
def test_a_result_that_is_not_finite_or_beyond_bounds_is_no_next_state(value: float) -> None:
    weights = np.zeros(4, np.float32)
    assert unusable_result(weights, {"momentum": weights}) == ""
    weights[2] = value
    assert "a weight would be beyond 1e+06" in unusable_result(weights, {})
    if not np.isfinite(value):
        assert "momentum would not be finite" in unusable_result(np.zeros(4, np.float32), {"momentum": weights})


def test_limits_are_kept_from_round_to_round_where_too_few_come() -> None:
    lengths = Lengths(LengthLimits(usual={"update": 0.5}))
    lengths.measured(COHORT[:2], {"update": HONEST[:2] * np.float32(60_000)}, np.ones(2))
    assert lengths.usual == {"update": 0.5}
    assert sorted(lengths.useless()) == [1, 4]
    assert replace(lengths.limits, weights_norm=1e4).before("update") == 1e4
