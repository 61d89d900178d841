"""The three vector operations that a compiler does not find by itself, written as LLVM instructions.

All work on one flat float32 array, at offsets into it, sixteen numbers at a time: LLVM splits or keeps a vector of
sixteen as the processor at hand allows. Multiplication and addition may contract to one instruction, nothing else may
be reordered, so that a machine always gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

LANES = 16
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INDEX = ir.IntType(64)

F = TypeVar("F", bound=Callable[..., Any])


def compiled(reorder: bool = False, inline: bool = False) -> Callable[[F], F]:
    """Let Numba compile a function when another one is compiled that calls it; Python cannot call it.

    It runs without the interpreter's lock, in the plain arithmetic of the hardware.

    Parameters
    ----------
    reorder
        Let sums be split over the lanes of a vector.
    inline
        Dissolve the function in its callers.
    """
    options = _options(reorder) | {"forceinline": inline, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

    def decorate(function: F) -> F:
        return cast(F, _njit(**options)(function))

    return decorate


class Entry:
    """Be a compiled function that Python calls; importing its module compiles nothing.

    Its machine code is made when it is first needed, and kept on disk where a folder can be written.

    Parameters
    ----------
    function
        In the part of Python that Numba compiles.
    signature
        Numba's type of its arguments and its result.
    """

    def __init__(self, function: Callable[..., Any], signature: Any) -> None:
        self._function, self._signature = function, signature
        self._machine_code: Callable[..., Any] | None = None
        self._lock = Lock()

    def prepare(self) -> Callable[..., Any]:
        """Return the machine code, read from disk or compiled now, once."""
        with self._lock:
            if self._machine_code is None:
                self._machine_code = self._compile()
        return self._machine_code

    def __call__(self, *arguments: Any) -> Any:
        """Run the machine code."""
        return (self._machine_code or self.prepare())(*arguments)

    def _compile(self) -> Callable[..., Any]:
        options = _options(reorder=False)
        try:
            return cast(Callable[..., Any], _njit(self._signature, cache=True, **options)(self._function))
        except (RuntimeError, OSError):  # no folder can be written, or the disk is full
            return cast(Callable[..., Any], _njit(self._signature, **options)(self._function))


def entry(signature: Any) -> Callable[[Callable[..., Any]], Entry]:
    """Return what makes an `Entry` of a function; stands before it as a decorator."""
    return lambda function: Entry(function, signature)


_njit: Any = numba.njit  # its types do not know every option


def _options(reorder: bool) -> dict[str, Any]:
    return {
        "nogil": True,
        "error_model": "numpy",
        "fastmath": {"contract", "nsz"} | ({"reassoc"} if reorder else set()),
    }


def _address(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value) -> ir.Value:
    return context.make_array(kind)(context, builder, array).data


def _element(builder: ir.IRBuilder, base: ir.Value, index: ir.Value) -> ir.Value:
    return builder.gep(base, [index])


def _load(builder: ir.IRBuilder, base: ir.Value, index: ir.Value) -> ir.Value:
    place = builder.bitcast(_element(builder, base, index), _VECTOR.as_pointer())
    return builder.load(place, align=4)


def _store(builder: ir.IRBuilder, value: ir.Value, base: ir.Value, index: ir.Value) -> None:
    place = builder.bitcast(_element(builder, base, index), _VECTOR.as_pointer())
    builder.store(value, place, align=4)


def _spread(builder: ir.IRBuilder, base: ir.Value, index: ir.Value) -> ir.Value:
    """Fill a vector with one number."""
    number = builder.load(_element(builder, base, index), align=4)
    empty = ir.Constant(_VECTOR, ir.Undefined)
    single = builder.insert_element(empty, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(single, empty, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


@contextmanager
def _repeat(builder: ir.IRBuilder, count: ir.Value) -> Iterator[ir.Value]:
    """Run the block for 0 <= k < count and give k."""
    before, function = builder.basic_block, builder.function
    head, body, after = (function.append_basic_block(name) for name in ("head", "body", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    k = builder.phi(_INDEX)
    k.add_incoming(ir.Constant(_INDEX, 0), before)
    builder.cbranch(builder.icmp_signed("<", k, count), body, after)
    builder.position_at_end(body)
    yield k
    k.add_incoming(builder.add(k, ir.Constant(_INDEX, 1)), builder.basic_block)
    builder.branch(head)
    builder.position_at_end(after)


def _tile(rows: int, vectors: int) -> Callable[..., None]:
    """Build the product of a few rows with a panel of `vectors` * 16 columns, held in registers.

    The result takes (s, c, c_row, a, a_row, a_column, b, b_row, start, depth): with numbers of the flat array s,
    c[i, j] = start[j] + sum over k < depth of a[i, k] * b[k, j], where c[i, j] lies at c + i * c_row + j,
    a[i, k] at a + i * a_row + k * a_column and b[k, j] at b + k * b_row + j.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        builder.function.attributes.add("noinline")  # or every caller compiles the tiles anew
        array, c, c_row, a, a_row, a_column, b, b_row, start, depth = arguments
        base = _address(context, builder, signature.args[0], array)
        columns = [ir.Constant(_INDEX, LANES * v) for v in range(vectors)]
        down = [builder.mul(ir.Constant(_INDEX, i), a_row) for i in range(rows)]
        sums = _sums(builder, rows, [_load(builder, base, builder.add(start, j)) for j in columns])
        with _repeat(builder, depth) as k:
            right = [_load(builder, base, builder.add(builder.add(b, builder.mul(k, b_row)), j)) for j in columns]
            across = builder.add(a, builder.mul(k, a_column))
            for i in range(rows):
                left = _spread(builder, base, builder.add(across, down[i]))
                for v in range(vectors):
                    product = builder.fmul(left, right[v], flags=("contract",))
                    total = builder.fadd(builder.load(sums[i][v]), product, flags=("contract",))
                    builder.store(total, sums[i][v])
        for i in range(rows):
            row = builder.add(c, builder.mul(ir.Constant(_INDEX, i), c_row))
            for v in range(vectors):
                _store(builder, builder.load(sums[i][v]), base, builder.add(row, columns[v]))
        return context.get_dummy_value()

    def tile(
        typing: Any,
        s: Any,
        c: Any,
        c_row: Any,
        a: Any,
        a_row: Any,
        a_column: Any,
        b: Any,
        b_row: Any,
        start: Any,
        depth: Any,
    ) -> Any:
        return types.none(s, c, c_row, a, a_row, a_column, b, b_row, start, depth), generate

    return cast(Callable[..., None], intrinsic(tile))


