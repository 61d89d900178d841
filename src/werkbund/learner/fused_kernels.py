"""Training and scoring of chains of linear layers, compiled: one client's whole local training in one call.

A thread works on one flat float32 array that holds everything of one client: weights, gradients, moments and the
activations of a batch, at the offsets of `Places` and of a table of layers. Matrices are padded with zeros to rows of
a multiple of 16. A layer's weights lie as (in, out), so that products run along the outputs, and behind each update
a transposed copy is made for the way back.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, get_type_hints

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from werkbund.learner.fused_tiles import (
    compiled,
    power_of_two,
    tile_1x16,
    tile_1x32,
    tile_4x16,
    tile_4x32,
    transpose_16x16,
)

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

# Columns of the table of hidden layers, (layers, 11): widths, padded widths, and offsets into the flat array of
# weights (in, out), bias, transposed copy, input, output, derivative of the activation, gradient of the output.
INPUTS, OUTPUTS, ROW_IN, ROW_OUT, WEIGHT, BIAS, COPY, BELOW, ABOVE, SLOPE, DELTA = range(11)


class Places(NamedTuple):
    """Say where things lie in the flat array."""

    one: int  # a single 1; zeros lie at offset 0
    row: int  # padded width of the last hidden layer, or of the input if there is none
    inputs: int  # padded width of the input
    rows: int  # the batch's features
    top: int  # output of the last hidden layer
    head: int  # weights of the last layer, its bias behind them
    block: int  # all weights; then the same again for gradients, start, first and second moments
    length: int  # length of one such block
    labels: int
    logits: int
    errors: int


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


@compiled()
def carry(target: Floats, at: int, source: Floats, start: int, length: int) -> None:
    """Copy a piece of one array into another."""
    to, of = target[at : at + length], source[start : start + length]  # else each index is tested for its sign
    for i in range(length):
        to[i] = of[i]


@compiled(types.none(types.float32[::1], *[types.int64] * 11))
def multiply(
    s: Floats,
    c: int,
    c_row: int,
    a: int,
    a_row: int,
    a_column: int,
    b: int,
    b_row: int,
    start: int,
    rows: int,
    columns: int,
    depth: int,
) -> None:
    """Write start + a b to c, in tiles: (rows, depth) times (depth, columns), columns a multiple of 16."""
    whole = rows - rows % 4
    for j in range(0, columns - 16, 32):
        for i in range(0, whole, 4):
            tile_4x32(s, c + i * c_row + j, c_row, a + i * a_row, a_row, a_column, b + j, b_row, start + j, depth)
        for i in range(whole, rows):
            tile_1x32(s, c + i * c_row + j, c_row, a + i * a_row, a_row, a_column, b + j, b_row, start + j, depth)
    if columns % 32:
        j = columns - 16
        for i in range(0, whole, 4):
            tile_4x16(s, c + i * c_row + j, c_row, a + i * a_row, a_row, a_column, b + j, b_row, start + j, depth)
        for i in range(whole, rows):
            tile_1x16(s, c + i * c_row + j, c_row, a + i * a_row, a_row, a_column, b + j, b_row, start + j, depth)


@compiled()
def transpose(s: Floats, target: int, source: int, rows: int, columns: int) -> None:
    """Write the transpose of a (rows, columns) matrix, both multiples of 16."""
    for i in range(0, rows, 16):
        for j in range(0, columns, 16):
            transpose_16x16(s, target + j * rows + i, rows, source + i * columns + j, columns)


@compiled(inline=True)
def exponential(x: Any) -> Any:
    """Return exp(x) for x <= 0 to float32 precision, by a polynomial that vectorises; 0 below -87."""
    y = _LOWEST if x < _LOWEST else x
    n = np.rint(y * _LOG2E) if y == y else _ZERO
    r = y - n * _LN2
    p = _E4 + r * (_E5 + r * _E6)
    p = _ONE + r * (_ONE + r * (_E1 + r * (_E2 + r * (_E3 + r * p))))
    return p * power_of_two(n)


@compiled()
def activate(above: Floats, slope: Floats, kind: int) -> None:
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
def gate(delta: Floats, above: Floats, slope: Floats, kind: int) -> None:
    """Multiply the gradient of an activation's output by its derivative."""
    if kind == 0:
        for i in range(len(delta)):
            delta[i] = _ZERO if above[i] <= _ZERO else delta[i]
    else:
        for i in range(len(delta)):
            delta[i] *= slope[i]


