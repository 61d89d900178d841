"""Training and scoring of chains of linear layers, compiled: one client's whole local training in one call.

A thread works on one flat float32 array that holds everything of one client: weights, gradients, moments and the
activations of a batch, at the offsets of `Places` and of a table of layers. Matrices are padded with zeros to rows of
a multiple of 16. A layer's weights lie as (in, out), so that products run along the outputs, and behind each update
a transposed copy is made for the way back.

In every function `s` is that flat array, and other whole numbers are offsets into it unless a docstring says otherwise.
"""

from __future__ import annotations

from typing import Any, NamedTuple, get_type_hints

import numba
import numpy as np
from numba import types

from werkbund.core.arrays import Float32Array, Float64Array, Int64Array, UInt64Array
from werkbund.learner.fused_steps import Recipe, activate, amend, dot, errors, gate, shuffle, total, update
from werkbund.learner.fused_tiles import (
    compiled,
    entry,
    tile_1x16,
    tile_1x32,
    tile_4x16,
    tile_4x32,
    transpose_16x16,
)

# Numba recompiles what is on disk when this file changes, not when these change: a digest of both keeps it honest.
SOURCES = {"fused_steps.py": "f2dc1ab5de010185", "fused_tiles.py": "f5b7e905f25e9f6c"}


class LayerPlaces(NamedTuple):
    """Be a row of the table of hidden layers: its widths, and where its arrays lie in the flat array."""

    inputs: int  # width below
    outputs: int  # width above
    row_in: int  # both padded to a multiple of 16
    row_out: int
    weight: int  # (in, out)
    bias: int
    copy: int  # of the weights, transposed
    below: int  # a batch's input
    above: int  # a batch's output
    slope: int  # derivative of the activation
    delta: int  # gradient of the output


# Columns of that table, as compiled code reads it.
INPUTS, OUTPUTS, ROW_IN, ROW_OUT, WEIGHT, BIAS, COPY, BELOW, ABOVE, SLOPE, DELTA = range(len(LayerPlaces._fields))


class Places(NamedTuple):
    """Say where things lie in the flat array that do not belong to one layer."""

    constant_one: int  # a single 1; zeros lie at offset 0
    row: int  # padded width of the last hidden layer, or of the input if there is none
    inputs: int  # padded width of the input
    rows: int  # the batch's features
    top: int  # output of the last hidden layer
    head: int  # weights of the last layer, its bias behind them
    block: int  # all weights; then the same again for gradients, start, both moments and, if any, the correction
    length: int  # length of one such block
    labels: int
    logits: int
    errors: int


@compiled()
def copy_piece(target: Float32Array, at: int, source: Float32Array, start: int, length: int) -> None:
    """Copy `length` numbers of `source`, from `start` on, to `target`, from `at` on."""
    to, of = target[at : at + length], source[start : start + length]  # else each index is tested for its sign
    for i in range(length):
        to[i] = of[i]


