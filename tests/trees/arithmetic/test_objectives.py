from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core import ClientError, ConfigError
from werkbund.trees.arithmetic import FixedPoint, Objective
from werkbund.trees.arithmetic.objectives import exponentials

FIXED = FixedPoint(30, 30)
OBJECTIVES = [
    Objective("logistic", (1.0, 3.0)),
    Objective("softmax", (1.0, 2.0, 0.5)),
    Objective("squared", (), 10.0),
    Objective("share", (1.0, 2.0)),
    Objective("share", (1.0, 2.0, 0.5)),
]


def _rows(objective: Objective, n: int = 1001, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    sums = rng.normal(size=(n, objective.num_outputs)) * 3
    classes = objective.num_classes
    return (
        sums,
        rng.normal(size=objective.num_outputs),
        rng.integers(0, classes, n) * 1.0 if classes else sums[:, 0] + 1,
    )


def test_the_exponential_is_right_to_two_units_in_the_last_place() -> None:
    x = -np.concatenate([np.random.default_rng(0).exponential(20, 5000), [0.0, 1e-300, 707.9, 709.0, 1e4]])
    got = exponentials(x)
    for value, found in zip(x.tolist(), got.tolist(), strict=True):
        right = math.exp(value) if value > -708 else 0.0
        assert abs(found - right) <= 2 * math.ulp(right)


def test_the_exponential_of_a_number_does_not_depend_on_where_it_lies() -> None:
    x = -np.random.default_rng(1).exponential(5, 1003)
    alone = np.concatenate([exponentials(x[i : i + 1]) for i in range(len(x))])
    assert (exponentials(x) == alone).all()


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda one: f"{one.kind} {one.num_outputs}")
@pytest.mark.parametrize("shift", [1, 2, 3, 5])
def test_a_rows_gradient_has_the_same_bits_in_every_table(objective: Objective, shift: int) -> None:
    sums, base, targets = _rows(objective)
    fixed = objective.fixed_point(1001)
    whole = objective.gradients(sums, base, 1.0, targets, fixed)
    pieces = [
        objective.gradients(sums[a : a + shift], base, 1.0, targets[a : a + shift], fixed)
        for a in range(0, 1001, shift)
    ]
    assert (whole == np.concatenate(pieces, axis=1)).all()


def test_logistic_gradients_are_those_of_the_weighted_log_loss() -> None:
    objective = OBJECTIVES[0]
    sums, base, y = _rows(objective)
    p, w = 1 / (1 + np.exp(-(base + sums)[:, 0])), np.where(y > 0, 3.0, 1.0)
    fixed = objective.fixed_point(len(y))
    pairs = objective.gradients(sums, base, 1.0, y, fixed)[0]
    np.testing.assert_allclose(pairs[:, 0] / fixed.gradient_scale, w * (p - y), atol=1 / fixed.gradient_scale)
    np.testing.assert_allclose(pairs[:, 1] / fixed.hessian_scale, w * p * (1 - p), atol=1 / fixed.hessian_scale)


def test_softmax_gradients_are_those_of_the_weighted_log_loss() -> None:
    objective = OBJECTIVES[1]
    sums, base, y = _rows(objective)
    z = base + sums
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    w, hit = np.array(objective.class_weights)[y.astype(int)], np.eye(3)[y.astype(int)]
    fixed = objective.fixed_point(len(y))
    pairs = objective.gradients(sums, base, 1.0, y, fixed)
    np.testing.assert_allclose(
        pairs[:, :, 0].T / fixed.gradient_scale, w[:, None] * (p - hit), atol=1 / fixed.gradient_scale
    )
    np.testing.assert_allclose(
        pairs[:, :, 1].T / fixed.hessian_scale, w[:, None] * p * (1 - p), atol=1 / fixed.hessian_scale
    )


def test_squared_gradients_are_errors_and_a_share_is_that_of_a_class() -> None:
    fixed = OBJECTIVES[2].fixed_point(2)
    pairs = OBJECTIVES[2].gradients(np.array([[1.0], [2.0]]), np.array([0.5]), 1.0, np.array([3.0, 0.0]), fixed)
    assert (pairs[0, :, 0] / fixed.gradient_scale).tolist() == [-1.5, 2.5]
    assert (pairs[0, :, 1] / fixed.hessian_scale).tolist() == [1.0, 1.0]
    share = OBJECTIVES[4]
    fixed = share.fixed_point(2)
    pairs = share.gradients(np.ones((2, 3)), np.zeros(3), 0.0, np.array([1.0, 2.0]), fixed)
    assert (pairs[:, :, 0].T / fixed.gradient_scale).tolist() == [[0, -2, 0], [0, 0, -0.5]]
    assert (pairs[:, :, 1].T / fixed.hessian_scale).tolist() == [[2, 2, 2], [0.5, 0.5, 0.5]]


