"""How a table that nobody described is divided, and how long it is trained: choices that follow from its size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from werkbund.core.target import FAILURE
from werkbund.draft.label import Label
from werkbund.draft.roles import Roles

_MOST_CLIENTS, _ROWS_A_CLIENT, _FAILURES_A_CLIENT, _MACHINES_A_CLIENT = 10, 500, 10, 4
_TRAINED_SHARE = 0.6  # of a client's rows; the others are held out
_STEPS = 20_000  # of the largest client, over all rounds: minutes on a laptop
_ROUNDS = (50, 100)
_BATCHES = (16, 1024)
_STEPS_A_ROUND = 200
_RARE = 0.1  # share of failures below which their loss is weighted
_SHOWN = 12


@dataclass(frozen=True)
class ClientSize:
    """Hold the name of a client, and how many rows and failures it has."""

    name: str
    rows: int
    positives: int


@dataclass(frozen=True)
class TableSizes:
    """Hold the choices that follow from the size of the table.

    Parameters
    ----------
    partition
        Kind of partition.
    count
        Number of clients.
    clients
        Those that the table names, largest first; empty if they are made.
    rows
        Of the largest client.
    """

    partition: str
    count: int
    rows: int
    clients: tuple[ClientSize, ...] = field(default=())

    @property
    def batch_size(self) -> int:
        """Rows a step: a power of two that lets the largest client take about 200 steps a round."""
        wanted = 1 << round(math.log2(max(self.rows / _STEPS_A_ROUND, 1)))
        return min(max(wanted, _BATCHES[0]), _BATCHES[1])

    @property
    def rounds(self) -> int:
        """Rounds until the largest client has taken about 20000 steps, within 50 to 100."""
        steps = math.ceil(self.rows * _TRAINED_SHARE / self.batch_size)
        return min(max(_STEPS // steps, _ROUNDS[0]), _ROUNDS[1])

    @property
    def quorum(self) -> float:
        """Share of clients that must answer: all of two or three, else half."""
        return 1.0 if self.count <= 3 else 0.5


def sizes_of(frame: pl.DataFrame, label: Label, roles: Roles, client: str | None) -> TableSizes:
    """Choose partition and sizes.

    Parameters
    ----------
    frame, label, roles
        What is known about the table.
    client
        The column that names the client of each row; None if there is none.
    """
    if client is not None:
        clients = _clients(frame[client], label)
        return TableSizes("by-column", len(clients), clients[0].rows, clients)
    count = min(label.rows // _ROWS_A_CLIENT, label.positives // _FAILURES_A_CLIENT, _MOST_CLIENTS)
    machines = _num_machines(frame, roles)
    if machines >= 2:
        count = max(min(count, machines // _MACHINES_A_CLIENT), 2)
        return TableSizes("tool-blocks", count, math.ceil(label.rows / count))
    count = min(max(count, 2), label.rows)
    return TableSizes("iid", count, math.ceil(label.rows / count))


def _clients(column: pl.Series, label: Label) -> tuple[ClientSize, ...]:
    """Return the clients that a column names, the largest first."""
    counted = (
        pl.DataFrame({"name": column.cast(pl.String), "label": label.values})
        .group_by("name", maintain_order=True)
        .agg(pl.len().alias("rows"), pl.col("label").sum().cast(pl.Int64).alias("positives"))
        .sort("rows", descending=True, maintain_order=True)
    )
    return tuple(ClientSize(*row) for row in counted.iter_rows())


def _num_machines(frame: pl.DataFrame, roles: Roles) -> int:
    if roles.machine is not None:
        return frame[roles.machine].n_unique()
    if roles.machine_reset is None:
        return 1
    return 1 + int((np.diff(frame[roles.machine_reset].drop_nulls().to_numpy()) < 0).sum())


def positive_weight_of(label: Label) -> str:
    """Return the weight of failures: by the square root of their rarity where they are rare, none of numbers."""
    return "sqrt" if label.target == FAILURE and label.prevalence < _RARE else "none"


def listed(clients: Sequence[ClientSize]) -> str:
    """Return the clients with their rows and failures, for people."""
    shown = "; ".join(f"{client.name}: {client.rows} rows, {client.positives} failures" for client in clients[:_SHOWN])
    more = len(clients) - _SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown
