from typing import Any

import numpy as np
import pytest

from werkbund.aggregation import Closing, FedAvg, Sums
from werkbund.core import ConfigError, FederationError

UPDATES = np.array([[1.0, -2.0], [3.0, 4.0]], np.float32)
START = np.array([10.0, 20.0], np.float32)


def _fold(aggregator: FedAvg, updates: Any = UPDATES, weights: Any = (1.0, 3.0)) -> Sums:
    return aggregator.fold(aggregator.begin(2), {"update": updates}, np.array(weights))


PLAIN = FedAvg(momentum=0.0)


def test_the_weights_move_by_the_mean_of_weighted_updates() -> None:
    moved, carry = PLAIN.finish(_fold(PLAIN), START, {})
    assert moved.tolist() == [10 + 4 / 4, 20 + 2 / 4]
    assert carry == {}


def test_the_step_scales_the_move() -> None:
    moved, _ = FedAvg(step=0.5, momentum=0.0).finish(_fold(PLAIN), START, {})
    assert moved.tolist() == [10.5, 20.25]


def test_momentum_accumulates_from_the_first_round_on() -> None:
    aggregator = FedAvg(momentum=0.5, step=2.0)
    weights, carry = aggregator.finish(_fold(aggregator), START, aggregator.init(2))
    assert carry["momentum"].tolist() == [1.0, 0.5]
    assert weights.tolist() == [12.0, 21.0]
    weights, carry = aggregator.finish(_fold(aggregator), weights, carry)
    assert carry["momentum"].tolist() == [1.5, 0.75]
    assert weights.tolist() == [15.0, 22.5]


def test_momentum_of_a_constant_update_tends_to_its_geometric_sum() -> None:
    aggregator = FedAvg(momentum=0.9)
    weights, carry = START, aggregator.init(2)
    for _ in range(300):
        weights, carry = aggregator.finish(_fold(aggregator), weights, carry)
    np.testing.assert_allclose(carry["momentum"], np.array([1.0, 0.5]) / (1 - 0.9), rtol=1e-5)


@pytest.mark.parametrize("weights", [(0.0, 0.0)])
def test_zero_total_weight_raises(weights: Any) -> None:
    with pytest.raises(FederationError, match="total weight of the updates must be > 0, got 0"):
        PLAIN.finish(_fold(PLAIN, np.zeros((2, 2), np.float32), weights), START, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weighting", "rows"),
        ("step", 0.0),
        ("step", float("inf")),
        ("step", float("nan")),
        ("momentum", 1.0),
        ("momentum", -0.5),
        ("momentum", float("nan")),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"strategy\.aggregation\.{name} must be .*got {value!r}"):
        FedAvg(**{name: value})


def test_a_total_of_the_rounds_own_stands_in_for_the_weights_of_those_that_answered() -> None:
    moved, _ = PLAIN.finish(_fold(PLAIN), START, {}, Closing(total=8.0))
    assert moved.tolist() == [10 + 4 / 8, 20 + 2 / 8]
    with pytest.raises(FederationError, match="must be > 0, got 0"):
        PLAIN.finish(_fold(PLAIN), START, {}, Closing(total=0.0))
