"""What a client counts: rows sorted into nodes, and for each node and cell the sums of gradients, hessians and rows.

`Blocks` says of which nodes that is wanted, and how the nodes' histograms lie one behind the other.

A row's codes lie together, and the rows of a node are one piece of an index, in their old order. A cell is four
64-bit words in memory, of which three are used, so that a row is added to it in one instruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from werkbund.core.arrays import Float64Array, Int32Array, Int64Array, UInt8Array
from werkbund.trees.arithmetic.kernels import kernel

WORDS = 4
"""Words of a cell in memory: gradient, hessian, rows, and one that stays 0."""


@dataclass(frozen=True)
class Blocks:
    """Say of which nodes histograms are wanted, and how these lie one behind the other.

    Parameters
    ----------
    nodes
        (blocks,)
    features, starts
        (blocks, m), features of each node, and where their cells begin.
    num_cells
        Cells of all blocks together.
    """

    nodes: Int64Array
    features: Int64Array
    starts: Int64Array
    num_cells: int

    @classmethod
    def none(cls) -> Blocks:
        """Return no blocks."""
        empty = np.empty((0, 0), np.int64)
        return cls(np.empty(0, np.int64), empty, empty, 0)

    @classmethod
    def lay(cls, nodes: Int64Array, features: Int64Array, sizes: Int64Array) -> Blocks:
        """Return blocks of these features, one behind the other."""
        ends = np.cumsum(sizes[features].reshape(-1))
        starts = np.concatenate(([0], ends[:-1])) if len(ends) else ends
        return cls(nodes, features, starts.reshape(features.shape).astype(np.int64), int(ends[-1]) if len(ends) else 0)

    @property
    def edges(self) -> Int64Array:
        """Where each block begins, and the end: (blocks + 1,)."""
        return np.concatenate((self.starts[:, 0], [self.num_cells]))


def _add_words(typing_context: Any, array: Any, place: Any, gradient: Any, hessian: Any, rows: Any) -> Any:
    """Add three numbers to the words at a place of a flat int64 array."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        array, place, gradient, hessian, rows = arguments
        vector = ir.VectorType(ir.IntType(64), WORDS)
        base = context.make_array(signature.args[0])(context, builder, array).data
        pointer = builder.bitcast(builder.gep(base, [place]), vector.as_pointer())
        number = ir.Constant(vector, [0] * WORDS)
        for lane, value in enumerate((gradient, hessian, rows)):
            number = builder.insert_element(number, value, ir.Constant(ir.IntType(32), lane))
        builder.store(builder.add(builder.load(pointer, align=8), number), pointer, align=8)
        return context.get_dummy_value()

    return types.none(array, types.int64, types.int64, types.int64, types.int64), generate


_add: Any = intrinsic(_add_words)


@kernel
def accumulate(
    codes: UInt8Array,
    pairs: Int32Array,
    draws: UInt8Array,
    index: Int32Array,
    features: Int64Array,
    starts: Int64Array,
    words: Int64Array,
) -> None:
    """Add rows to a node's histogram.

    Parameters
    ----------
    codes
        (rows, features)
    pairs
        (rows, 2), gradient and hessian.
    draws
        (rows,), how often each row counts; empty: all once.
    index
        (rows of the node,), which rows.
    features, starts
        (m,), which features are counted, and the first cell of each.
    words
        (cells * WORDS,), flat.
    """
    m, weighted = len(features), len(draws) > 0
    for j in range(len(index)):
        i = index[j]
        count = np.int64(1)
        if weighted:
            count = np.int64(draws[i])
            if count == 0:
                continue
        g, h = np.int64(pairs[i, 0]) * count, np.int64(pairs[i, 1]) * count
        row = codes[i]
        for k in range(m):
            _add(words, (starts[k] + row[features[k]]) * WORDS, g, h, count)


@kernel
def divide(
    codes: UInt8Array,
    index: Int32Array,
    feature: int,
    bin: int,  # noqa: A002 - the field's own word
    missing: int,
    missing_left: bool,
    subset: UInt8Array,
    room: Int32Array,
) -> int:
    """Move the rows of a node that go left to the front, each side in its old order; return how many they are.

    Parameters
    ----------
    codes
        (rows, features)
    index
        (rows of the node,), changed in place.
    feature, bin
        A row goes left if its cell is at most `bin`.
    missing, missing_left
        The cell of missing values, and where they go.
    subset
        (32,), a bit a level: those that go left, for a categorical feature; empty for a number.
    room
        At least as long as the index.
    """
    left, right, named = 0, 0, len(subset) > 0
    for j in range(len(index)):
        i = index[j]
        code = np.int64(codes[i, feature])
        if code == missing:
            goes = bool(missing_left)
        elif named:
            goes = bool((subset[code >> 3] >> np.uint8(code & 7)) & 1)
        else:
            goes = bool(code <= bin)
        index[left] = i
        room[right] = i
        left += 1 if goes else 0
        right += 0 if goes else 1
    for j in range(right):
        index[left + j] = room[j]
    return left


@kernel
def add_value(sums: Float64Array, output: int, index: Int32Array, value: float) -> None:
    """Add a leaf's value to the score of its rows."""
    for j in range(len(index)):
        sums[index[j], output] += value