def _sums(builder: ir.IRBuilder, rows: int, start: list[ir.Value]) -> list[list[ir.Value]]:
    """Return variables that hold `start` in each row; LLVM keeps them in registers."""
    with builder.goto_entry_block():
        sums = [[builder.alloca(_VECTOR) for _ in start] for _ in range(rows)]
    for row in sums:
        for variable, value in zip(row, start, strict=True):
            builder.store(value, variable)
    return sums


tile_4x32, tile_4x16, tile_1x32, tile_1x16 = _tile(4, 2), _tile(4, 1), _tile(1, 2), _tile(1, 1)


def _transpose(typing: Any, s: Any, target: Any, target_row: Any, source: Any, source_row: Any) -> Any:
    """Transpose a block of 16 x 16 numbers: halves, quarters, ... of rows change places, in registers."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        builder.function.attributes.add("noinline")
        array, target, target_row, source, source_row = arguments
        base = _address(context, builder, signature.args[0], array)
        numbers = [ir.Constant(_INDEX, i) for i in range(LANES)]
        rows = [_load(builder, base, builder.add(source, builder.mul(i, source_row))) for i in numbers]
        for half in (8, 4, 2, 1):
            upper = [j - half + LANES if j & half else j for j in range(LANES)]
            lower = [j + LANES if j & half else j + half for j in range(LANES)]
            for i in (i for i in range(LANES) if not i & half):
                pair = rows[i], rows[i + half]
                rows[i], rows[i + half] = _shuffled(builder, *pair, upper), _shuffled(builder, *pair, lower)
        for i, row in zip(numbers, rows, strict=True):
            _store(builder, row, base, builder.add(target, builder.mul(i, target_row)))
        return context.get_dummy_value()

    return types.none(s, target, target_row, source, source_row), generate


def _shuffled(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, lanes: list[int]) -> ir.Value:
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(ir.IntType(32), LANES), lanes))


transpose_16x16 = cast(Callable[..., None], intrinsic(_transpose))


def _power_of_two(typing: Any, exponent: Any) -> Any:
    """Return 2 to a whole number between -126 and 127, float32, by writing its exponent bits."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        word = ir.IntType(32)
        whole = builder.fptosi(arguments[0], word)
        bits = builder.shl(builder.add(whole, ir.Constant(word, 127)), ir.Constant(word, 23))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.float32), generate


power_of_two = cast(Callable[[Any], Any], intrinsic(_power_of_two))
