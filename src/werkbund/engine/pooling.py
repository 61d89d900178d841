"""Gradients of all units at the weights that came, clipped and rounded one by one: what a client adds to a pooled step.

Where clients share the noise of a secure sum, a round is one step over the units of all of them. A unit more or less
changes the sum by its own rounded gradient and nothing else, whatever the sums of floating-point numbers round to.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from werkbund.aggregation.contract import UPDATE
from werkbund.core.arrays import AnyArray, Float32Array, Int64Array
from werkbund.core.clients import ClientTable
from werkbund.core.errors import ClientError
from werkbund.core.rng import secret_generator
from werkbund.core.types import Tasks
from werkbund.learner.train import CohortTrainer
from werkbund.privacy.shares import rounded


def pooled_sums(trainer: CohortTrainer, table: ClientTable, tasks: Tasks, weights: Float32Array) -> dict[str, AnyArray]:
    """Return each client's sum over its units, whole numbers, and its rows: (clients, ...) by name.

    Parameters
    ----------
    trainer
        Gives the gradients of rows; its objective says what is summed.
    table
        Training rows of all clients.
    tasks
        Whose sums are wanted.
    weights
        (parameters,), those at which gradients are taken.

    Raises
    ------
    ClientError
        If a client's units are to count more or less than others'.
    """
    pooled = trainer.objective.pooled
    if pooled is None or not (tasks.own["factor"] == 1).all():
        raise ClientError("units of all clients count alike in a pooled step, and the server says something else")
    rows, whose = table.row_numbers(tasks.clients), np.repeat(np.arange(len(tasks)), table.sizes[tasks.clients])
    sums, drawn, done = np.zeros((len(tasks), len(weights)), np.int64), secret_generator(), 0
    gradients: Iterable[AnyArray] = trainer.row_gradients(table, rows, weights)
    if pooled.unit == "machine":
        whose, gradients = _by_machine(table.machines[rows], whose, gradients, len(weights))
    for each in gradients:
        np.add.at(sums, whose[done : done + len(each)], rounded(each, pooled.bound, drawn))
        done += len(each)
    return {UPDATE: sums, "rows": table.sizes[tasks.clients].astype(np.float64)}


def _by_machine(
    machines: Int64Array, whose: Int64Array, gradients: Iterable[AnyArray], num_parameters: int
) -> tuple[Int64Array, list[AnyArray]]:
    """Return whose each machine is, and the sums of its rows' gradients: (machines,), (machines, parameters).

    One that two clients have is one at each.
    """
    pairs, machine_of = np.unique(np.stack([whose, machines]), axis=1, return_inverse=True)
    summed, done = np.zeros((pairs.shape[1], num_parameters)), 0
    for each in gradients:
        np.add.at(summed, machine_of.ravel()[done : done + len(each)], each)
        done += len(each)
    return pairs[0], [summed]
