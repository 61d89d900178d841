"""One table becomes the tables of several clients, and how much these differ."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from werkbund.core.errors import ConfigError
from werkbund.core.text import did_you_mean
from werkbund.data.table import Table
from werkbund.partition.assignment import Partition, PartitionSkew, client_names, skew
from werkbund.partition.column import by_column
from werkbund.partition.dirichlet import dirichlet
from werkbund.partition.quantity import quantity
from werkbund.partition.regime import regime
from werkbund.partition.shares import hot_mode, iid, tool_blocks

__all__ = [
    "PARTITIONERS",
    "Partition",
    "PartitionSkew",
    "Partitioner",
    "client_names",
    "options_of",
    "partition_table",
    "skew",
]

Partitioner = Callable[..., Partition]
"""Take a table, a number of clients, a generator, and options by keyword."""

PARTITIONERS: dict[str, Partitioner] = {
    "by-column": by_column,
    "tool-blocks": tool_blocks,
    "iid": iid,
    "dirichlet": dirichlet,
    "quantity": quantity,
    "regime": regime,
    "hot-mode": hot_mode,
}


def options_of(kind: str) -> dict[str, object]:
    """Return the options of a partitioner, each with its default.

    Examples
    --------
    >>> options_of("dirichlet")
    {'alpha': 0.5, 'over': 'label'}
    """
    if kind not in PARTITIONERS:
        allowed = ", ".join(PARTITIONERS)
        raise ConfigError(f"clients.partition must be one of {allowed}, got {kind!r}{did_you_mean(kind, PARTITIONERS)}")
    parameters = inspect.signature(PARTITIONERS[kind]).parameters.values()
    return {option.name: option.default for option in parameters if option.kind is option.KEYWORD_ONLY}


def partition_table(
    kind: str, table: Table, num_clients: int, rng: np.random.Generator, options: Mapping[str, Any]
) -> Partition:
    """Divide a table by the partitioner of that name.

    Raises
    ------
    ConfigError
        If the name or an option is unknown, or a value breaks the partitioner's rule.
    """
    known = options_of(kind)
    for name in options:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise ConfigError(f"{kind} has no option {name!r}, its options: {listed}{did_you_mean(name, known)}")
    return PARTITIONERS[kind](table, num_clients, rng, **options)
