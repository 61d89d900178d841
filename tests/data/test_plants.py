from dataclasses import replace

import numpy as np
import pytest

from werkbund.core.errors import ConfigError
from werkbund.data.plants import LIFE_RANGE_MIN, MIX, draw_plants, plain_plant


def test_plants_of_unequal_columns_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"air_bias must have shape \(1,\)"):
        replace(plain_plant(), air_bias=np.zeros(2))


@pytest.mark.parametrize("mix", [[[0.5, 0.3, 0.1]], [[1.2, -0.1, -0.1]]])
def test_a_mix_that_is_no_distribution_is_refused(mix: list[list[float]]) -> None:
    with pytest.raises(ConfigError, match="mix must hold"):
        replace(plain_plant(), mix=np.array(mix))


def test_a_tool_life_without_length_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tool_life must be above 16\.3"):
        replace(plain_plant(), tool_life=np.array([10.0]))


def test_the_same_generator_draws_the_same_plants() -> None:
    first, second = (draw_plants(5, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.mix, second.mix)
    np.testing.assert_array_equal(first.speed_gain, second.speed_gain)


def test_drawn_plants_lie_around_the_plain_one() -> None:
    drawn, plain = draw_plants(4000, np.random.default_rng(0)), plain_plant()
    error = 5 / np.sqrt(4000)
    assert abs(drawn.air_mean.mean() - plain.air_mean[0]) < error * drawn.air_mean.std()
    assert abs(drawn.difference_mean.mean() - plain.difference_mean[0]) < error * drawn.difference_mean.std()
    assert abs(drawn.torque_gain.mean() - 1.0) < error * drawn.torque_gain.std()
    np.testing.assert_allclose(drawn.mix.mean(axis=0), MIX, atol=error * 0.2)
    assert drawn.tool_life.min() >= LIFE_RANGE_MIN[0]
    assert drawn.tool_life.max() <= LIFE_RANGE_MIN[1]


def test_a_hot_plant_has_the_smaller_temperature_difference() -> None:
    drawn = draw_plants(200, np.random.default_rng(1))
    assert np.corrcoef(drawn.air_mean, drawn.difference_mean)[0, 1] < -0.999
