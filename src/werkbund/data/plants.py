"""What sets one generated plant apart from another."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from werkbund.core.arrays import Float64Array
from werkbund.core.errors import ConfigError

AIR_MEAN_K, AIR_SWING_K = 300.0, 2.0
DIFFERENCE_MEAN_K, DIFFERENCE_SWING_K = 10.0, 1.0
MIX = (0.6, 0.3, 0.1)  # of the products L, M, H
LIFE_MEAN_MIN, LIFE_SD_MIN = 214.3, 10.6
SHORTEST_BELOW_MEAN_MIN = 16.3  # no tool is changed earlier than this below its plant's mean

# How plants differ. Where it is hot the process sheds its heat less well: in the published file the
# difference falls by 0.35 K for each K of air temperature, and that is what makes one plant see most of the
# heat failures.
CLIMATE_SD_K = 1.2
DIFFERENCE_SLOPE = -0.35
SWING_RANGE = (0.6, 1.2)
MIX_CONCENTRATION = 8.0
LIFE_BETWEEN_SD_MIN, LIFE_RANGE_MIN = 10.0, (180.0, 250.0)
TEMPERATURE_BIAS_SD_K = 0.1
GAIN_SD = 0.005


@dataclass(frozen=True)
class Plants:
    """Describe plants by columns, one entry a plant.

    Parameters
    ----------
    air_mean, air_swing
        (plants,), mean and s.d. of the air temperature over the plant's rows, in K.
    difference_mean, difference_swing
        (plants,), the same of process temperature less air temperature, in K.
    mix
        (plants, 3), shares of the products L, M and H, each row summing to 1.
    tool_life
        (plants,), mean life of a tool, in min of wear.
    air_bias, process_bias
        (plants,), what the sensor adds, in K.
    torque_gain, speed_gain
        (plants,), what the sensor multiplies by.
    """

    air_mean: Float64Array
    air_swing: Float64Array
    difference_mean: Float64Array
    difference_swing: Float64Array
    mix: Float64Array
    tool_life: Float64Array
    air_bias: Float64Array
    process_bias: Float64Array
    torque_gain: Float64Array
    speed_gain: Float64Array

    def __post_init__(self) -> None:
        for field in fields(self):
            shape = np.shape(getattr(self, field.name))
            expected = (self.num_plants, len(MIX)) if field.name == "mix" else (self.num_plants,)
            if shape != expected:
                raise ConfigError(f"{field.name} must have shape {expected} (one entry a plant), got {shape}")
        if self.num_plants == 0 or np.any(self.mix < 0) or not np.allclose(self.mix.sum(axis=1), 1.0):
            raise ConfigError("mix must hold one row of shares a plant, none negative, that sum to 1")
        if np.any(self.tool_life <= SHORTEST_BELOW_MEAN_MIN):
            least = float(self.tool_life.min())
            raise ConfigError(f"tool_life must be above {SHORTEST_BELOW_MEAN_MIN} min, got {least}; lengthen it")

    @property
    def num_plants(self) -> int:
        """Number of plants."""
        return len(self.air_mean)


def plain_plant() -> Plants:
    """Return the one plant that the published file describes, with true sensors."""
    return Plants(
        air_mean=np.array([AIR_MEAN_K]),
        air_swing=np.array([AIR_SWING_K]),
        difference_mean=np.array([DIFFERENCE_MEAN_K]),
        difference_swing=np.array([DIFFERENCE_SWING_K]),
        mix=np.array([MIX]),
        tool_life=np.array([LIFE_MEAN_MIN]),
        air_bias=np.zeros(1),
        process_bias=np.zeros(1),
        torque_gain=np.ones(1),
        speed_gain=np.ones(1),
    )


def draw_plants(num_plants: int, rng: np.random.Generator) -> Plants:
    """Draw plants that differ in climate, product mix, tool life and sensors.

    Climates are normal around the published file's, a hot plant having the smaller temperature difference;
    swings are uniform; mixes are Dirichlet around the published one; tool lives normal within bounds; sensor
    biases normal around a true sensor.
    """
    climate = rng.normal(0.0, CLIMATE_SD_K, num_plants)
    swing = rng.uniform(*SWING_RANGE, num_plants)
    return Plants(
        air_mean=AIR_MEAN_K + climate,
        air_swing=AIR_SWING_K * swing,
        difference_mean=DIFFERENCE_MEAN_K + DIFFERENCE_SLOPE * climate,
        difference_swing=DIFFERENCE_SWING_K * swing,
        mix=rng.dirichlet(MIX_CONCENTRATION * np.array(MIX), num_plants),
        tool_life=np.clip(rng.normal(LIFE_MEAN_MIN, LIFE_BETWEEN_SD_MIN, num_plants), *LIFE_RANGE_MIN),
        air_bias=rng.normal(0.0, TEMPERATURE_BIAS_SD_K, num_plants),
        process_bias=rng.normal(0.0, TEMPERATURE_BIAS_SD_K, num_plants),
        torque_gain=rng.normal(1.0, GAIN_SD, num_plants),
        speed_gain=rng.normal(1.0, GAIN_SD, num_plants),
    )
