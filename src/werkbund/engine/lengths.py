"""How long the updates of a round are: what is usual, what is told of, what is clipped, and what is no update at all.

A length is per unit of weight, so that it does not depend on how many rows a client has. What is usual is the middle of
all that came, which a few liars cannot move.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from werkbund.aggregation.contract import UPDATE, Carry
from werkbund.core.arrays import AnyArray, Arrays, Float32Array, Float64Array, Int64Array

OUTLYING = 10.0
"""An update so many times as long as the middle one of its round, and longer than the weights, is told of."""

USELESS = 1000.0
"""One so many times as long is no update, and is not folded."""

FEWEST = 3
"""Updates of which a middle says what is usual."""

MOST_WEIGHT = 1e6
"""No weight of a model is beyond this, nor what an aggregator keeps from round to round beyond float32."""


@dataclass(frozen=True)
class LengthLimits:
    """Say how long updates may be.

    Parameters
    ----------
    clip_norm
        Longer updates are shortened to this; None for none.
    usual
        The middle length of each array that is folded, by name, in the last round of which it was known.
    weights_norm
        Length of the weights: an update no longer than they, or than 1, cannot ruin them.
    weighted
        Names of the arrays that have the update's weight, as the update has: their lengths are per unit of it.
    """

    clip_norm: float | None = None
    usual: Mapping[str, float] = field(default_factory=dict)
    weights_norm: float = 0.0
    weighted: frozenset[str] = frozenset({UPDATE})

    @property
    def floor(self) -> float:
        """No update is useless that is not longer than this."""
        return max(self.weights_norm, 1.0)

    def before(self, name: str) -> float:
        """Return up to which length an array surely can be used, whatever else comes in this round."""
        return max(USELESS * self.usual[name], self.floor) if name in self.usual else 0.0


@dataclass
class Lengths:
    """Measure what comes in a round, clip it, and say in the end what was no update.

    Parameters
    ----------
    limits
        How long updates may be.
    known
        (k,) lengths by array and client, as they would be folded.
    raw
        Of updates before they were clipped, by client.
    """

    limits: LengthLimits
    known: dict[str, dict[int, float]] = field(default_factory=dict)
    raw: dict[int, float] = field(default_factory=dict)

    def measured(self, clients: Int64Array, arrays: Arrays, weights: Float64Array) -> Arrays:
        """Take in what clients (k,) send, (k, ...) by name, with weights (k,); return it clipped."""
        for name, rows in arrays.items():
            lengths = lengths_of(rows)
            if name in self.limits.weighted:
                lengths = _per_weight(lengths, weights)
            if name == UPDATE:
                self.raw |= zip(clients.tolist(), lengths.tolist(), strict=True)
                arrays, lengths = self._clipped(arrays, lengths)
            self.known.setdefault(name, {}).update(zip(clients.tolist(), lengths.tolist(), strict=True))
        return arrays

    def is_doubtful(self, client: int) -> bool:
        """Say whether what a client sent may turn out to be useless."""
        return any(not own[client] <= self.limits.before(name) for name, own in self.known.items() if client in own)

    def useless(self) -> dict[int, str]:
        """Return which clients sent no update, each with why."""
        found: dict[int, str] = {}
        for name, own in self.known.items():
            middle, many = self._middle(name), len(_positive(own)) >= FEWEST
            now = max(USELESS * middle, self.limits.floor) if many else USELESS * max(middle, self.limits.floor)
            most = max(now, self.limits.before(name))
            usual = f"the middle one of its round is {middle:.3g}" if many else f"{most:.3g} is the most that can be"
            reason = "its {} is {:.3g} long for each unit of its weight, and {}: it is no update"
            found |= {client: reason.format(name, long, usual) for client, long in own.items() if not long <= most}
        return found

    @property
    def usual(self) -> Mapping[str, float]:
        """The middle lengths after this round."""
        return {name: middle for name in {**self.limits.usual, **self.known} if (middle := self._middle(name)) > 0}

    @property
    def outlying(self) -> tuple[tuple[int, float], ...]:
        """Clients whose updates are far longer than the middle one, ascending, each with the length."""
        middle = self._middle(UPDATE)
        if len(_positive(self.known.get(UPDATE, {}))) < FEWEST:
            return ()
        least = max(OUTLYING * middle, self.limits.floor)  # where most have learnt their rows, few still take steps
        return tuple(sorted((client, long) for client, long in self.raw.items() if not long <= least))

    @property
    def clipped(self) -> tuple[int, ...]:
        """Clients whose updates were shortened, ascending."""
        clip = self.limits.clip_norm
        return () if clip is None else tuple(sorted(client for client, long in self.raw.items() if long > clip))

    def _middle(self, name: str) -> float:
        """Return the middle length of what came, or else of an earlier round; 0 where neither is known."""
        lengths = sorted(_positive(self.known.get(name, {})))  # a tenth of NumPy's time for as few as these
        last = len(lengths) - 1
        if len(lengths) < FEWEST:
            return self.limits.usual.get(name, 0.0)
        return (lengths[last // 2] + lengths[(last + 1) // 2]) / 2

    def _clipped(self, arrays: Arrays, lengths: Float64Array) -> tuple[Arrays, Float64Array]:
        clip = self.limits.clip_norm
        if clip is None or not (lengths > clip).any():
            return arrays, lengths
        with np.errstate(invalid="ignore"):
            factors = np.where(np.isfinite(lengths), np.minimum(1.0, clip / np.maximum(lengths, clip)), np.nan)
        shortened = arrays[UPDATE] * factors[:, None].astype(np.float32)
        return {**arrays, UPDATE: shortened}, lengths * factors


def lengths_of(rows: AnyArray) -> Float64Array:
    """Return the Euclidean norm of each row, (k,); infinite where its square is beyond the rows' type."""
    flat = rows.reshape(len(rows), -1)
    numbers = flat if flat.dtype.kind == "f" else flat.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        squared: Float64Array = np.vecdot(numbers, numbers).astype(np.float64)
        return np.asarray(np.sqrt(squared))


def unusable_result(weights: Float32Array, carry: Carry) -> str:
    """Return why a round's result cannot be the next state; empty where it can.

    Parameters
    ----------
    weights
        (parameters,)
    carry
        What the aggregator keeps.
    """
    odd = [name for name, array in carry.items() if not np.isfinite(array).all()]
    if odd:
        return f"the aggregator's {', '.join(odd)} would not be finite"
    if len(weights) and not (weights.min() >= -MOST_WEIGHT and weights.max() <= MOST_WEIGHT):  # not so for NaN
        return f"a weight would be beyond {MOST_WEIGHT:g}, or no number"
    return ""


def _per_weight(lengths: Float64Array, weights: Float64Array) -> Float64Array:
    """Return lengths per unit of weight; infinite where there is an update and no weight."""
    nothing = np.where(lengths > 0, np.inf, 0.0)
    return np.divide(lengths, weights, out=nothing, where=weights > 0)


def _positive(own: Mapping[int, float]) -> list[float]:
    return [length for length in own.values() if 0 < length < np.inf]
