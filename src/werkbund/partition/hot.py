"""Clients of which one alone sees a failure mode: the plant that knows what no other knows."""

from __future__ import annotations

from typing import Literal

import numpy as np

from werkbund.core.errors import ConfigError
from werkbund.data.table import Table
from werkbund.partition.assignment import Partition, check_choice, check_num_clients, client_names
from werkbund.partition.shares import iid, tool_blocks


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
