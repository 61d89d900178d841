"""Rows like those of AI4I 2020, for any number of plants.

One plain plant follows the rules that reproduce the published file. With more plants each has a climate, a
product mix, a tool life and sensors of its own; failures happen to the true values, and the table holds what
the sensors say. All plants are drawn together: the only loop runs over the tools of the plant that uses most.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import polars as pl

from werkbund.core.arrays import BoolArray, Float64Array, Int8Array, Int32Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.rng import generator
from werkbund.data import rules

SERIAL_OFFSETS = (47_179, 14_859, 29_413)  # what a serial number adds to the row number, by type
TORQUE_NM = (40.0, 10.0, 3.8)  # mean, s.d., least
SPEED_KNOTS = np.array(
    # torque in Nm, the speed in rpm that goes with it; fitted on the published file
    [
        (3.8, 2887), (8, 2754), (12, 2653), (16, 2228), (20, 1987), (25, 1798), (30, 1663), (35, 1572),
        (40, 1496), (45, 1443), (50, 1400), (55, 1364), (60, 1333), (65, 1298), (77, 1263),
    ]
)  # fmt: skip
SPEED_NOISE_RPM = 50.0
P_WEAR_FAILURE = 46 / 119  # of a tool change
P_RANDOM_FAILURE = 0.0019  # of a row; flagged as RNF and not counted as a failure, as in the file
P_UNEXPLAINED = 0.0009  # of a row; a failure without a mode

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


def generate(rows: int, plants: int, seed: int) -> pl.DataFrame:
    """Draw rows of the given number of plants, evenly many each, plant after plant in time order.

    Parameters
    ----------
    rows
        Number of rows of all plants together, at least one a plant.
    plants
        At least 1. One plant follows the plain rules; several differ as `draw_plants` says.
    seed
        Same seed, same table.

    Returns
    -------
    frame
        The columns of the published file, and `plant`.

    References
    ----------
    S. Matzka, "Explainable Artificial Intelligence for Predictive Maintenance Applications", AI4I 2020, pp. 69-74.
    Deviations: where the published file does not keep to the text, its own frequencies are drawn: shares of the
    types, speed given torque, tool lives, wear failures, random failures that do not count, unexplained ones.

    Examples
    --------
    >>> frame = generate(rows=600, plants=3, seed=1)
    >>> frame["plant"].unique(maintain_order=True).to_list()
    ['plant-1', 'plant-2', 'plant-3']
    """
    if plants < 1:
        raise ConfigError(f"plants must be at least 1, got {plants}; ask for one plant for the plain rules")
    if rows < plants:
        raise ConfigError(
            f"rows must be at least {plants} (one a plant), got {rows}; ask for more rows or fewer plants"
        )
    drawn = plain_plant() if plants == 1 else draw_plants(plants, generator(seed, "generate/plants"))
    return simulate(drawn, rows=rows, seed=seed)


def simulate(plants: Plants, rows: int, seed: int) -> pl.DataFrame:
    """Draw rows of these plants; the first of them get one row more if the rows do not divide evenly."""
    sizes = np.full(plants.num_plants, rows // plants.num_plants)
    sizes[: rows % plants.num_plants] += 1
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    plant = np.repeat(np.arange(plants.num_plants, dtype=np.int32), sizes)  # (rows,)

    kind = _product_types(plants, plant, generator(seed, "generate/type"))
    wear, changed = _wear(rules.WEAR_STEPS[kind], offsets, plants.tool_life, generator(seed, "generate/tools"))
    air, process = _temperatures(plants, offsets, plant, seed)
    torque, speed = _load(rows, generator(seed, "generate/load"))

    columns = _identity(kind)
    columns += [
        pl.Series(rules.AIR, _tenths(air + plants.air_bias[plant])),
        pl.Series(rules.PROCESS, _tenths(process + plants.process_bias[plant])),
        pl.Series(rules.SPEED, np.rint(speed * plants.speed_gain[plant]).astype(np.int64)),
        pl.Series(rules.TORQUE, _tenths(torque * plants.torque_gain[plant])),
        pl.Series(rules.WEAR, wear),
    ]
    flags = {
        "HDF": rules.heat_dissipation_failure(air, process, speed),
        "PWF": rules.power_failure(torque, speed),
        "OSF": rules.overstrain_failure(wear, torque, rules.OVERSTRAIN_LIMITS[kind]),
    }
    columns += _failures(flags, changed, generator(seed, "generate/chance"))
    return pl.DataFrame([*columns, _plant_names(plant, plants.num_plants)])


def _tenths(values: Float64Array) -> Float64Array:
    """Round to 0.1; dividing by 10 gives the very float that reading the decimal would give."""
    return np.rint(values * 10.0) / 10.0


def _product_types(plants: Plants, plant: Int32Array, rng: np.random.Generator) -> Int8Array:
    """Draw each row's place in `TYPES` from its plant's mix: (rows,)."""
    drawn = rng.random(len(plant))
    first: Int8Array = (drawn >= plants.mix[plant, 0]).astype(np.int8)
    return first + (drawn >= (plants.mix[:, 0] + plants.mix[:, 1])[plant]).astype(np.int8)


def _walk(offsets: Int64Array, rng: np.random.Generator) -> Float64Array:
    """Draw a random walk for each plant, brought to mean 0 and s.d. 1 over the plant's rows: (rows,).

    A plant with one row stays at 0.
    """
    sizes = np.diff(offsets)
    walk = np.cumsum(rng.standard_normal(offsets[-1]))
    walk -= np.repeat(np.add.reduceat(walk, offsets[:-1]) / sizes, sizes)
    spread = np.sqrt(np.add.reduceat(walk * walk, offsets[:-1]) / sizes)
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=sizes > 1)
    walk *= np.repeat(scale, sizes)
    return walk


def _temperatures(
    plants: Plants, offsets: Int64Array, plant: Int32Array, seed: int
) -> tuple[Float64Array, Float64Array]:
    """Draw true air and process temperature, in K, rounded to 0.1: (rows,) each."""
    air = _walk(offsets, generator(seed, "generate/air"))
    air *= plants.air_swing[plant]
    air += plants.air_mean[plant]
    process = _walk(offsets, generator(seed, "generate/process"))
    process *= plants.difference_swing[plant]
    process += plants.difference_mean[plant]
    process += air
    return _tenths(air), _tenths(process)


def _load(rows: int, rng: np.random.Generator) -> tuple[Float64Array, Float64Array]:
    """Draw true torque, in Nm, and the speed that goes with it, in rpm: (rows,) each."""
    mean, spread, least = TORQUE_NM
    torque = _tenths(np.maximum(rng.normal(mean, spread, rows), least))
    speed = np.interp(torque, SPEED_KNOTS[:, 0], SPEED_KNOTS[:, 1])
    speed += rng.normal(0.0, SPEED_NOISE_RPM, rows)
    return torque, np.rint(speed)


def _wear(
    steps: Int64Array, offsets: Int64Array, life: Float64Array, rng: np.random.Generator
) -> tuple[Int64Array, BoolArray]:
    """Wear tools down and change them.

    Parameters
    ----------
    steps
        (rows,), what each row's product adds to the wear, in min.
    offsets
        (plants + 1,), where each plant's rows lie; every plant begins with a new tool.
    life
        (plants,), mean life of a tool in min.

    Returns
    -------
    wear
        (rows,), in min, before the row's product.
    changed
        (rows,), True in the last row of each tool that was changed.
    """
    total = np.cumsum(steps) - steps  # (rows,), strictly rising, so that a tool's last row is found by bisection
    changed = np.zeros(len(steps), dtype=bool)
    start, stop = offsets[:-1], offsets[1:]
    while len(start):
        lives = np.maximum(rng.normal(life, LIFE_SD_MIN), life - SHORTEST_BELOW_MEAN_MIN)
        last = np.searchsorted(total, np.ceil(total[start] + lives).astype(np.int64))
        changed[last[last < stop]] = True
        going = last + 1 < stop
        start, stop, life = last[going] + 1, stop[going], life[going]
    first = np.zeros_like(changed)
    first[1:] = changed[:-1]
    first[offsets[:-1]] = True
    return total - np.maximum.accumulate(np.where(first, total, 0)), changed


def _failures(flags: dict[str, BoolArray], changed: BoolArray, rng: np.random.Generator) -> list[pl.Series]:
    """Return the label and the five modes as columns of 0 and 1, in the file's order."""
    rows = len(changed)
    worn = changed & (rng.random(rows) < P_WEAR_FAILURE)
    random = rng.random(rows) < P_RANDOM_FAILURE
    failed = worn | flags["HDF"] | flags["PWF"] | flags["OSF"] | (rng.random(rows) < P_UNEXPLAINED)
    modes = {"TWF": worn, **flags, "RNF": random}
    columns = [(rules.LABEL, failed), *((mode, modes[mode]) for mode in rules.MODES)]
    return [pl.Series(name, values.astype(np.int64)) for name, values in columns]


def _identity(kind: Int8Array) -> list[pl.Series]:
    """Return row number, product identifier and type as columns."""
    number = np.arange(1, len(kind) + 1)
    letter = pl.Series(rules.TYPES).gather(kind.astype(np.uint32)).alias(rules.TYPE)
    serial = pl.Series(number + np.array(SERIAL_OFFSETS)[kind]).cast(pl.String)
    return [pl.Series(rules.ROW, number), (letter + serial).alias(rules.PRODUCT), letter]


def _plant_names(plant: Int32Array, num_plants: int) -> pl.Series:
    """Return each row's plant by name, numbered from 1 with leading zeros."""
    width = len(str(num_plants))
    names = pl.Series([f"plant-{number:0{width}d}" for number in range(1, num_plants + 1)])
    return names.gather(plant.astype(np.uint32)).alias("plant")
