"""What a plant does without any model: inspect nothing, inspect everything, or inspect each machine by interval."""

from __future__ import annotations

import math

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, FloatingArray, Int64Array
from werkbund.evaluation.costs import Costs

HABITS = ("nothing", "everything", "interval")
"""Names of the habits, as contenders."""
_NUM_INTERVALS = 40


def work_of(machines: Int64Array, hours: Float64Array | None = None) -> Float64Array:
    """Return how far each row's machine is after it: (rows,), its rows so far, or its hours since its first row.

    Parameters
    ----------
    machines
        (rows,), each row's machine; rows in order of time.
    hours
        (rows,), when a row was taken; None where that is not known.

    Examples
    --------
    >>> work_of(np.array([0, 0, 1, 0])).tolist()
    [1.0, 2.0, 1.0, 3.0]
    """
    if not len(machines):
        return np.empty(0)
    _, number, sizes = np.unique(machines, return_inverse=True, return_counts=True)
    order = np.argsort(number, kind="stable")
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    work = np.empty(len(machines))
    done = np.arange(1.0, len(machines) + 1) - starts if hours is None else hours[order] - hours[order][starts]
    work[order] = done
    return work


def inspected(work: Float64Array, machines: Int64Array, every: float) -> BoolArray:
    """Return which rows are inspected: the first after each further `every` of the machine's work: (rows,)."""
    if not math.isfinite(every):
        return np.zeros(len(work), np.bool_)
    passed = np.floor(np.nan_to_num(work) / every)
    order = np.argsort(machines, kind="stable")
    before = np.concatenate(([0.0], passed[order][:-1]))
    first = np.concatenate(([True], np.diff(machines[order]) != 0))
    due = np.empty(len(work), np.bool_)
    due[order] = passed[order] > np.where(first, 0.0, before)
    return due


def cheapest_interval(work: Float64Array, machines: Int64Array, labels: FloatingArray, costs: Costs) -> float:
    """Return the interval that would have cost least on known rows, the longest of equals; infinite is never.

    Parameters
    ----------
    work, machines, labels
        (rows,), of rows that judge nobody.
    """
    longest = float(work.max(initial=0.0))
    steps = np.diff(np.unique(work))
    if longest <= 0 or not len(steps):
        return math.inf
    tried = [math.inf, *np.geomspace(longest, max(float(np.median(steps)), longest / 1e6), _NUM_INTERVALS).tolist()]
    spent = [_cost(inspected(work, machines, every), labels, costs) for every in tried]
    return float(tried[int(np.argmin(spent))])


def _cost(alarms: BoolArray, labels: FloatingArray, costs: Costs) -> float:
    failed = labels > 0
    missed, needless = np.count_nonzero(failed & ~alarms), np.count_nonzero(~failed & alarms)
    return costs.missed_failure * missed + costs.needless_inspection * needless
