"""The floor: the rounds of the standard workload in C, compiled on the spot where there is a compiler."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.rows import Outcome, Row
from benchmarks.workload import Workload

_SOURCE = Path(__file__).with_name("floor.c")
_FLAGS = ["-O3", "-march=native", "-ffast-math", "-fPIC", "-pthread"]
_LARGEST = 1024  # rows of a client, fixed in the source


def floor_row(workload: Workload) -> Row | None:
    """Return the row, or None where there is no C compiler."""
    function = _compiled()
    if function is None or workload.num_rows > _LARGEST or len(workload.start()) != 2689:
        return None
    table, everyone = workload.table, np.arange(workload.num_clients)
    num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def run(num_rounds: int) -> Outcome:
        weights, seconds, loss = workload.start(), [], 0.0
        for round in range(1, num_rounds + 1):
            began = time.perf_counter()
            keys = workload.keys(round, everyone)
            pointers = [array.ctypes.data for array in (table.features, table.labels, keys)]
            sizes = (workload.num_clients, workload.num_rows)
            loss = function(*pointers, *sizes, workload.learning_rate, weights.ctypes.data, num_threads)
            seconds.append(time.perf_counter() - began)
        return Outcome(tuple(seconds), loss)

    note = f"cc {' '.join(_FLAGS)}; {num_threads} threads; draws its batches"
    return Row("floor", "floor: C, by hand", run, note=note)


def _compiled() -> Callable[..., float] | None:
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        module, library = Path(folder) / "floor.o", Path(folder) / "floor.so"
        # Linked without -ffast-math, which would change how this whole process treats the smallest numbers.
        for command in ([*_FLAGS, "-c", str(_SOURCE), "-o", str(module)], ["-shared", str(module), "-o", str(library)]):
            subprocess.run([compiler, *command, "-pthread", "-lm"], check=True)
        function: Callable[..., float] = ctypes.CDLL(str(library)).floor_round
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    types = [pointer, pointer, pointer, size, size, ctypes.c_float, pointer, ctypes.c_int]
    function.argtypes, function.restype = types, ctypes.c_double  # type: ignore[attr-defined]
    return function
