"""What happens to a batch between its matrix products, compiled: activations, loss, optimisers and shuffles.

Constants are float32, since one double in an expression would make it double as a whole.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from werkbund.core.arrays import Float32Array, Int64Array, UInt64Array
from werkbund.learner.fused_tiles import compiled, power_of_two


class Recipe(NamedTuple):
    """Hold a training plan as numbers."""

    activation: int  # 0 relu, 1 tanh, 2 silu, 3 gelu
    optimizer: int  # 0 sgd, 1 adam, 2 adamw
    learning_rate: float
    momentum: float
    weight_decay: float
    clip_norm: float  # 0: none
    positive_weight: float
    proximal: float
    epochs: int
    steps: int  # 0: as many as the epochs need
    batch_size: int


_ZERO, _HALF, _ONE, _TWO = (np.float32(x) for x in (0, 0.5, 1, 2))
_LOG2E, _LN2, _LOWEST = np.float32(1.44269504), np.float32(0.693147181), np.float32(-87.0)
_E1, _E2, _E3, _E4, _E5, _E6 = (np.float32(1 / math.factorial(k)) for k in range(2, 8))
_ROOT_HALF, _PDF = np.float32(math.sqrt(0.5)), np.float32(1 / math.sqrt(2 * math.pi))
_P, _C1, _C2, _C3, _C4, _C5 = (
    np.float32(x) for x in (0.3275911, 0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
)
_BETA1, _BETA2, _REST1, _REST2, _EPSILON = (np.float32(x) for x in (0.9, 0.999, 0.1, 0.001, 1e-8))
_FULL = 1e100
_GOLDEN, _SHIFT1, _SHIFT2, _SHIFT3 = np.uint64(0x9E3779B97F4A7C15), np.uint64(30), np.uint64(27), np.uint64(31)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@compiled(inline=True)
def exponential(x: Any) -> Any:
    """Return exp(x) for x <= 0 to float32 precision, by a polynomial that vectorises; 0 below -87."""
    y = _LOWEST if x < _LOWEST else x
    n = np.rint(y * _LOG2E) if y == y else _ZERO
    r = y - n * _LN2
    p = _E4 + r * (_E5 + r * _E6)
    p = _ONE + r * (_ONE + r * (_E1 + r * (_E2 + r * (_E3 + r * p))))
    return p * power_of_two(n)


@compiled(inline=True, reorder=True)
def dot(a: Float32Array, b: Float32Array) -> Any:
    """Return the inner product, summed lane by lane."""
    total = _ZERO
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@compiled(inline=True, reorder=True)
def total(a: Float32Array) -> Any:
    """Return the sum, lane by lane."""
    result = _ZERO
    for i in range(len(a)):
        result += a[i]
    return result


@compiled()
def activate(above: Float32Array, slope: Float32Array, kind: int) -> None:
    """Apply the activation in place, and keep its derivative: for relu, the output itself says where it is 1."""
    if kind == 0:
        for i in range(len(above)):
            above[i] = _ZERO if above[i] < _ZERO else above[i]
    elif kind == 1:
        for i in range(len(above)):
            t = exponential(-_TWO * abs(above[i]))
            h = (_ONE - t) / (_ONE + t)
            above[i] = -h if above[i] < _ZERO else h
            slope[i] = _ONE - h * h
    elif kind == 2:
        for i in range(len(above)):
            t = exponential(-abs(above[i]))
            p = (t if above[i] < _ZERO else _ONE) / (_ONE + t)
            slope[i] = p * (_ONE + above[i] * (_ONE - p))
            above[i] = above[i] * p
    else:
        for i in range(len(above)):
            z = above[i]
            x = abs(z) * _ROOT_HALF
            t = _ONE / (_ONE + _P * x)
            e = exponential(-x * x)
            tail = _HALF * t * (_C1 + t * (_C2 + t * (_C3 + t * (_C4 + t * _C5)))) * e
            p = tail if z < _ZERO else _ONE - tail
            slope[i] = p + z * _PDF * e
            above[i] = z * p


@compiled()
def gate(delta: Float32Array, above: Float32Array, slope: Float32Array, kind: int) -> None:
    """Multiply the gradient of an activation's output by its derivative."""
    if kind == 0:
        for i in range(len(delta)):
            delta[i] = _ZERO if above[i] <= _ZERO else delta[i]
    else:
        for i in range(len(delta)):
            delta[i] *= slope[i]


