"""What a client counts: rows sorted into nodes, and for each node and cell the sums of gradients, hessians and rows.

`Blocks` says of which nodes that is wanted, and how the nodes' histograms lie one behind the other.

A row's codes lie together, and the rows of a node are one piece of an index, in their old order. A cell is four
64-bit words in memory, of which three are used, so that a row is added to it in one instruction. In a small node the
next row lies far away in memory: it is fetched some rows ahead. To sort rows takes one feature alone, whose codes lie
together a second time.
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

_AHEAD = 16  # rows: about as many as are added while memory answers


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


def _fetch_place(typing_context: Any, array: Any, place: Any) -> Any:
    """Let the processor fetch what lies at a place of a flat array into its cache; nothing else depends on it."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        array, place = arguments
        base = context.make_array(signature.args[0])(context, builder, array).data
        pointer = builder.bitcast(builder.gep(base, [place]), ir.IntType(8).as_pointer())
        number, read, keep, data = ir.IntType(32), 0, 3, 1
        form = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], form)
        builder.call(fetch, [pointer, *(ir.Constant(number, flag) for flag in (read, keep, data))])
        return context.get_dummy_value()

    return types.none(array, types.int64), generate


_fetch: Any = intrinsic(_fetch_place)


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
    m, n, width, weighted = len(features), len(index), codes.shape[1], len(draws) > 0
    all_codes, all_pairs = codes.reshape(-1), pairs.reshape(-1)
    for j in range(n):
        i, later = index[j], np.int64(index[min(j + _AHEAD, n - 1)])
        _fetch(all_codes, later * width)
        _fetch(all_codes, later * width + width - 1)
        _fetch(all_pairs, later * 2)
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
def divide(column: UInt8Array, index: Int32Array, goes_left: UInt8Array, room: Int32Array) -> int:
    """Move the rows of a node that go left to the front, each side in its old order; return how many they are.

    Parameters
    ----------
    column
        (rows,), the cell of each row in the feature that is asked.
    index
        (rows of the node,), changed in place.
    goes_left
        (256,), 1 for the cells that go left, else 0.
    room
        At least as long as the index.
    """
    left, right = np.int64(0), np.int64(0)
    for j in range(len(index)):
        i = index[j]
        goes = np.int64(goes_left[column[i]])
        index[left] = i
        room[right] = i
        left += goes
        right += 1 - goes
    for j in range(right):
        index[left + j] = room[j]
    return int(left)


@kernel
def add_value(sums: Float64Array, output: int, index: Int32Array, value: float) -> None:
    """Add a leaf's value to the score of its rows."""
    for j in range(len(index)):
        sums[index[j], output] += value
