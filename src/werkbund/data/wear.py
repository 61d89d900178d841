"""What is built into a generated fleet: its plan, and how machines wear and fail: stress, wear, hazard, risk.

Four modes wear and accelerate; one, electrical, strikes without a sign. All is an hour's worth, arrays of (..., modes).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import Float64Array
from werkbund.core.errors import ConfigError

MODES = ("bearing", "cooling", "tool", "seal")
"""Modes that wear, in the order of all arrays here."""

ELECTRICAL = "electrical"

LIVES_D = np.array([130.0, 130.0, 95.0, 140.0])
_STRESS = np.array([[0.2, 1.3], [0.3, 0.9], [0.05, 1.7], [0.4, 0.8]])  # constant, and times load
_WARMTH, _WARM_C, _COOLEST_K = 0.03, 18.0, -8.0
_WEAR, _FIRST, _ACCELERATION = 1.22, 0.25, 1.5
_HAZARD, _WORN, _SHARPNESS, _IDLE = 0.08, 0.90, 0.03, 0.3
_ELECTRICAL_H = 12_000.0


@dataclass(frozen=True)
class FleetPlan:
    """Say how large a fleet is, and what is built into it.

    Parameters
    ----------
    plants, machines
        Numbers of plants, and of machines at each.
    days
        Length of the record.
    step_min
        Minutes between readings.
    life
        Factor of all lives; 2 halves the failures.
    rare, often
        How fast a mode wears at a plant that sees it seldom, and at those that see it most: each fourth plant for each
        mode. 0.2 and 2.5 make plants blind to each other's modes.
    climate_sd
        Of the plants' temperatures, in K.
    """

    plants: int = 10
    machines: int = 6
    days: int = 180
    step_min: int = 10
    life: float = 1.0
    rare: float = 0.55
    often: float = 1.75
    climate_sd: float = 4.0

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("plants", "machines", "days", "step_min")}
        for name, size in sizes.items():
            if size < 1:
                raise ConfigError(f"{name} of a fleet must be at least 1, got {size}; ask for more")
        if 60 % self.step_min:
            raise ConfigError(f"step_min of a fleet must divide 60, got {self.step_min}; choose such as 10")

    @property
    def num_steps(self) -> int:
        """Readings of a machine that is never down."""
        return self.days * 24 * 60 // self.step_min

    @property
    def step_h(self) -> float:
        """Hours between readings."""
        return self.step_min / 60


def stress_of(load: Float64Array, ambient: Float64Array) -> Float64Array:
    """Return how much each mode is stressed: (..., modes), from load (...,) in 0..1 and ambient (...,) in degrees C."""
    stress: Float64Array = _STRESS[:, 0] + load[..., None] * _STRESS[:, 1]
    stress[..., 1] += _WARMTH * np.maximum(ambient - _WARM_C, _COOLEST_K)
    return stress


def wear_rate(wear: Float64Array, stress: Float64Array, pace: Float64Array, life: float = 1.0) -> Float64Array:
    """Return by how much wear grows in an hour: (..., modes).

    Parameters
    ----------
    wear
        Now, 0 as new and about 1 where it fails.
    stress
        See `stress_of`.
    pace
        Of this plant's use and this machine's quality, around 1.
    life
        Factor of all lives.
    """
    return _WEAR / (24 * LIVES_D * life) * (_FIRST + _ACCELERATION * wear) * stress * pace


def hazard_of(wear: Float64Array, load: Float64Array) -> Float64Array:
    """Return failures an hour: (..., modes + 1), the last one electrical."""
    use = _IDLE + load[..., None]
    worn = _HAZARD * use / (1 + np.exp(-(wear - _WORN) / _SHARPNESS))
    return np.concatenate([worn, use / _ELECTRICAL_H], axis=-1)


def risk_of(
    wear: Float64Array, load: Float64Array, ambient: Float64Array, pace: Float64Array, hours: int, life: float = 1.0
) -> Float64Array:
    """Return the chance that a machine fails within some hours, as nobody can know it better: (rows,).

    Parameters
    ----------
    wear
        (rows, modes), hidden from every model.
    load, ambient
        (rows,), as they are on average.
    pace
        (rows, modes), see `wear_rate`.
    hours
        How far to look ahead.
    life
        Factor of all lives.

    Notes
    -----
    Wear goes on at its mean rate; that its steps are random is left out.
    """
    worn, stress = wear.copy(), stress_of(load, ambient)
    total = np.zeros(len(wear))
    for _ in range(hours):
        total += hazard_of(worn, load).sum(axis=-1)
        worn += wear_rate(worn, stress, pace, life)
    return -np.expm1(-total)
