"""Clients with even shares of a table: consecutive blocks of whole machines, or rows or machines dealt at random.

One of them may then get every failure of one mode: the plant that knows what no other knows.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from werkbund.core.errors import ConfigError
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


def hot_mode(
    table: Table,
    num_clients: int,
    rng: np.random.Generator,
    *,
    mode: str | None = None,
    base: Literal["tool-blocks", "iid"] = "tool-blocks",
) -> Partition:
    """Divide a table, then give every failure of one mode to one client, drawn by chance.

    Parameters
    ----------
    num_clients
        At most the number of machines, or of rows for "iid".
    rng
        Draws the client.
    mode
        Name of the failure mode; None: the most frequent one, and of equally frequent ones the first.
    base
        How the other rows are divided.

    Raises
    ------
    ConfigError
        If the table has no failure modes, or none of this name.
    """
    check_choice("base", base, ("tool-blocks", "iid"))
    check_num_clients(num_clients, table.num_rows, "rows")
    flags, names = table.schema.mode_flags(table.frame)
    if not names or not flags.any():
        raise ConfigError("hot-mode needs a table with failure modes, this one names none; set data.modes or data.mode")
    if mode is not None and mode not in names:
        raise ConfigError(f"mode must be one of {', '.join(names)}, got {mode!r}; change clients.options.mode")
    column = int(np.argmax(flags.sum(axis=0))) if mode is None else names.index(mode)
    divided = (tool_blocks if base == "tool-blocks" else iid)(table, num_clients, rng)
    assignment = np.where(flags[:, column], rng.integers(num_clients), divided.assignment)
    return Partition("hot-mode", client_names(num_clients), assignment)
