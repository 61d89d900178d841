"""Clients that differ in how often they see each class: the literature's label skew."""

from __future__ import annotations

from typing import Literal

import numpy as np

from werkbund.core.arrays import Int64Array
from werkbund.data.table import Table
from werkbund.partition.assignment import Partition, check_choice, check_num_clients, check_positive, client_names


def dirichlet(
    table: Table,
    num_clients: int,
    rng: np.random.Generator,
    *,
    alpha: float = 0.5,
    over: Literal["label", "mode"] = "label",
) -> Partition:
    """Divide the rows of each class over the clients by shares drawn from a symmetric Dirichlet distribution.

    Parameters
    ----------
    num_clients
        At most the number of rows.
    alpha
        Above 0. Small: each class sits at few clients, some of which see no failure; large: all are alike.
    over
        The classes: "label", failure or none; or "mode", none and each failure mode, where a failure of
        several modes counts to the first and one of no mode has a class of its own.

    References
    ----------
    Yurochkin et al., "Bayesian Nonparametric Federated Learning of Neural Networks", ICML 2019, section 4,
    divide each class by such shares. Deviation: they take no care of empty clients; here each of these gets
    one row from the client that has most.
    """
    check_positive("alpha", alpha)
    check_choice("over", over, ("label", "mode"))
    check_num_clients(num_clients, table.num_rows, "rows")
    classes = _label_classes(table) if over == "label" else _mode_classes(table)
    assignment = np.empty(table.num_rows, dtype=np.int64)
    for number in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == number))
        shares = rng.dirichlet(np.full(num_clients, alpha))
        cuts = np.rint(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
        assignment[members] = np.searchsorted(cuts, np.arange(len(members)), side="right")
    return Partition("dirichlet", client_names(num_clients), _without_empty(assignment, num_clients))


def _label_classes(table: Table) -> Int64Array:
    """Return 1 for a failure and 0 for none: (rows,)."""
    return table.schema.labels(table.frame).astype(np.int64)


def _mode_classes(table: Table) -> Int64Array:
    """Return 0 for no failure, else the failure's first mode from 1, the last number for none: (rows,)."""
    failed: Int64Array = _label_classes(table)
    flags, _ = table.schema.mode_flags(table.frame)
    listed = np.concatenate([flags, np.ones((len(flags), 1), dtype=bool)], axis=1)  # (rows, modes + 1)
    first: Int64Array = np.argmax(listed, axis=1)
    return failed * (1 + first)


def _without_empty(assignment: Int64Array, num_clients: int) -> Int64Array:
    """Give each client without a row one from the clients that have most, whose rows come in turn."""
    sizes = np.bincount(assignment, minlength=num_clients)
    empty = np.flatnonzero(sizes == 0)
    if len(empty) == 0:
        return assignment
    # The height of a row is its place among its client's rows; the highest ones can be spared.
    order = np.argsort(assignment, kind="stable")
    height = np.empty(len(assignment), dtype=np.int64)
    height[order] = np.arange(len(assignment)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    spared = np.argsort(-height, kind="stable")[: len(empty)]
    mended = assignment.copy()
    mended[spared] = empty
    return mended
