"""Work that is shared out over threads: as many as it is worth, and no result depends on which of them did what."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

_STEPS_A_THREAD = 2_000_000  # steps of a few nanoseconds below which a second thread costs more than it saves


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