@compiled(reorder=True)
def errors(logits: Float32Array, labels: Float32Array, slopes: Float32Array, positive_weight: float) -> float:
    """Write the gradient of the mean loss by the logits, and return the summed loss (binary cross-entropy).

    The logarithms of many rows are one logarithm of a product: each factor 1 + exp(-|z|) is at most 2.
    """
    rows, extra = len(logits), np.float32(positive_weight - 1)
    share, total = _ONE / np.float32(rows), 0.0
    positive, negative = 1.0, 1.0
    for first in range(0, rows, 256):
        last = min(first + 256, rows)
        z, y, g = logits[first:last], labels[first:last], slopes[first:last]
        linear = _ZERO
        for i in range(len(z)):
            t = exponential(-abs(z[i]))
            weight = _ONE + extra * y[i]
            p = (t if z[i] < _ZERO else _ONE) / (_ONE + t)
            linear += (_ONE - y[i]) * z[i] + weight * (-z[i] if z[i] < _ZERO else _ZERO)
            positive *= 1.0 + np.float64(t if y[i] > _HALF else _ZERO)
            negative *= 1.0 + np.float64(_ZERO if y[i] > _HALF else t)
            g[i] = share * (p * weight - (_ONE + extra) * y[i])
        total += np.float64(linear)
        if positive > _FULL or negative > _FULL:
            total += positive_weight * math.log(positive) + math.log(negative)
            positive, negative = 1.0, 1.0
    return total + positive_weight * math.log(positive) + math.log(negative)


@compiled()
def amend(
    g: Float32Array, w: Float32Array, begin: Float32Array, correction: Float32Array, pull: float, recipe: Recipe
) -> None:
    """Add the correction, if there is one, and clip; then add the pull towards the start and the L2 term."""
    for i in range(len(correction)):
        g[i] += correction[i]
    if recipe.clip_norm > 0:
        scale = np.float32(recipe.clip_norm) / max(np.sqrt(dot(g, g)), np.float32(1e-12))
        if scale < _ONE:
            for i in range(len(g)):
                g[i] *= scale
    strength = np.float32(recipe.proximal + pull)
    if strength > 0:
        for i in range(len(g)):
            g[i] += strength * (w[i] - begin[i])
    if recipe.weight_decay > 0 and recipe.optimizer < 2:
        decay = np.float32(recipe.weight_decay)
        for i in range(len(g)):
            g[i] += decay * w[i]


@compiled()
def update(
    w: Float32Array, g: Float32Array, first: Float32Array, second: Float32Array, recipe: Recipe, step: int
) -> None:
    """Take one step of the optimiser, as `werkbund.learner.plan` defines it."""
    rate = np.float32(recipe.learning_rate)
    if recipe.optimizer == 0 and recipe.momentum == 0:
        for i in range(len(w)):
            w[i] -= rate * g[i]
    elif recipe.optimizer == 0:
        keep = np.float32(recipe.momentum)
        for i in range(len(w)):
            first[i] = keep * first[i] + g[i]
            w[i] -= rate * first[i]
    else:
        shrink = np.float32(1 - recipe.learning_rate * recipe.weight_decay) if recipe.optimizer == 2 else _ONE
        unbias1 = np.float32(1 / (1 - 0.9**step))
        unbias2 = np.float32(1 / (1 - 0.999**step))
        for i in range(len(w)):
            first[i] = _BETA1 * first[i] + _REST1 * g[i]
            second[i] = _BETA2 * second[i] + _REST2 * g[i] * g[i]
            w[i] = w[i] * shrink - rate * (first[i] * unbias1) / (np.sqrt(second[i] * unbias2) + _EPSILON)


@compiled(inline=True)
def mix(z: Any) -> Any:
    """Scramble 64 bits as `werkbund.core.rng.mix` does."""
    z ^= z >> _SHIFT1
    z *= _MIX1
    z ^= z >> _SHIFT2
    z *= _MIX2
    return z ^ (z >> _SHIFT3)


@compiled()
def shuffle(
    key: Any, epoch: int, hashed: UInt64Array, ranked: UInt64Array, order: Int64Array, counts: Int64Array
) -> None:
    """Write the order of `werkbund.core.rng.shuffles`: row numbers by their hashed keys.

    Hashes are evenly spread, so that counting by their leading bits leaves next to nothing to sort. No two of a
    client's rows have the same hash: the scrambling is one to one.
    """
    size = len(hashed)
    bits = 1
    while (1 << bits) < size:
        bits += 1
    drop = np.uint64(64 - bits)
    for i in range((1 << bits) + 1):
        counts[i] = 0
    base = key ^ mix(np.uint64(epoch) + np.uint64(1))
    for i in range(size):
        hashed[i] = mix(base + np.uint64(i + 1) * _GOLDEN)
        counts[np.int64(hashed[i] >> drop) + 1] += 1
    for i in range(1 << bits):
        counts[i + 1] += counts[i]
    for i in range(size):
        bucket = np.int64(hashed[i] >> drop)
        ranked[counts[bucket]], order[counts[bucket]] = hashed[i], i
        counts[bucket] += 1
    for i in range(1, size):
        rank, row, j = ranked[i], order[i], i
        while j > 0 and ranked[j - 1] > rank:
            ranked[j], order[j] = ranked[j - 1], order[j - 1]
            j -= 1
        ranked[j], order[j] = rank, row
