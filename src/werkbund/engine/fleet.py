"""Simulated clients: how fast, how well connected, how hungry, how often there; and what a task costs each of them.

The figures of the named presets are assumptions, chosen for plain orders of magnitude and not measured; a study that
rests on them should bring its own table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.kinds import Effort

HOUR_S, DAY_H = 3600.0, 24.0


@dataclass(frozen=True)
class Fleet:
    """Describe simulated clients, (clients,) each.

    Parameters
    ----------
    examples_per_s
        Training examples that a client computes in a second.
    up_bytes_per_s, down_bytes_per_s
        Its connection.
    joules_per_example, joules_per_byte
        What computing and sending or receiving cost it.
    battery_joules
        Size of its battery; infinite on mains.
    charge_watts
        With how much power the battery is charged, always; 0 for none.
    price_per_kwh
        What its energy costs, in any currency.
    shift_start_h, shift_hours
        When it can be asked: from this hour of the day for so many hours; 24 for always.
    maintenance_every_h, maintenance_hours, maintenance_first_h
        It is away for so many hours every so often, for the first time then; 0 hours for never.
    dropout
        Chance that it gives up in the middle of a task, 0..1.
    drift
        Standard deviation of the random walk of its speed, in natural logarithms a round.
    """

    examples_per_s: Float64Array
    up_bytes_per_s: Float64Array
    down_bytes_per_s: Float64Array
    joules_per_example: Float64Array
    joules_per_byte: Float64Array
    battery_joules: Float64Array
    charge_watts: Float64Array
    price_per_kwh: Float64Array
    shift_start_h: Float64Array
    shift_hours: Float64Array
    maintenance_every_h: Float64Array
    maintenance_hours: Float64Array
    maintenance_first_h: Float64Array
    dropout: Float64Array
    drift: Float64Array

    def __post_init__(self) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            if values.shape != (self.num_clients,) or np.isnan(values).any() or (values < 0).any():
                raise ConfigError(f"world: {field.name} must be {self.num_clients} numbers of at least 0, got {values}")
        for name in ("examples_per_s", "up_bytes_per_s", "down_bytes_per_s", "battery_joules"):
            if not (getattr(self, name) > 0).all():
                raise ConfigError(f"world: {name} must be above 0 for every client")
        if (self.dropout > 1).any():
            raise ConfigError(f"world: dropout must be a chance in 0..1, got {self.dropout.max()}")

    @property
    def num_clients(self) -> int:
        """Number of clients."""
        return len(self.examples_per_s)

    def is_there(self, clock_s: float) -> BoolArray:
        """Return whose shift and maintenance plan let them be asked at a moment: (clients,)."""
        hour = clock_s / HOUR_S
        into_shift = np.mod(hour - self.shift_start_h, DAY_H)
        on_shift = (self.shift_hours >= DAY_H) | (into_shift < self.shift_hours)
        every = np.where(self.maintenance_every_h > 0, self.maintenance_every_h, np.inf)
        since = hour - self.maintenance_first_h
        away = (since >= 0) & (np.mod(np.maximum(since, 0.0), every) < self.maintenance_hours)
        return np.asarray(on_shift & ~away)


def seconds_of(fleet: Fleet, clients: Int64Array, effort: Effort, slowness: Float64Array) -> Float64Array:
    """Return how long each client takes, in seconds: receive, compute, send, one after the other."""
    compute = effort.examples / fleet.examples_per_s[clients] * slowness[clients]
    down = effort.down_bytes / fleet.down_bytes_per_s[clients]
    return np.asarray(down + compute + effort.up_bytes / fleet.up_bytes_per_s[clients])


def joules_of(fleet: Fleet, clients: Int64Array, effort: Effort) -> Float64Array:
    """Return what each client spends, in joules."""
    moved = effort.down_bytes + effort.up_bytes
    return np.asarray(effort.examples * fleet.joules_per_example[clients] + moved * fleet.joules_per_byte[clients])


def uniform(number: int, rng: np.random.Generator) -> dict[str, Float64Array]:
    """Return clients that are all alike, always there, on mains."""
    del rng
    alike = {
        "examples_per_s": 2000.0,
        "up_bytes_per_s": 1e6,
        "down_bytes_per_s": 2e6,
        "joules_per_example": 0.01,
        "joules_per_byte": 1e-6,
        "battery_joules": np.inf,
        "charge_watts": 0.0,
        "price_per_kwh": 0.25,
        "shift_start_h": 0.0,
        "shift_hours": DAY_H,
        "maintenance_every_h": 0.0,
        "maintenance_hours": 0.0,
        "maintenance_first_h": 0.0,
        "dropout": 0.0,
        "drift": 0.0,
    }
    return {name: np.full(number, value) for name, value in alike.items()}


def factory_fleet(number: int, rng: np.random.Generator) -> dict[str, Float64Array]:
    """Return gateways in plants: on mains, wired; old and new ones; two or three shifts; maintenance once a week."""
    fleet = uniform(number, rng)
    two_shifts = rng.random(number) < 0.5
    fleet |= {
        "examples_per_s": 2000.0 * rng.lognormal(0.0, 0.7, number),
        "up_bytes_per_s": 5e5 * rng.lognormal(0.0, 0.8, number),
        "down_bytes_per_s": 1e6 * rng.lognormal(0.0, 0.8, number),
        "joules_per_example": 0.01 * rng.lognormal(0.0, 0.4, number),
        "price_per_kwh": rng.uniform(0.15, 0.35, number),
        "shift_start_h": np.where(two_shifts, 6.0, 0.0),
        "shift_hours": np.where(two_shifts, 16.0, DAY_H),
        "maintenance_every_h": np.full(number, 168.0),
        "maintenance_hours": np.full(number, 4.0),
        "maintenance_first_h": rng.uniform(0.0, 168.0, number),
        "dropout": np.full(number, 0.02),
        "drift": np.full(number, 0.02),
    }
    return fleet


def mobile_machines(number: int, rng: np.random.Generator) -> dict[str, Float64Array]:
    """Return computers on vehicles: a battery, a radio link of mixed quality, one shift, much giving up.

    Of the battery it is what may be spent on learning, a few dozen rounds of it; it takes a day or more to fill up.
    """
    fleet = uniform(number, rng)
    fleet |= {
        "examples_per_s": 600.0 * rng.lognormal(0.0, 0.9, number),
        "up_bytes_per_s": 5e4 * rng.lognormal(0.0, 1.0, number),
        "down_bytes_per_s": 2e5 * rng.lognormal(0.0, 1.0, number),
        "joules_per_example": 0.02 * rng.lognormal(0.0, 0.6, number),
        "joules_per_byte": np.full(number, 5e-6),
        "battery_joules": rng.uniform(150.0, 900.0, number),
        "charge_watts": rng.uniform(0.0, 5e-3, number),
        "shift_start_h": rng.choice([6.0, 8.0, 12.0], number),
        "shift_hours": np.full(number, 10.0),
        "dropout": rng.beta(1.0, 9.0, number),
        "drift": np.full(number, 0.05),
    }
    return fleet


PRESETS: dict[str, Callable[[int, np.random.Generator], dict[str, Float64Array]]] = {
    "uniform": uniform,
    "factory-fleet": factory_fleet,
    "mobile-machines": mobile_machines,
}
