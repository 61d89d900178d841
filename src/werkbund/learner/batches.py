"""Which rows a client sees in which step: drawn for a whole cohort at once, the same as for each client alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import BoolArray, Int64Array, UInt64Array
from werkbund.core.rng import shuffles
from werkbund.learner.plan import TrainingPlan


@dataclass(frozen=True)
class CohortBatches:
    """Hold the rows of every step of a cohort.

    Parameters
    ----------
    rows
        (clients, steps, batch size), numbers of a client's own rows; 0 where there is none.
    present
        (clients, steps, batch size), bool: whether the entry is a row. A step without any is one that the client,
        having fewer rows than others, does not take.
    """

    rows: Int64Array
    present: BoolArray


def num_steps(sizes: Int64Array, plan: TrainingPlan) -> Int64Array:
    """Return how many steps each client takes: (clients,), 0 for a client without rows."""
    a_pass = -(-sizes // plan.batch_size)
    return np.where(sizes > 0, plan.steps if plan.steps is not None else plan.epochs * a_pass, 0)


def draw_batches(sizes: Int64Array, keys: UInt64Array, plan: TrainingPlan) -> CohortBatches:
    """Draw the batches of every client of a cohort.

    Parameters
    ----------
    sizes
        (clients,), rows of each client.
    keys
        (clients,), key of each client's stream in this round.
    plan
        Gives batch size and number of epochs or steps.
    """
    steps = num_steps(sizes, plan)
    total, width = int(steps.max(initial=0)), plan.batch_size
    rows = np.zeros((len(sizes), total, width), np.int64)
    present = np.zeros((len(sizes), total, width), np.bool_)
    a_pass = -(-sizes // width)
    num_epochs = int(np.max(-(-steps // np.maximum(a_pass, 1)), initial=0))
    for epoch in range(num_epochs):
        order = _padded(shuffles(keys, epoch, sizes), width)  # (clients, batches, width)
        batches = np.arange(order.shape[1])
        step = epoch * a_pass[:, None] + batches[None, :]
        taken = (batches[None, :] < a_pass[:, None]) & (step < steps[:, None])
        client, batch = np.nonzero(taken)
        drawn = order[client, batch]
        is_row = drawn < sizes[client][:, None]
        rows[client, step[client, batch]] = np.where(is_row, drawn, 0)
        present[client, step[client, batch]] = is_row
    return CohortBatches(rows, present)


def _padded(order: Int64Array, width: int) -> Int64Array:
    """Cut each order into batches; what is added behind is no row of anybody."""
    missing = -order.shape[1] % width
    filler = np.full((len(order), missing), np.iinfo(np.int64).max)
    return np.concatenate([order, filler], axis=1).reshape(len(order), -1, width)
