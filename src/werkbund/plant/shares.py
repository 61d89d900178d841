"""From one table to a file for each plant, where a federation is tried on one machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.files import open_private
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table


def write_parts(
    folder: Path, count: int, config: Config | None = None, only: int | None = None
) -> list[tuple[str, Path]]:
    """Write each client's rows to a CSV file of its own.

    Parameters
    ----------
    folder
        Where to.
    count
        Number of clients.
    config
        Says which table, and how it is divided; None is the built-in federation.
    only
        Number of the one client whose file is written; None for all.

    Returns
    -------
    parts
        Name and file of each client that was written.
    """
    config = changed(config or Config(), clients={"count": count})
    division = divide(read_table(config), config)
    table, partition = division.table, division.partition
    numbers = range(partition.num_clients) if only is None else [only]
    parts = []
    for number in numbers:
        rows = np.sort(partition.rows(number))
        path = folder / f"{partition.names[number]}.csv"
        with open_private(path, "wb") as file:
            table.frame[rows].write_csv(file)
        parts.append((partition.names[number], path))
    return parts
