"""How this package computes: compiled to plain IEEE arithmetic in the order that is written, shared out over threads.

Nothing may be reordered, contracted or approximated, so that a row's numbers have the same bits in whatever table and
on whatever processor it is computed. A compiled function calls only functions of its own file: Numba renews what it
keeps on disk when that file changes, and no other. Compiled code needs no lock of the interpreter, and no result
depends on which thread computed it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_STEPS_A_THREAD = 2_000_000  # steps of a few nanoseconds below which a second thread costs more than it saves


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


def num_threads(steps: float) -> int:
    """Return how many threads are worth starting for so many steps: at least 1, at most one a processor."""
    affinity = getattr(os, "sched_getaffinity", None)
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(processors, int(steps // _STEPS_A_THREAD)))


def even_slices(length: int, number: int) -> list[slice]:
    """Cut `length` items into `number` slices of about one length.

    Examples
    --------
    >>> even_slices(5, 2)
    [slice(0, 2, None), slice(2, 5, None)]
    """
    ends = [length * i // number for i in range(number + 1)]
    return [slice(start, stop) for start, stop in pairwise(ends)]


def spread(work: Callable[[T], None], items: Sequence[T], steps: float) -> None:
    """Do the work for all items, over as many threads as the steps of all together are worth."""
    threads = min(num_threads(steps), len(items))
    if threads <= 1:
        for item in items:
            work(item)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, items))  # the list lets an error come out
