"""Clients as stretches of time: consecutive blocks of whole machines or tools."""

from __future__ import annotations

import numpy as np

from werkbund.data.table import Table
from werkbund.partition.assignment import Partition, check_num_clients, client_names, even_sizes

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