@compiled(inline=True, reorder=True)
def dot(a: Floats, b: Floats) -> Any:
    """Return the inner product, summed lane by lane."""
    total = _ZERO
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@compiled(inline=True, reorder=True)
def total(a: Floats) -> Any:
    """Return the sum, lane by lane."""
    result = _ZERO
    for i in range(len(a)):
        result += a[i]
    return result


@compiled()
def forward(s: Floats, layers: Ints, places: Places, kind: int, rows: int) -> None:
    """Compute the logits of the batch."""
    for i in range(len(layers)):
        row, above = layers[i, ROW_OUT], layers[i, ABOVE]
        below, row_in = layers[i, BELOW], layers[i, ROW_IN]
        multiply(s, above, row, below, row_in, 1, layers[i, WEIGHT], row, layers[i, BIAS], rows, row, layers[i, INPUTS])
        slope = layers[i, SLOPE]
        activate(s[above : above + rows * row], s[slope : slope + rows * row], kind)
    width, head, top = places.row, s[places.head : places.head + places.row], places.top
    for i in range(rows):
        s[places.logits + i] = dot(s[top + i * width : top + (i + 1) * width], head) + s[places.head + width]


@compiled(reorder=True)
def errors(logits: Floats, labels: Floats, slopes: Floats, positive_weight: float) -> float:
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
def backward(s: Floats, layers: Ints, places: Places, kind: int, rows: int) -> None:
    """Write the gradient of the mean loss into the block behind the weights."""
    shift, row, e = places.length, places.row, places.errors
    multiply(s, places.head + shift, row, e, 0, 1, places.top, row, 0, 1, row, rows)
    s[places.head + shift + row] = total(s[e : e + rows])
    for i in range(len(layers) - 1, -1, -1):
        row, delta, above, slope = layers[i, ROW_OUT], layers[i, DELTA], layers[i, ABOVE], layers[i, SLOPE]
        if i == len(layers) - 1:
            multiply(s, delta, row, e, 1, 0, places.head, row, 0, rows, row, 1)
        else:
            outputs, up = layers[i + 1, OUTPUTS], layers[i + 1, ROW_OUT]
            multiply(s, delta, row, layers[i + 1, DELTA], up, 1, layers[i + 1, COPY], row, 0, rows, row, outputs)
        end = rows * row
        gate(s[delta : delta + end], s[above : above + end], s[slope : slope + end], kind)
        below, row_in = layers[i, BELOW], layers[i, ROW_IN]
        multiply(s, layers[i, WEIGHT] + shift, row, below, 1, row_in, delta, row, 0, layers[i, INPUTS], row, rows)
        multiply(s, layers[i, BIAS] + shift, row, places.one, 0, 0, delta, row, 0, 1, row, rows)


