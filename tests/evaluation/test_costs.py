"""Costs are two prices; the cost curve is what each threshold would have cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from werkbund.core.edges import NUM_BINS
from werkbund.core.errors import ConfigError
from werkbund.evaluation import Costs, Counts, cost_curve

COSTS = Costs(missed_failure=20.0, needless_inspection=1.5)


@pytest.mark.parametrize("seed", range(3))
def test_cost_curve_is_what_each_decision_costs(scored: Callable[..., Any], seed: int) -> None:
    rows = scored(seed)
    expected = []
    for place in range(NUM_BINS):
        flagged = rows.bins >= place
        missed, needless = (rows.labels > 0) & ~flagged, (rows.labels == 0) & flagged
        expected.append(1000 * (20.0 * missed.sum() + 1.5 * needless.sum()) / len(flagged))
    np.testing.assert_allclose(cost_curve(rows.counts, COSTS), expected, rtol=1e-12, atol=1e-12)


def test_cost_curve_agrees_with_the_cost_of_its_confusion(scored: Callable[..., Any]) -> None:
    counts = scored(1).counts
    for place in (0, 400, NUM_BINS - 1):
        assert cost_curve(counts, COSTS)[place] == pytest.approx(1000 * COSTS.of(counts.confusion(place)) / counts.rows)


def test_cost_curve_without_rows_is_undefined() -> None:
    assert np.isnan(cost_curve(Counts.empty(), COSTS)).all()


def test_at_break_even_inspecting_costs_as_much_as_waiting() -> None:
    p = COSTS.break_even
    assert p * COSTS.missed_failure == pytest.approx((1 - p) * COSTS.needless_inspection)


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan, math.inf])
def test_price_must_be_finite_and_above_0(price: float) -> None:
    with pytest.raises(ConfigError, match="missed_failure must be a finite price above 0"):
        Costs(price, 1.0)
    with pytest.raises(ConfigError, match="needless_inspection must be a finite price above 0"):
        Costs(1.0, price)
