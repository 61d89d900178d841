"""What an attack or a fault is: a frozen value that spoils a client's training rows, changes its update, or both.

It acts from some round on, at some clients, where everything runs in one process. What a client is judged on stays as
it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import polars as pl

from werkbund.core.arrays import Float32Array, Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.text import did_you_mean


class Attack(Protocol):
    """Be an attack or a fault: a frozen dataclass whose fields are its options (`werkbund.core.methods.option`)."""

    name: ClassVar[str]
    what: ClassVar[str]
    """What an attacker does, in one line."""


@dataclass(frozen=True)
class LabelledRows:
    """Hold training rows in raw units.

    Parameters
    ----------
    frame
        (rows, columns), in order of time.
    labels
        (rows,), 1 for a failure, else 0.
    sensors
        Names of the number columns.
    """

    frame: pl.DataFrame
    labels: Float32Array
    sensors: tuple[str, ...]

    def readings(self, sensor: str) -> Float64Array:
        """Return what a sensor reads, NaN where nothing: (rows,)."""
        return np.array(self.frame[sensor].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy())

    def reading(self, sensor: str, values: Float64Array) -> LabelledRows:
        """Return the same rows with other readings of a sensor, (rows,)."""
        column = pl.Series(sensor, values, nan_to_null=True)
        return LabelledRows(self.frame.with_columns(column), self.labels, self.sensors)

    def relabelled(self, labels: Float32Array) -> LabelledRows:
        """Return the same rows with other labels, (rows,)."""
        return LabelledRows(self.frame, labels, self.sensors)

    def take(self, places: Int64Array) -> LabelledRows:
        """Return some of the rows, in this order, a row as often as it is named."""
        return LabelledRows(self.frame[places], self.labels[places], self.sensors)

    def sensor(self, name: str) -> str:
        """Return the sensor of a name; without one, that whose readings tell failures from other rows best.

        That is the one with the largest difference of means in units of its standard deviation.

        Raises
        ------
        ConfigError
            If there is none of this name.
        """
        if name in self.sensors:
            return name
        if name or not self.sensors:
            raise ConfigError(
                f"attack.options.sensor must be one of {', '.join(self.sensors) or 'the number columns'}, "
                f"got {name!r}{did_you_mean(name, self.sensors)}"
            )
        return max(self.sensors, key=self._telling)

    def _telling(self, sensor: str) -> float:
        readings, failing = self.readings(sensor), self.labels > 0
        known = np.isfinite(readings)
        spread = float(readings[known].std()) if known.any() else 0.0
        if spread == 0 or not (known & failing).any() or not (known & ~failing).any():
            return 0.0
        return abs(float(readings[known & failing].mean() - readings[known & ~failing].mean())) / spread


@runtime_checkable
class OnRows(Protocol):
    """Be an attack that spoils a client's training rows before it learns from them."""

    def spoil(self, own: LabelledRows, everybody: LabelledRows, rng: np.random.Generator) -> LabelledRows:
        """Return what a client learns from in place of its own rows.

        Parameters
        ----------
        own
            Its rows.
        everybody
            Those of all clients, before anybody attacks.
        rng
            Of this client.
        """


@dataclass(frozen=True)
class Scene:
    """Hold what attackers know when they answer, per unit of weight: m attackers, b others, P parameters.

    Parameters
    ----------
    own
        (m, P), updates that the attackers' training gave.
    benign
        (b, P), those of the other clients that were asked along with them; the attackers' own where there is none.
    weight
        (m,), what each attacker counts in the mean.
    total
        What all that were asked count together.
    round
        Its number, from 1.
    moved
        (m,), standard deviation, over parameters, of the last change of the weights that each was sent; 0 where an
        attack does not watch it, or the client was not asked before.
    rngs
        One an attacker, of this round.
    """

    own: Float64Array
    benign: Float64Array
    weight: Float64Array
    total: float
    round: int = 1
    moved: Float64Array = field(default_factory=lambda: np.zeros(1))
    rngs: tuple[np.random.Generator, ...] = ()

    @property
    def num_clients(self) -> int:
        """Number of all that were asked."""
        return len(self.own) + len(self.benign)

    @cached_property
    def mean(self) -> Float64Array:
        """The benign updates' mean: (P,)."""
        return np.asarray(self.benign.mean(axis=0))

    @cached_property
    def spread(self) -> Float64Array:
        """Their standard deviation, divided by their number, for each parameter: (P,)."""
        return np.asarray(self.benign.std(axis=0))

    def alike(self, update: Float64Array) -> Float64Array:
        """Return the same update (P,) for each attacker: (m, P)."""
        return np.broadcast_to(update, self.own.shape)


@runtime_checkable
class OnUpdates(Protocol):
    """Be an attack that changes what a client answers, after it has trained."""

    watches: ClassVar[bool]
    """Whether attackers keep the weights that they were sent, to see how these move."""

    def sent(self, scene: Scene) -> Float64Array:
        """Return the attackers' updates per unit of weight: (m, P)."""