@compiled(reorder=True)
def update(w: Floats, g: Floats, begin: Floats, first: Floats, second: Floats, recipe: Recipe, step: int) -> None:
    """Take one step of the optimiser, as `werkbund.learner.optimizers` defines it."""
    rate, decay = np.float32(recipe.learning_rate), np.float32(recipe.weight_decay)
    if recipe.clip_norm > 0:
        scale = np.float32(recipe.clip_norm) / max(np.sqrt(dot(g, g)), np.float32(1e-12))
        if scale < _ONE:
            for i in range(len(g)):
                g[i] *= scale
    if recipe.proximal > 0:
        pull = np.float32(recipe.proximal)
        for i in range(len(g)):
            g[i] += pull * (w[i] - begin[i])
    if recipe.weight_decay > 0 and recipe.optimizer < 2:
        for i in range(len(g)):
            g[i] += decay * w[i]
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
        one = np.float32(1 / (1 - 0.9**step))
        two = np.float32(1 / (1 - 0.999**step))
        for i in range(len(w)):
            first[i] = _BETA1 * first[i] + _REST1 * g[i]
            second[i] = _BETA2 * second[i] + _REST2 * g[i] * g[i]
            w[i] = w[i] * shrink - rate * (first[i] * one) / (np.sqrt(second[i] * two) + _EPSILON)


@compiled()
def unpack(s: Floats, layers: Ints, places: Places, vector: Floats) -> None:
    """Read a flat vector of weights, each layer (out, in) and its bias, into the working layout."""
    at = 0
    for i in range(len(layers)):
        inputs, outputs, row, copy = layers[i, INPUTS], layers[i, OUTPUTS], layers[i, ROW_IN], layers[i, COPY]
        for j in range(outputs):
            carry(s, copy + j * row, vector, at + j * inputs, inputs)
        transpose(s, layers[i, WEIGHT], copy, layers[i, ROW_OUT], row)
        carry(s, layers[i, BIAS], vector, at + inputs * outputs, outputs)
        at += (inputs + 1) * outputs
    width = len(vector) - at - 1
    carry(s, places.head, vector, at, width)
    carry(s, places.head + places.row, vector, at + width, 1)


@compiled()
def pack(s: Floats, layers: Ints, places: Places, vector: Floats) -> None:
    """Write the weights as a flat vector."""
    at = 0
    for i in range(len(layers)):
        inputs, outputs, row, copy = layers[i, INPUTS], layers[i, OUTPUTS], layers[i, ROW_IN], layers[i, COPY]
        transpose(s, copy, layers[i, WEIGHT], row, layers[i, ROW_OUT])
        for j in range(outputs):
            carry(vector, at + j * inputs, s, copy + j * row, inputs)
        carry(vector, at + inputs * outputs, s, layers[i, BIAS], outputs)
        at += (inputs + 1) * outputs
    width = len(vector) - at - 1
    carry(vector, at, s, places.head, width)
    carry(vector, at + width, s, places.head + places.row, 1)


@compiled(inline=True)
def mix(z: Any) -> Any:
    """Scramble 64 bits as `werkbund.core.rng.mix` does."""
    z ^= z >> _SHIFT1
    z *= _MIX1
    z ^= z >> _SHIFT2
    z *= _MIX2
    return z ^ (z >> _SHIFT3)


@compiled()
def shuffle(key: Any, epoch: int, hashed: Words, ranked: Words, order: Ints, counts: Ints) -> None:
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


