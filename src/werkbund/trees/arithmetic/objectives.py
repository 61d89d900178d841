"""What trees minimise: gradients and hessians of a row's loss in its score, in fixed point.

Every operation is an IEEE addition, multiplication or division in a fixed order, the exponential included: no
library's last digit decides about a split.

Gradients and hessians become whole numbers, so that their sums are exact in any order. A power of two makes scaling
itself exact. The exponent follows from the number of rows and from what one row can be at most, so that no sum over
all rows leaves 62 bits and no row leaves 31; sums of masked numbers modulo 2**64 come out the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from werkbund.core.arrays import Float64Array, Int32Array
from werkbund.core.errors import ClientError, ConfigError
from werkbund.core.threads import even_slices, num_threads, spread
from werkbund.trees.arithmetic.kernels import inlined, kernel

ObjectiveKind = Literal["logistic", "softmax", "squared", "share"]
OBJECTIVE_KINDS: tuple[ObjectiveKind, ...] = ("logistic", "softmax", "squared", "share")

MOST_TARGET = 1e100
"""A target that is a number must not be further from 0, nor all of them closer together than its inverse: splits
compare squares of sums."""

TARGET_REACH = 4.0
"""A score may stray so many ranges of the target from a target before squared error refuses to go on."""

MOST_LOG_ODDS = 1000.0
"""No leaf of a tree of classes has a value beyond this: far less makes any probability 0 or 1."""

_ROW_BITS, _SUM_BITS = 30, 62
_LEAST_BITS = 12  # a row at its bound must still differ from 0 in at least so many bits
_LEAST_CLASS_BITS = 8  # and a row of the class that counts least in so many


@dataclass(frozen=True)
class FixedPoint:
    """Say how gradients and hessians become whole numbers.

    Parameters
    ----------
    gradient_exponent, hessian_exponent
        A gradient g becomes `rint(g * 2**exponent)`.
    """

    gradient_exponent: int
    hessian_exponent: int

    @classmethod
    def agreed(cls, num_rows: int, gradient_bound: float, hessian_bound: float, most_draws: int = 1) -> FixedPoint:
        """Return the finest scales at which no sum can overflow.

        Parameters
        ----------
        num_rows
            Rows of all clients together.
        gradient_bound, hessian_bound
            What a row's gradient and hessian cannot exceed, above 0.
        most_draws
            How often a row may be drawn into one tree.

        Raises
        ------
        ConfigError
            If there are too many rows to keep enough bits of each.

        Examples
        --------
        >>> FixedPoint.agreed(10_000, 1.0, 0.25)
        FixedPoint(gradient_exponent=30, hessian_exponent=32)
        """
        room = min(_ROW_BITS, _SUM_BITS - math.ceil(math.log2(max(num_rows, 1) * most_draws)))
        if room < _LEAST_BITS:
            raise ConfigError(
                f"rows times draws must be at most 2**{_SUM_BITS - _LEAST_BITS} so that their sums fit 64 bits, "
                f"got {num_rows} times {most_draws}; sample rows"
            )
        return cls(*(room - math.ceil(math.log2(bound)) for bound in (gradient_bound, hessian_bound)))

    @property
    def gradient_scale(self) -> float:
        """Steps a unit of gradient."""
        return math.ldexp(1.0, self.gradient_exponent)

    @property
    def hessian_scale(self) -> float:
        """Steps a unit of hessian."""
        return math.ldexp(1.0, self.hessian_exponent)


@dataclass(frozen=True)
class Objective:
    """Say what is minimised.

    Parameters
    ----------
    kind
        `logistic`: two classes, one score, its logit. `softmax`: one score a class. `squared`: half the squared error
        of a number. `share`: the squared error of being in a class or not, for forests, whose leaves are then shares
        of rows: one score for two classes, else one a class.
    class_weights
        (classes,), what a row of each class counts; empty for `squared`.
    target_range
        Width of the range of the target, for `squared`.
    """

    kind: ObjectiveKind
    class_weights: tuple[float, ...] = (1.0, 1.0)
    target_range: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in OBJECTIVE_KINDS:
            raise ConfigError(f"objective must be one of {', '.join(OBJECTIVE_KINDS)}, got {self.kind!r}")
        least = {"logistic": 2, "softmax": 2, "squared": 0, "share": 2}[self.kind]
        most = {"logistic": 2, "softmax": 2**15, "squared": 0, "share": 2**15}[self.kind]
        if not least <= len(self.class_weights) <= most:
            raise ConfigError(f"{self.kind} needs {least}..{most} class weights, got {len(self.class_weights)}")
        if not all(0 < weight < math.inf for weight in self.class_weights):
            raise ConfigError(f"class weights must be above 0 and finite, got {self.class_weights}")
        if not 0 < self.target_range < math.inf:
            raise ConfigError(f"target_range must be above 0 and finite, got {self.target_range}")

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 for a number."""
        return len(self.class_weights)

    @property
    def num_outputs(self) -> int:
        """Number of scores a row."""
        return self.num_classes if self.kind == "softmax" or self.num_classes > 2 else 1

    @property
    def bounds(self) -> tuple[float, float]:
        """What a row's gradient and hessian cannot exceed."""
        heaviest = max(self.class_weights, default=1.0)
        gradient = TARGET_REACH * self.target_range if self.kind == "squared" else heaviest
        return gradient, heaviest * (0.25 if self.kind in ("logistic", "softmax") else 1.0)

    @property
    def most_value(self) -> float:
        """What a leaf's value cannot exceed that a client grew alone: a share, a few ranges of the target, log-odds."""
        return {"share": 1.0 + 1e-6, "squared": TARGET_REACH * self.target_range}.get(self.kind, MOST_LOG_ODDS)

    @property
    def leaf_range(self) -> tuple[float, float]:
        """Between which a leaf's value lies; of a share this is said, since sums without withheld cells may err."""
        return (0.0, 1.0) if self.kind == "share" else (-math.inf, math.inf)

    def fixed_point(self, num_rows: int, most_draws: int = 1) -> FixedPoint:
        """Return the scales at which sums over so many rows are exact.

        Raises
        ------
        ConfigError
            If there are too many rows, or one class counts so little that its rows would round to nothing.
        """
        gradient, hessian = self.bounds
        fixed = FixedPoint.agreed(num_rows, gradient, hessian, most_draws)
        if self.class_weights:
            _check_weights(self.class_weights, fixed)
        return fixed

    def gradients(
        self, sums: Float64Array, base: Float64Array, factor: float, targets: Float64Array, fixed: FixedPoint
    ) -> Int32Array:
        """Return the gradient and the hessian of each row in each score.

        Parameters
        ----------
        sums
            (rows, outputs), sums of the leaves' values so far.
        base, factor
            (outputs,) and a number: a score is base + factor * sum.
        targets
            (rows,), the class or the number.
        fixed
            Their scales.

        Returns
        -------
        pairs
            (outputs, rows, 2), int32.

        Raises
        ------
        ClientError
            If a target is no class of this objective, or a gradient is beyond its bound.
        """
        pairs = np.empty((self.num_outputs, len(targets), 2), np.int32)
        weights = np.array(self.class_weights or (1.0,))
        loss = _Loss(OBJECTIVE_KINDS.index(self.kind), weights, fixed.gradient_scale, fixed.hessian_scale)
        scores, refused = _Scores(sums, base, factor), list[int]()

        def work(rows: slice) -> None:
            refused.append(_gradients(loss, scores, targets, pairs, rows.start, rows.stop))

        steps = 20.0 * pairs.size
        spread(work, even_slices(len(targets), num_threads(steps)), steps)
        bad = sum(refused)
        if bad and self.kind == "squared":
            raise ClientError(
                f"gradients must stay within {TARGET_REACH:g} times the target's agreed range, {self.target_range:g}, "
                f"{bad} rows do not: lower the learning rate, or agree on the target's range anew"
            )
        if bad:
            raise ClientError(f"targets must be 0..{self.num_classes - 1}, got {bad} rows with another one")
        return pairs


