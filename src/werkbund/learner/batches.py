"""Which rows a client sees in which step: drawn for a whole cohort at once, the same as for each client alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from werkbund.core.arrays import BoolArray, Float64Array, Int64Array, UInt64Array
from werkbund.core.clients import ClientTable
from werkbund.core.rng import derived_keys, secret_generator, shuffles, stream
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
        having fewer rows than others, does not take, or one that is empty by chance.
    units
        (clients, steps, batch size), which of its client's units of the step a row belongs to, from 0; empty where
        each row is a unit.
    """

    rows: Int64Array
    present: BoolArray
    units: Int64Array = field(default_factory=lambda: np.empty(0, np.int64))


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


Unit = Literal["row", "machine"]
"""What a promise of privacy is about: what is in a step or not as a whole."""


@dataclass(frozen=True)
class UnitDraws:
    """Draw the units of each step by coins of their own (Poisson sampling), as an accountant assumes it.

    A unit is in a step with the chance `batch_size` / rows of the client, at most 1. A step may be empty.

    Parameters
    ----------
    unit
        A row; or a machine, all rows of it together.
    seeded
        Whether the coins follow from the clients' keys, which the server knows: for tests and simulations alone.
    """

    unit: Unit
    seeded: bool = False

    def expected(self, table: ClientTable, clients: Int64Array, plan: TrainingPlan) -> Float64Array:
        """Return how many units of each client a step holds on average: (clients,)."""
        sizes = counts = table.sizes[clients]
        if self.unit == "machine":
            own = [table.machines[table.rows(client)] for client in clients.tolist()]
            counts = np.array([len(np.unique(machines)) for machines in own])
        rates = [sampling_rate(size, plan) for size in sizes.tolist()]
        return np.asarray(counts * np.array(rates))

    def draw(self, table: ClientTable, clients: Int64Array, keys: UInt64Array, plan: TrainingPlan) -> CohortBatches:
        """Draw the steps of some clients; arguments as for `draw_batches`."""
        total = int(num_steps(table.sizes[clients], plan).max(initial=0))
        taken = [
            list(self._steps(table, client, key, plan)) for client, key in zip(clients.tolist(), keys, strict=True)
        ]
        width = max((len(rows) for steps in taken for rows, _ in steps), default=1) or 1  # an empty step has noise too
        rows, units = (np.zeros((len(clients), total, width), np.int64) for _ in range(2))
        present = np.zeros((len(clients), total, width), np.bool_)
        for place, steps in enumerate(taken):
            for step, (own, of) in enumerate(steps):
                rows[place, step, : len(own)], units[place, step, : len(own)] = own, of
                present[place, step, : len(own)] = True
        return CohortBatches(rows, present, units if self.unit == "machine" else np.empty(0, np.int64))

    def _steps(
        self, table: ClientTable, client: int, key: np.uint64, plan: TrainingPlan
    ) -> Iterator[tuple[Int64Array, Int64Array]]:
        """Yield the rows of each step of a client, and which unit of the step each is of."""
        size = int(table.sizes[client])
        machines = table.machines[table.rows(client)] if self.unit == "machine" else np.arange(size)
        names, unit_of = np.unique(machines, return_inverse=True)
        for step in range(int(num_steps(np.array([size]), plan)[0])):
            own = stream(int(derived_keys(np.array([key]), "coins", step)[0])) if self.seeded else secret_generator()
            heads = own.random(len(names)) < sampling_rate(size, plan)
            rows = np.flatnonzero(heads[unit_of])
            yield rows, (np.cumsum(heads) - 1)[unit_of[rows]]


@dataclass(frozen=True)
class GatheredRows:
    """Hold a group's rows in the order of its steps.

    Parameters
    ----------
    keys
        (clients,)
    features, labels, present
        (steps, clients, batch, features), and (steps, clients, batch) each.
    active
        (steps, clients), whether a client takes the step.
    num_drawn
        (clients,), rows of all steps.
    sizes, units, expected
        As `LocalStep` has them, units with the steps in front.
    """

    keys: UInt64Array
    features: Tensor
    labels: Tensor
    present: Tensor
    active: BoolArray
    num_drawn: Int64Array
    sizes: Int64Array
    units: Tensor
    expected: Tensor

    @staticmethod
    def gather(
        table: ClientTable, clients: Int64Array, keys: UInt64Array, plan: TrainingPlan, draws: UnitDraws | None
    ) -> GatheredRows:
        """Return the rows that some clients draw; arguments as for `draw_batches`, None draws the plan's batches."""
        sizes, expected = table.sizes[clients], np.empty(0, np.float32)
        if draws is None:
            drawn = draw_batches(sizes, keys, plan)
        else:
            drawn = draws.draw(table, clients, keys, plan)
            expected = draws.expected(table, clients, plan)[:, None].astype(np.float32)
        rows = (drawn.rows + table.offsets[clients][:, None, None]).transpose(1, 0, 2)
        present = drawn.present.transpose(1, 0, 2)
        # A place without a row must stay inside the table: its weight in the loss is zero.
        rows = np.where(present, rows, 0)
        taken = np.arange(len(rows))[:, None] < num_steps(sizes, plan)
        units = drawn.units.transpose(1, 0, 2) if drawn.units.size else np.empty((len(rows), 0), np.int64)
        return GatheredRows(
            keys,
            torch.from_numpy(table.features[rows]),
            torch.from_numpy(table.followed[rows]),
            torch.from_numpy(present.astype(np.float32)),
            taken,
            present.sum(axis=(0, 2)),
            sizes,
            torch.from_numpy(units),
            torch.from_numpy(expected),
        )


def sampling_rate(size: int, plan: TrainingPlan) -> float:
    """Return the chance of a unit of a client with so many rows to be in a step that units enter by coins."""
    return min(1.0, plan.batch_size / max(size, 1))


def _padded(order: Int64Array, width: int) -> Int64Array:
    """Cut each order into batches; what is added behind is no row of anybody."""
    missing = -order.shape[1] % width
    filler = np.full((len(order), missing), np.iinfo(np.int64).max)
    return np.concatenate([order, filler], axis=1).reshape(len(order), -1, width)