@compiled()
def train_client(
    s: Floats,
    layers: Ints,
    places: Places,
    recipe: Recipe,
    x: Floats,
    y: Floats,
    key: Any,
    words: Words,
    order: Ints,
    counts: Ints,
) -> float:
    """Take all steps of one client with rows x (rows, features); return the mean loss of the rows drawn."""
    size, width, n = len(x), recipe.batch_size, places.length
    a_pass = (size + width - 1) // width
    steps = recipe.steps if recipe.steps > 0 else recipe.epochs * a_pass
    block = places.block
    w, g, begin = s[block : block + n], s[block + n : block + 2 * n], s[block + 2 * n : block + 3 * n]
    first, second = s[block + 3 * n : block + 4 * n], s[block + 4 * n : block + 5 * n]
    if recipe.optimizer > 0 or recipe.momentum > 0:
        for i in range(n):
            first[i], second[i] = _ZERO, _ZERO
    loss, drawn = 0.0, 0
    for step in range(steps):
        batch = step % a_pass
        if batch == 0:
            shuffle(key, step // a_pass, words[0, :size], words[1, :size], order[:size], counts)
        rows = min(width, size - batch * width)
        for i in range(rows):
            row = order[batch * width + i]
            carry(s, places.rows + i * places.inputs, x[row], 0, x.shape[1])
            s[places.labels + i] = y[row]
        forward(s, layers, places, recipe.activation, rows)
        e, z, t = places.errors, places.logits, places.labels
        loss += errors(s[z : z + rows], s[t : t + rows], s[e : e + rows], recipe.positive_weight)
        drawn += rows
        backward(s, layers, places, recipe.activation, rows)
        update(w, g, begin, first, second, recipe, step + 1)
        for i in range(1, len(layers)):
            transpose(s, layers[i, COPY], layers[i, WEIGHT], layers[i, ROW_IN], layers[i, ROW_OUT])
    return loss / drawn


_INTS, _INT_TABLE = types.Array(types.int64, 1, "C", readonly=True), types.Array(types.int64, 2, "C", readonly=True)
_KEYS, _FLOATS = types.Array(types.uint64, 1, "C", readonly=True), types.Array(types.float32, 1, "C", readonly=True)
_FLOAT_TABLE = types.Array(types.float32, 2, "C", readonly=True)
_PLACES = numba.typeof(Places(*[0] * len(Places._fields)))
_RECIPE = numba.typeof(Recipe(*(kind(0) for kind in get_type_hints(Recipe).values())))


@compiled(
    types.none(
        types.float32[::1], _INT_TABLE, _PLACES, _RECIPE, _FLOAT_TABLE, _FLOATS, _INTS, _INTS, _FLOAT_TABLE, _KEYS,
        types.uint64[:, ::1], types.int64[::1], types.int64[::1], types.float32[:, ::1], types.float64[::1],
    ),
    cache=True,
)  # fmt: skip
def train_clients(
    s: Floats,
    layers: Ints,
    places: Places,
    recipe: Recipe,
    x: Floats,
    y: Floats,
    offsets: Ints,
    clients: Ints,
    start: Floats,
    keys: Words,
    words: Words,
    order: Ints,
    counts: Ints,
    weights: Floats,
    loss: Doubles,
) -> None:
    """Train each client that has rows, one after the other; `start` has one row, or one a client."""
    block, n = places.block, places.length
    for i in range(len(clients)):
        first, last = offsets[clients[i]], offsets[clients[i] + 1]
        if i == 0 or len(start) > 1:
            unpack(s, layers, places, start[min(i, len(start) - 1)])
            carry(s, block + 2 * n, s, block, n)
        else:
            carry(s, block, s, block + 2 * n, n)
            for k in range(1, len(layers)):
                transpose(s, layers[k, COPY], layers[k, WEIGHT], layers[k, ROW_IN], layers[k, ROW_OUT])
        if last > first:
            rows, labels = x[first:last], y[first:last]
            loss[i] = train_client(s, layers, places, recipe, rows, labels, keys[i], words, order, counts)
        pack(s, layers, places, weights[i])


@compiled(
    types.none(
        types.float32[::1], _INT_TABLE, _PLACES, types.int64, types.int64, _FLOATS, _FLOAT_TABLE, types.float32[::1]
    ),
    cache=True,
)
def score_rows(
    s: Floats, layers: Ints, places: Places, kind: int, block: int, vector: Floats, x: Floats, logits: Floats
) -> None:
    """Write the logit of each row, `block` rows at a time so that activations stay in the cache."""
    unpack(s, layers, places, vector)
    for first in range(0, len(x), block):
        rows = min(block, len(x) - first)
        for i in range(rows):
            carry(s, places.rows + i * places.inputs, x[first + i], 0, x.shape[1])
        forward(s, layers, places, kind, rows)
        carry(logits, first, s, places.logits, rows)