def _check_weights(weights: tuple[float, ...], fixed: FixedPoint) -> None:
    """Refuse weights beside which the rows of the lightest class would round to next to nothing."""
    heaviest, lightest = max(weights), min(weights)
    most = heaviest * fixed.gradient_scale / 2.0**_LEAST_CLASS_BITS
    if heaviest > most * lightest:
        raise ConfigError(
            f"class weights must be within a factor of {most:.3g} of one another, so that rows of each class count "
            f"in sums of whole numbers, got a factor of {heaviest / lightest:.3g}; set a positive_weight nearer 1"
        )


_LOG2E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.6931471803691238, 1.9082149292705877e-10
_POWERS = np.ldexp(1.0, np.arange(-1022, 1024))
_C = tuple(1.0 / math.factorial(k) for k in range(14))
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = _C[2:]


@inlined
def _exponential(x: float) -> float:
    """Return exp(x) for x <= 0, within two units in the last place; 0 below -708.

    Cody and Waite's reduction to |r| <= ln(2) / 2, then Taylor's series to the 13th power.
    """
    if not x > -708.0:
        return 0.0
    n = np.rint(x * _LOG2E)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = _C8 + r * (_C9 + r * (_C10 + r * (_C11 + r * (_C12 + r * _C13))))
    p = _C2 + r * (_C3 + r * (_C4 + r * (_C5 + r * (_C6 + r * (_C7 + r * p)))))
    return float((1.0 + r * (1.0 + r * p)) * _POWERS[int(n) + 1022])


