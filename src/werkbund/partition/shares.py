"""Clients with even shares of a table: consecutive blocks of whole machines, or rows or machines dealt at random."""

from __future__ import annotations

from typing import Literal

import numpy as np

from werkbund.data.table import Table
from werkbund.partition.assignment import (
    Partition,
    check_choice,
    check_num_clients,
    client_names,
    deal,
    even_sizes,
)

MACHINES_REMEDY = ", or name the column that tells machines apart in data.machine or data.machine_reset"


def tool_blocks(table: Table, num_clients: int, rng: np.random.Generator) -> Partition:
    """Give each client a block of consecutive machines, as evenly many as can be; no machine is cut.

    Machines are numbered in order of appearance, and rows keep their order. Surroundings drift in time, so
    blocks differ as plants do. A table whose schema names no machine counts as one machine.

    Parameters
    ----------
    num_clients
        At most the number of machines.
    rng
        Not used.
    """
    del rng
    machines = table.schema.machines(table.frame)
    num_machines = int(machines.max()) + 1
    check_num_clients(num_clients, num_machines, "machines", MACHINES_REMEDY)
    block = np.repeat(np.arange(num_clients), even_sizes(num_machines, num_clients))  # (machines,)
    return Partition("tool-blocks", client_names(num_clients), block[machines])


def iid(
    table: Table,
    num_clients: int,
    rng: np.random.Generator,
    *,
    unit: Literal["rows", "machines"] = "rows",
) -> Partition:
    """Deal rows or whole machines to clients at random, as evenly many as can be.

    Parameters
    ----------
    num_clients
        At most the number of units.
    unit
        What is dealt. Dealing rows puts neighbouring rows of a machine at different clients; dealing machines
        keeps each machine's history whole, and is the control for `tool-blocks`.
    """
    check_choice("unit", unit, ("rows", "machines"))
    owner = np.arange(table.num_rows) if unit == "rows" else table.schema.machines(table.frame)
    num_units = int(owner.max()) + 1
    check_num_clients(num_clients, num_units, unit, MACHINES_REMEDY if unit == "machines" else "")
    dealt = deal(rng.permutation(num_units), even_sizes(num_units, num_clients))
    return Partition("iid", client_names(num_clients), dealt[owner])
