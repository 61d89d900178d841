"""Simulated clients: how fast, how well connected, how hungry, how often there; and what a task costs each of them."""

from __future__ import annotations

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