@kernel
def exponentials(x: Float64Array) -> Float64Array:
    """Return exp of numbers that are not positive."""
    y = np.empty_like(x)
    for i in range(len(x)):
        y[i] = _exponential(x[i])
    return y


class _Loss(NamedTuple):
    """What kernels read of an objective and its scales."""

    kind: int  # place in OBJECTIVE_KINDS
    class_weights: Float64Array
    gradient_scale: float
    hessian_scale: float


class _Scores(NamedTuple):
    """A row's score is base + factor * sum."""

    sums: Float64Array  # (rows, outputs)
    base: Float64Array  # (outputs,)
    factor: float


@inlined
def _put(pair: Int32Array, loss: _Loss, gradient: float, hessian: float) -> None:
    """Write a row's pair in fixed point."""
    pair[0] = int(np.rint(gradient * loss.gradient_scale))
    pair[1] = int(np.rint(hessian * loss.hessian_scale))


@inlined
def _logistic(loss: _Loss, score: float, positive: bool, pair: Int32Array) -> None:
    """Write the pair of the log loss: weight * (p - label) and weight * p * (1 - p), p being 1 / (1 + exp(-score))."""
    e = _exponential(-abs(score))
    small, large = e / (1.0 + e), 1.0 / (1.0 + e)  # the chances of the unlikelier and of the likelier class
    if positive:
        weight = loss.class_weights[1]
        gradient = -weight * (small if score >= 0 else large)
    else:
        weight = loss.class_weights[0]
        gradient = weight * (large if score >= 0 else small)
    _put(pair, loss, gradient, weight * (small * large))


@inlined
def _softmax(loss: _Loss, scores: _Scores, row: int, label: int, pairs: Int32Array, chances: Float64Array) -> None:
    """Write a row's pair in each score: weight * (p - hit) and weight * p * (1 - p); `chances` is room for the p."""
    outputs, weight = len(scores.base), loss.class_weights[label]
    highest = -np.inf
    for k in range(outputs):
        chances[k] = scores.base[k] + scores.factor * scores.sums[row, k]
        highest = max(highest, chances[k])
    total = 0.0
    for k in range(outputs):
        chances[k] = _exponential(chances[k] - highest)
        total += chances[k]
    for k in range(outputs):
        p = chances[k] / total
        _put(pairs[k, row], loss, weight * (p - (1.0 if k == label else 0.0)), weight * (p * (1.0 - p)))


@inlined
def _share(loss: _Loss, row: int, label: int, pairs: Int32Array) -> None:
    """Write a row's pair in each score: half the squared error of a share, at score 0."""
    outputs, weight = len(pairs), loss.class_weights[label]
    for k in range(outputs):
        hit = label == (1 if outputs == 1 else k)
        _put(pairs[k, row], loss, -weight if hit else 0.0, weight)


@kernel
def _gradients(loss: _Loss, scores: _Scores, targets: Float64Array, pairs: Int32Array, begin: int, end: int) -> int:
    """Write the pairs of rows `begin` to `end`; return how many rows could not be given any."""
    bad, kind, classes = 0, loss.kind, len(loss.class_weights)
    base, factor, sums = scores.base, scores.factor, scores.sums
    chances = np.empty(len(base))
    limit = 2.0**30
    for row in range(begin, end):
        target = targets[row]
        if kind != 2 and not (target >= 0 and target < classes and target == np.floor(target)):
            bad += 1
        elif kind == 0:
            _logistic(loss, base[0] + factor * sums[row, 0], target > 0.5, pairs[0, row])
        elif kind == 1:
            _softmax(loss, scores, row, int(target), pairs, chances)
        elif kind == 2:
            gradient = np.rint((base[0] + factor * sums[row, 0] - target) * loss.gradient_scale)
            if not abs(gradient) <= limit:
                bad += 1
            else:
                pairs[0, row, 0] = int(gradient)
                pairs[0, row, 1] = int(loss.hessian_scale)
        else:
            _share(loss, row, int(target), pairs)
    return bad
