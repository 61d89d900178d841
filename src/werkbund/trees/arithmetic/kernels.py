"""How this package computes: compiled to plain IEEE arithmetic in the order that is written.

Nothing may be reordered, contracted or approximated, so that a row's numbers have the same bits in whatever table and
on whatever processor it is computed. A compiled function calls only functions of its own file: Numba renews what it
keeps on disk when that file changes, and no other. Compiled code needs no lock of the interpreter, and no result
depends on which thread computed it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a function that Python calls, at its first call; keep the machine code on disk where that is possible."""
    njit: Any = numba.njit  # its types do not know every option
    try:
        return cast(F, njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # no folder can be written
        return cast(F, njit(nogil=True, error_model="numpy")(function))


def inlined(function: F) -> F:
    """Compile a function that only compiled functions call, into each place where it is called."""
    njit: Any = numba.njit
    return cast(F, njit(nogil=True, error_model="numpy", inline="never", forceinline=True)(function))
