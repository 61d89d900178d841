"""The rows of one client in parts: to train on, for validation, for tests."""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import BoolArray, Int8Array, Int64Array
from werkbund.core.errors import ConfigError

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
"""Numbers of the splits, as `split_rows` gives them."""


def split_rows(machines: Int64Array, test: float, validation: float, rng: np.random.Generator) -> Int8Array:
    """Say which part each row of one client belongs to.

    Whole machines are held out at random until they hold about the wanted share of rows, test before
    validation. Where no machine can be spared the last rows are held out. So one machine alone gives train,
    validation and test rows in this order.

    Parameters
    ----------
    machines
        (rows,), each row's machine; rows in order of time.
    test, validation
        Wanted shares of rows, at least 0, together below 1.
    rng
        Chooses the machines.

    Returns
    -------
    part
        (rows,): 0 train, 1 validation, 2 test. Each part that is wanted has at least one row, and train
        always has, unless the client has fewer than 3 rows: these are all train.

    Examples
    --------
    >>> split_rows(np.zeros(10, np.int64), test=0.3, validation=0.2, rng=np.random.default_rng(0)).tolist()
    [0, 0, 0, 0, 0, 1, 1, 2, 2, 2]
    """
    for name, share in (("test", test), ("validation", validation)):
        if not 0.0 <= share < 1.0:
            raise ConfigError(f"{name} must be in [0, 1), a share of rows, got {share}; choose such as 0.2")
    if test + validation >= 1.0:
        raise ConfigError(f"test + validation must be below 1, got {test} + {validation}; leave rows to train on")
    rows = len(machines)
    part = np.zeros(rows, dtype=np.int8)
    if rows < 3:
        return part
    keep = 1 + (validation > 0.0)  # rows that must be left for the parts that come after
    for number, share in ((TEST, test), (VALIDATION, validation)):
        left = np.flatnonzero(part == TRAIN)
        if share > 0.0:
            part[left[_held_out(machines[left], share * rows, keep, rng)]] = number
        keep = 1
    return part


def _held_out(machines: Int64Array, wanted: float, keep: int, rng: np.random.Generator) -> BoolArray:
    """Choose about `wanted` of these rows, at least one, and leave at least `keep`: (rows,)."""
    rows = len(machines)
    known, number, sizes = np.unique(machines, return_inverse=True, return_counts=True)
    order = rng.permutation(len(known))
    reached = np.cumsum(sizes[order])  # rows of the first 1, 2, ... machines
    reached = reached[reached <= rows - keep]
    if len(reached) == 0:
        cut = rows - min(max(round(wanted), 1), rows - keep)
        return np.arange(rows) >= cut
    num_machines = int(np.argmin(np.abs(reached - wanted))) + 1
    return np.isin(number, order[:num_machines])