@compiled()
def multiply(
    s: Float32Array,
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
def transpose(s: Float32Array, target: int, source: int, rows: int, columns: int) -> None:
    """Write the transpose of a (rows, columns) matrix, both multiples of 16."""
    for i in range(0, rows, 16):
        for j in range(0, columns, 16):
            transpose_16x16(s, target + j * rows + i, rows, source + i * columns + j, columns)


@compiled()
def forward(s: Float32Array, layers: Int64Array, places: Places, kind: int, rows: int) -> None:
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


@compiled()
def backward(s: Float32Array, layers: Int64Array, places: Places, kind: int, rows: int) -> None:
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
        multiply(s, layers[i, BIAS] + shift, row, places.constant_one, 0, 0, delta, row, 0, 1, row, rows)


@compiled()
def clear(s: Float32Array, at: int, length: int) -> None:
    """Write zeros."""
    piece = s[at : at + length]
    for i in range(length):
        piece[i] = np.float32(0)


@compiled()
def unpack(s: Float32Array, layers: Int64Array, places: Places, vector: Float32Array, shift: int) -> None:
    """Read a flat vector of weights, each layer (out, in) and its bias, into the working layout, `shift` behind it."""
    at = 0
    clear(s, places.block + shift, places.length)  # a client that diverged may have left NaN between the rows
    for i in range(len(layers)):
        inputs, outputs, row, copy = layers[i, INPUTS], layers[i, OUTPUTS], layers[i, ROW_IN], layers[i, COPY]
        clear(s, copy, row * layers[i, ROW_OUT])
        for j in range(outputs):
            copy_piece(s, copy + j * row, vector, at + j * inputs, inputs)
        transpose(s, layers[i, WEIGHT] + shift, copy, layers[i, ROW_OUT], row)
        copy_piece(s, layers[i, BIAS] + shift, vector, at + inputs * outputs, outputs)
        at += (inputs + 1) * outputs
    width = len(vector) - at - 1
    copy_piece(s, places.head + shift, vector, at, width)
    copy_piece(s, places.head + shift + places.row, vector, at + width, 1)


@compiled()
def pack(s: Float32Array, layers: Int64Array, places: Places, vector: Float32Array) -> None:
    """Write the weights as a flat vector."""
    at = 0
    for i in range(len(layers)):
        inputs, outputs, row, copy = layers[i, INPUTS], layers[i, OUTPUTS], layers[i, ROW_IN], layers[i, COPY]
        transpose(s, copy, layers[i, WEIGHT], row, layers[i, ROW_OUT])
        for j in range(outputs):
            copy_piece(vector, at + j * inputs, s, copy + j * row, inputs)
        copy_piece(vector, at + inputs * outputs, s, layers[i, BIAS], outputs)
        at += (inputs + 1) * outputs
    width = len(vector) - at - 1
    copy_piece(vector, at, s, places.head, width)
    copy_piece(vector, at + width, s, places.head + places.row, 1)


@compiled()
def train_client(
    s: Float32Array,
    layers: Int64Array,
    places: Places,
    recipe: Recipe,
    x: Float32Array,
    y: Float32Array,
    correction: Float32Array,
    pull: float,
    key: Any,
    words: UInt64Array,
    order: Int64Array,
    counts: Int64Array,
) -> float:
    """Take all steps of one client with rows x (rows, features); return the mean loss of the rows drawn."""
    size, width, n = len(x), recipe.batch_size, places.length
    a_pass = (size + width - 1) // width
    steps = recipe.steps if recipe.steps > 0 else recipe.epochs * a_pass
    block = places.block
    w, g, begin = s[block : block + n], s[block + n : block + 2 * n], s[block + 2 * n : block + 3 * n]
    first, second = s[block + 3 * n : block + 4 * n], s[block + 4 * n : block + 5 * n]
    if recipe.optimizer > 0 or recipe.momentum > 0:
        clear(s, block + 3 * n, 2 * n)
    loss, drawn = 0.0, 0
    for step in range(steps):
        batch = step % a_pass
        if batch == 0:
            shuffle(key, step // a_pass, words[0, :size], words[1, :size], order[:size], counts)
        rows = min(width, size - batch * width)
        for i in range(rows):
            row = order[batch * width + i]
            copy_piece(s, places.rows + i * places.inputs, x[row], 0, x.shape[1])
            s[places.labels + i] = y[row]
        forward(s, layers, places, recipe.activation, rows)
        e, z, t = places.errors, places.logits, places.labels
        loss += errors(s[z : z + rows], s[t : t + rows], s[e : e + rows], recipe.positive_weight)
        drawn += rows
        backward(s, layers, places, recipe.activation, rows)
        amend(g, w, begin, correction, pull, recipe)
        update(w, g, first, second, recipe, step + 1)
        for i in range(1, len(layers)):
            transpose(s, layers[i, COPY], layers[i, WEIGHT], layers[i, ROW_IN], layers[i, ROW_OUT])
    return loss / drawn


_INTS, _INT_TABLE = types.Array(types.int64, 1, "C", readonly=True), types.Array(types.int64, 2, "C", readonly=True)
_KEYS, _FLOATS = types.Array(types.uint64, 1, "C", readonly=True), types.Array(types.float32, 1, "C", readonly=True)
_FLOAT_TABLE = types.Array(types.float32, 2, "C", readonly=True)
_DOUBLES = types.Array(types.float64, 1, "C", readonly=True)
_typeof: Any = numba.typeof
_PLACES = _typeof(Places(**dict.fromkeys(Places._fields, 0)))
_RECIPE = _typeof(Recipe(**{name: kind(0) for name, kind in get_type_hints(Recipe).items()}))


@entry(
    types.none(
        types.float32[::1], _INT_TABLE, _PLACES, _RECIPE, _FLOAT_TABLE, _FLOATS, _INTS, _INTS, _FLOAT_TABLE,
        _FLOAT_TABLE, _FLOAT_TABLE, _DOUBLES, _KEYS,
        types.uint64[:, ::1], types.int64[::1], types.int64[::1], types.float32[:, ::1], types.float64[::1],
    )
)  # fmt: skip
def train_clients(
    s: Float32Array,
    layers: Int64Array,
    places: Places,
    recipe: Recipe,
    x: Float32Array,
    y: Float32Array,
    offsets: Int64Array,
    clients: Int64Array,
    start: Float32Array,
    homes: Float32Array,
    corrections: Float32Array,
    pulls: Float64Array,
    keys: UInt64Array,
    words: UInt64Array,
    order: Int64Array,
    counts: Int64Array,
    weights: Float32Array,
    loss: Float64Array,
) -> None:
    """Train each client that has rows, one after the other.

    `start` has one row, or one a client; `corrections` has no row besides, for none. So has `homes`, what weights are
    pulled to, where that is the start; where it has rows, `start` has one a client.
    """
    block, n = places.block, places.length
    correction = s[block + 5 * n : block + (6 * n if len(corrections) > 0 else 5 * n)]
    for i in range(len(clients)):
        first, last = offsets[clients[i]], offsets[clients[i] + 1]
        if len(corrections) > 1 or (i == 0 and len(corrections) > 0):
            unpack(s, layers, places, corrections[min(i, len(corrections) - 1)], 5 * n)
        if len(homes) > 1 or (i == 0 and len(homes) > 0):
            unpack(s, layers, places, homes[min(i, len(homes) - 1)], 2 * n)
        if i == 0 or len(start) > 1:
            unpack(s, layers, places, start[min(i, len(start) - 1)], 0)
            if len(homes) == 0:
                copy_piece(s, block + 2 * n, s, block, n)
        else:
            copy_piece(s, block, s, block + 2 * n, n)
            for k in range(1, len(layers)):
                transpose(s, layers[k, COPY], layers[k, WEIGHT], layers[k, ROW_IN], layers[k, ROW_OUT])
        if last > first:
            rows, labels = x[first:last], y[first:last]
            loss[i] = train_client(
                s, layers, places, recipe, rows, labels, correction, pulls[i], keys[i], words, order, counts
            )
        pack(s, layers, places, weights[i])


@entry(
    types.none(
        types.float32[::1], _INT_TABLE, _PLACES, types.int64, types.int64, _FLOATS, _FLOAT_TABLE, types.float32[::1]
    )
)
def score_rows(
    s: Float32Array,
    layers: Int64Array,
    places: Places,
    kind: int,
    block: int,
    vector: Float32Array,
    x: Float32Array,
    logits: Float32Array,
) -> None:
    """Write the logit of each row, `block` rows at a time so that activations stay in the cache."""
    unpack(s, layers, places, vector, 0)
    for first in range(0, len(x), block):
        rows = min(block, len(x) - first)
        for i in range(rows):
            copy_piece(s, places.rows + i * places.inputs, x[first + i], 0, x.shape[1])
        forward(s, layers, places, kind, rows)
        copy_piece(logits, first, s, places.logits, rows)


def prepare() -> bool:
    """Compile what Python calls, or read it from disk; say whether Numba may compile at all."""
    config: Any = numba.config  # its types do not know every setting
    if config.DISABLE_JIT:
        return False
    train_clients.prepare()
    score_rows.prepare()
    return True
