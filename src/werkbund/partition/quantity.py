"""Clients that differ in how many rows they have."""

from __future__ import annotations

from typing import Literal

import numpy as np

from werkbund.data.table import Table
from werkbund.partition.assignment import (
    Partition,
    apportion,
    check_choice,
    check_num_clients,
    check_positive,
    client_names,
    deal,
)


def quantity(
    table: Table,
    num_clients: int,
    rng: np.random.Generator,
    *,
    law: Literal["power", "dirichlet"] = "power",
    exponent: float = 1.0,
    alpha: float = 0.5,
) -> Partition:
    """Deal rows at random to clients of unequal size, at least one row each.

    Parameters
    ----------
    num_clients
        At most the number of rows.
    law
        "power": client k gets rows in proportion to k to the power of -`exponent`, so the first is the largest;
        "dirichlet": shares are drawn from a symmetric Dirichlet distribution with `alpha`.
    exponent
        Above 0; large: few clients have nearly all rows.
    alpha
        Above 0; small: few clients have nearly all rows.

    References
    ----------
    Li, Diao, Chen, He, "Federated Learning on Non-IID Data Silos: An Experimental Study", ICDE 2022 (quantity skew by
    a Dirichlet distribution). Deviation: every client gets one row first.
    """
    check_choice("law", law, ("power", "dirichlet"))
    check_positive("exponent", exponent)
    check_positive("alpha", alpha)
    check_num_clients(num_clients, table.num_rows, "rows")
    if law == "power":
        shares = np.arange(1, num_clients + 1, dtype=np.float64) ** -exponent
    else:
        shares = rng.dirichlet(np.full(num_clients, alpha))
    assignment = deal(rng.permutation(table.num_rows), apportion(table.num_rows, shares))
    return Partition("quantity", client_names(num_clients), assignment)