def test_extreme_scores_stay_finite() -> None:
    objective = Objective("logistic")
    sums = np.array([[1e300], [-1e300], [700.0], [-700.0]])
    pairs = objective.gradients(sums, np.zeros(1), 1.0, np.array([0.0, 0.0, 1.0, 1.0]), FIXED)
    assert (pairs[0, :, 0] == np.array([2**30, 0, 0, -(2**30)])).all()
    assert (pairs[0, :, 1] == 0).all()


@pytest.mark.parametrize("target", [-1.0, 2.0, 0.5])
def test_a_target_that_is_no_class_raises(target: float) -> None:
    with pytest.raises(ClientError, match=r"targets must be 0\.\.1"):
        Objective("logistic").gradients(np.zeros((1, 1)), np.zeros(1), 1.0, np.array([target]), FIXED)


def test_a_gradient_beyond_its_bound_raises() -> None:
    objective = Objective("squared", (), 1.0)
    with pytest.raises(ClientError, match="lower the learning rate"):
        objective.gradients(np.full((1, 1), 4.1), np.zeros(1), 1.0, np.zeros(1), objective.fixed_point(1))


@pytest.mark.parametrize(
    ("kind", "weights", "width"),
    [
        ("logistic", (1.0,), 1.0),
        ("logistic", (1.0, 0.0), 1.0),
        ("squared", (1.0, 1.0), 1.0),
        ("squared", (), 0.0),
        ("poisson", (1.0, 1.0), 1.0),
    ],
)
def test_an_objective_that_cannot_be_raises(kind: Any, weights: tuple[float, ...], width: float) -> None:
    with pytest.raises(ConfigError):
        Objective(kind, weights, width)


@given(st.integers(1, 2**46), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 12))
def test_no_row_leaves_31_bits_and_no_sum_63(rows: int, gradient: float, hessian: float, draws: int) -> None:
    fixed = FixedPoint.agreed(rows, gradient, hessian, draws)
    for bound, scale in ((gradient, fixed.gradient_scale), (hessian, fixed.hessian_scale)):
        assert round(bound * scale) < 2**31
        assert round(bound * scale) * rows * draws <= 2**62
        assert bound * scale > 2**10


def test_a_million_rows_keep_thirty_bits() -> None:
    assert FixedPoint.agreed(1_000_000, 1.0, 1.0).gradient_exponent == 30


def test_too_many_rows_raise() -> None:
    with pytest.raises(ConfigError, match="sample rows"):
        FixedPoint.agreed(2**50, 1.0, 1.0, 12)


@pytest.mark.parametrize("weights", [(1.0, 1e12), (1e12, 1.0), (1.0, 1e-9), (1e-9, 1.0, 1.0)])
@pytest.mark.parametrize("kind", ["logistic", "softmax", "share"])
def test_weights_beside_which_a_class_would_round_to_nothing_are_refused(kind: Any, weights: tuple[float, ...]) -> None:
    if kind == "logistic" and len(weights) > 2:
        return
    with pytest.raises(
        ConfigError, match=r"class weights must be within a factor of [34].[0-9]+e\+06 .* got a factor of 1e"
    ):
        Objective(kind, weights).fixed_point(10_000)


@given(st.floats(1e-6, 1e6), st.integers(1, 10**9), st.booleans())
def test_rows_of_each_class_count_at_any_weight_that_is_not_refused(weight: float, rows: int, bootstrap: bool) -> None:
    objective = Objective("logistic", (1.0, weight))
    fixed = objective.fixed_point(rows, 12 if bootstrap else 1)
    pairs = objective.gradients(np.zeros((2, 1)), np.zeros(1), 1.0, np.array([0.0, 1.0]), fixed)
    assert np.abs(pairs[0]).min() >= 16
    relative = pairs[0, :, 0] / fixed.gradient_scale / np.array([0.5, -0.5 * weight])
    np.testing.assert_allclose(relative, 1, rtol=1 / 128)
