"""The evaluation counts in a round's answers, side by side for the record."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from werkbund.core.arrays import Arrays, Int64Array
from werkbund.core.types import Replies

SPLITS = ("validation", "test")
"""Splits that clients score; a count's name in an answer is `split.name`."""


def gathered_counts(replies: Iterable[Replies]) -> tuple[dict[str, Arrays], dict[str, Int64Array]]:
    """Return each split's counts, and the clients that are counted in them.

    Counts that came for each client are in ascending order of clients; counts that came added over several clients
    make one row an answer.
    """
    answers = sorted((reply for reply in replies if len(reply)), key=lambda reply: int(reply.clients[0]))
    counts: dict[str, Arrays] = {}
    evaluated: dict[str, Int64Array] = {}
    for split in SPLITS:
        parts = [(reply.clients, part) for reply in answers if (part := _part(reply, split))]
        if parts:
            clients = np.concatenate([numbers for numbers, _ in parts])
            columns = {name: _joined([part[name] for _, part in parts]) for name in parts[0][1]}
            counts[split] = _in_order(columns, clients)
            evaluated[split] = np.sort(clients)
    return counts, evaluated


def _part(reply: Replies, split: str) -> dict[str, npt.NDArray[np.generic]]:
    """Return the counts of a split by their own names, with one row a client or one for all."""
    prefix = f"{split}."
    each = {name.removeprefix(prefix): array for name, array in reply.sums.items() if name.startswith(prefix)}
    pooled = {name.removeprefix(prefix): a[None] for name, a in reply.pooled.items() if name.startswith(prefix)}
    return each or pooled


def _joined(arrays: list[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _in_order(columns: Arrays, clients: Int64Array) -> Arrays:
    rows = len(next(iter(columns.values())))
    if rows != len(clients) or bool((clients[1:] > clients[:-1]).all()):
        return columns
    order = np.argsort(clients, kind="stable")
    return {name: column[order] for name, column in columns.items()}
