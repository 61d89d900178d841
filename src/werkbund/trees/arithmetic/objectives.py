"""What trees minimise: gradients and hessians of a row's loss in its score, in fixed point.

Every operation is an IEEE addition, multiplication or division in a fixed order, the exponential included: no
library's last digit decides about a split.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from werkbund.core.arrays import Float64Array, Int32Array
from werkbund.core.errors import ClientError, ConfigError
from werkbund.trees.arithmetic.fixed import FixedPoint
from werkbund.trees.arithmetic.jit import kernel, part
from werkbund.trees.arithmetic.threads import num_threads, pieces, spread

Kind = Literal["logistic", "softmax", "squared", "share"]
KINDS: tuple[Kind, ...] = ("logistic", "softmax", "squared", "share")

TARGET_REACH = 4.0
"""A score may stray so many ranges of the target from a target before squared error refuses to go on."""


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

    kind: Kind
    class_weights: tuple[float, ...] = (1.0, 1.0)
    target_range: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"objective must be one of {', '.join(KINDS)}, got {self.kind!r}")
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

    def fixed_point(self, num_rows: int, most_draws: int = 1) -> FixedPoint:
        """Return the scales at which sums over so many rows are exact."""
        heaviest = max(self.class_weights, default=1.0)
        gradient = TARGET_REACH * self.target_range if self.kind == "squared" else heaviest
        hessian = heaviest * (0.25 if self.kind in ("logistic", "softmax") else 1.0)
        return FixedPoint.agreed(num_rows, gradient, hessian, most_draws)

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
        scales = np.array([fixed.gradient_scale, fixed.hessian_scale])
        kind, wrong = KINDS.index(self.kind), list[int]()

        def work(rows: slice) -> None:
            place = rows.start, rows.stop
            wrong.append(_gradients(kind, sums, base, factor, targets, weights, scales, pairs, *place))

        steps = 20.0 * pairs.size
        spread(work, pieces(len(targets), num_threads(steps)), steps)
        bad = sum(wrong)
        if bad and self.kind == "squared":
            raise ClientError(
                f"gradients must stay within {TARGET_REACH:g} times the target's agreed range, {self.target_range:g}, "
                f"{bad} rows do not: lower the learning rate, or agree on the target's range anew"
            )
        if bad:
            raise ClientError(f"targets must be 0..{self.num_classes - 1}, got {bad} rows with another one")
        return pairs


_LOG2E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.6931471803691238, 1.9082149292705877e-10
_POWERS = np.ldexp(1.0, np.arange(-1022, 1024))
_C = tuple(1.0 / math.factorial(k) for k in range(14))
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = _C[2:]


@part
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


@part
def _logistic(i: int, z: float, y: float, weights: Float64Array, scales: Float64Array, pairs: Int32Array) -> None:
    e = _exponential(-abs(z))
    small, large = e / (1.0 + e), 1.0 / (1.0 + e)
    if y > 0.5:
        g = -weights[1] * (small if z >= 0 else large)
        w = weights[1]
    else:
        g = weights[0] * (large if z >= 0 else small)
        w = weights[0]
    pairs[0, i, 0] = int(np.rint(g * scales[0]))
    pairs[0, i, 1] = int(np.rint(w * (small * large) * scales[1]))


@part
def _softmax(
    i: int, sums: Float64Array, base: Float64Array, factor: float, y: int, w: float, scales: Float64Array,
    pairs: Int32Array, room: Float64Array,
) -> None:  # fmt: skip
    outputs = len(base)
    highest = -np.inf
    for k in range(outputs):
        room[k] = base[k] + factor * sums[i, k]
        highest = max(highest, room[k])
    total = 0.0
    for k in range(outputs):
        room[k] = _exponential(room[k] - highest)
        total += room[k]
    for k in range(outputs):
        p = room[k] / total
        pairs[k, i, 0] = int(np.rint(w * (p - (1.0 if k == y else 0.0)) * scales[0]))
        pairs[k, i, 1] = int(np.rint(w * (p * (1.0 - p)) * scales[1]))


@kernel
def _gradients(
    kind: int, sums: Float64Array, base: Float64Array, factor: float, targets: Float64Array, weights: Float64Array,
    scales: Float64Array, pairs: Int32Array, begin: int, end: int,
) -> int:  # fmt: skip
    """Write the pairs of all rows; return how many rows could not be given any."""
    bad, outputs, classes = 0, len(base), len(weights)
    room = np.empty(outputs)
    limit = 2.0**30
    for i in range(begin, end):
        y = targets[i]
        if kind != 2 and not (y >= 0 and y < classes and y == np.floor(y)):
            bad += 1
        elif kind == 0:
            _logistic(i, base[0] + factor * sums[i, 0], y, weights, scales, pairs)
        elif kind == 1:
            _softmax(i, sums, base, factor, int(y), weights[int(y)], scales, pairs, room)
        elif kind == 2:
            g = np.rint((base[0] + factor * sums[i, 0] - y) * scales[0])
            if not abs(g) <= limit:
                bad += 1
            else:
                pairs[0, i, 0] = int(g)
                pairs[0, i, 1] = int(scales[1])
        else:
            w = weights[int(y)]
            for k in range(outputs):
                hit = int(y) == (1 if outputs == 1 else k)
                pairs[k, i, 0] = int(np.rint((-w if hit else 0.0) * scales[0]))
                pairs[k, i, 1] = int(np.rint(w * scales[1]))
    return bad
