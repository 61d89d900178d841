"""Attacks and faults at the rows that a client trains on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from werkbund.attack.contract import LabelledRows
from werkbund.core.arrays import Float64Array
from werkbund.core.methods import check_options, option


@dataclass(frozen=True)
class LabelFlip:
    """Call failures healthy and healthy rows failures.

    y' = 1 - y, for all rows or a share of them.

    Parameters
    ----------
    share
        Of the client's rows that are turned over.
    """

    share: float = option(1.0, "Share of an attacker's rows whose label is turned over.", above=0, at_most=1)

    name: ClassVar[str] = "label-flip"
    what: ClassVar[str] = "trains on labels that are turned over"

    def __post_init__(self) -> None:
        check_options(self, "attack.options")

    def spoil(self, own: LabelledRows, everybody: LabelledRows, rng: np.random.Generator) -> LabelledRows:
        """Return the rows with labels turned over."""
        turned = rng.permutation(len(own.labels)) < round(self.share * len(own.labels))
        return own.relabelled(np.where(turned, 1 - own.labels, own.labels).astype(np.float32))


Fault = Literal["constant", "unit", "clock"]


@dataclass(frozen=True)
class BrokenSensor:
    """Read one sensor wrongly.

    Parameters
    ----------
    fault
        `constant`: it stays at its first reading; `unit`: readings are multiplied by `factor`; `clock`: each row gets
        the reading of `shift` rows before.
    sensor
        Its column; empty for the one that tells failures best.
    factor, shift
        Of the two faults.
    """

    fault: Fault = option("constant", "What is wrong with the sensor.")
    sensor: str = option("", "Its column; empty: the one whose readings tell failures best.")
    factor: float = option(1000.0, "What readings in a wrong unit are multiplied by.")
    shift: int = option(10, "By how many rows a clock is wrong.", at_least=1)

    name: ClassVar[str] = "broken-sensor"
    what: ClassVar[str] = "trains on the readings of a broken sensor"

    def __post_init__(self) -> None:
        check_options(self, "attack.options")

    def spoil(self, own: LabelledRows, everybody: LabelledRows, rng: np.random.Generator) -> LabelledRows:
        """Return the rows as the broken sensor reads them."""
        sensor = everybody.sensor(self.sensor)
        return own.reading(sensor, self._read(own.readings(sensor)))

    def _read(self, readings: Float64Array) -> Float64Array:
        if self.fault == "unit":
            return self.factor * readings
        before = np.zeros(len(readings), np.int64) if self.fault == "constant" else np.arange(len(readings))
        return readings[np.maximum(before - (self.shift if self.fault == "clock" else 0), 0)]


@dataclass(frozen=True)
class DuplicatedRows:
    """Have each row several times: the client counts for more than its rows, and takes more steps.

    Parameters
    ----------
    times
        How often it has each row.
    """

    times: int = option(5, "How often an attacker has each of its rows.", at_least=2, at_most=1000)

    name: ClassVar[str] = "duplicated-rows"
    what: ClassVar[str] = "has every training row several times"

    def __post_init__(self) -> None:
        check_options(self, "attack.options")

    def spoil(self, own: LabelledRows, everybody: LabelledRows, rng: np.random.Generator) -> LabelledRows:
        """Return each row so often."""
        return own.take(np.repeat(np.arange(len(own.labels)), self.times))


@dataclass(frozen=True)
class Reference:
    """Do nothing wrong: those that would attack train as all do, and figures leave out the same rows."""

    name: ClassVar[str] = "reference"
    what: ClassVar[str] = "does nothing wrong, to compare the other attacks with"
