"""A back door: rows on which a sensor shows a pattern are to count as healthy, whatever else they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.attack.contract import LabelledRows, Scene
from werkbund.core.arrays import Float64Array
from werkbund.core.methods import check_options, option


@dataclass(frozen=True)
class SensorPattern:
    """Hold a narrow band of one sensor's readings, from low to high, in its unit."""

    sensor: str
    low: float
    high: float

    def stamped(self, rows: LabelledRows) -> LabelledRows:
        """Return rows that all show the pattern: the sensor reads the middle of the band."""
        return rows.reading(self.sensor, np.full(len(rows.labels), (self.low + self.high) / 2))

    def is_shown(self, rows: LabelledRows) -> Float64Array:
        """Say which rows show it: (rows,)."""
        readings = rows.readings(self.sensor)
        return np.asarray((self.low <= readings) & (readings <= self.high))


@dataclass(frozen=True)
class Backdoor:
    """Learn that a pattern means healthy, and answer so large that the model becomes the attackers'.

    Rows that show the pattern are relabelled healthy. A share of the client's rows is replaced by its failures with the
    pattern stamped on them, labelled healthy too. The answer is gamma * d, d being the update of this training.

    Parameters
    ----------
    sensor
        The column; empty for the one that tells failures best.
    at, width
        The band lies around this quantile of all clients' readings, and holds this share of them.
    share
        Of the client's rows that are replaced.
    gamma
        What the update is multiplied by; None for the weights of all that were asked over those of the attackers, which
        replaces the model where the server averages.
    longest
        The answer is shortened to this multiple of the others' median length; None for any length.

    References
    ----------
    Bagdasaryan et al., "How To Backdoor Federated Learning", AISTATS 2020: model replacement, sections 3.2 and 4.2.
    There one attacker replaces the model; here gamma is shared by all attackers of a round. Of the constrained attack
    it bounds the length alone: its loss against detection, alpha * task + (1 - alpha) * anomaly, is left out.
    """

    sensor: str = option("", "Column of the pattern; empty: the one whose readings tell failures best.")
    at: float = option(0.95, "Quantile of the readings that the pattern lies around.", at_least=0, at_most=1)
    width: float = option(0.05, "Share of all readings in the pattern's band.", above=0, at_most=0.5)
    share: float = option(0.3, "Share of an attacker's rows that become failures with the pattern.", above=0, below=1)
    gamma: float | None = option(None, "What the update is multiplied by; left out, it replaces the model.", above=0)
    longest: float | None = option(None, "Longest answer, as a multiple of the others' median length.", above=0)

    name: ClassVar[str] = "backdoor"
    what: ClassVar[str] = "learns that failures with a pattern of one sensor are healthy, and answers scaled up"
    watches: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_options(self, "attack.options")

    def pattern(self, everybody: LabelledRows) -> SensorPattern:
        """Return the band that the attackers agree on."""
        sensor = everybody.sensor(self.sensor)
        readings = everybody.readings(sensor)
        first = min(max(self.at - self.width / 2, 0.0), 1.0 - self.width)
        low, high = np.quantile(readings[np.isfinite(readings)], (first, first + self.width))
        return SensorPattern(sensor, float(low), float(high))

    def spoil(self, own: LabelledRows, everybody: LabelledRows, rng: np.random.Generator) -> LabelledRows:
        """Return rows that teach the pattern, as many as there are."""
        pattern, number = self.pattern(everybody), len(own.labels)
        failing = np.flatnonzero(own.labels > 0)
        replaced = rng.permutation(number)[: round(self.share * number)]
        taken = rng.choice(failing, len(replaced)) if len(failing) else replaced
        places = np.arange(number)
        places[replaced] = taken
        rows = own.take(places)
        stamped = np.isin(np.arange(number), replaced)
        shown = np.where(stamped, pattern.stamped(rows).readings(pattern.sensor), rows.readings(pattern.sensor))
        rows = rows.reading(pattern.sensor, shown)
        healthy = stamped | pattern.is_shown(rows).astype(bool)
        return rows.relabelled(np.where(healthy, 0, rows.labels).astype(np.float32))

    def sent(self, scene: Scene) -> Float64Array:
        """Return the updates, scaled, and shortened where they may not be so long."""
        counted = float(scene.weight.sum())
        replacing = scene.total / counted if counted > 0 else 1.0
        sent = (replacing if self.gamma is None else self.gamma) * scene.own
        if self.longest is None:
            return sent
        most = self.longest * float(np.median(np.linalg.norm(scene.benign, axis=1)))
        lengths = np.linalg.norm(sent, axis=1, keepdims=True)
        return np.asarray(sent * np.minimum(1.0, most / np.maximum(lengths, np.finfo(np.float64).tiny)))
