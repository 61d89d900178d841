"""The evaluation counts in a round's answers, side by side for the record."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from werkbund.core.types import Arrays, Replies

SPLITS = ("validation", "test")
"""Splits that clients score; a count's name in an answer is `split.name`."""


def gathered_counts(replies: Iterable[Replies]) -> tuple[dict[str, Arrays], dict[str, npt.NDArray[np.int64]]]:
    """Return each split's counts, one row a client in ascending order, and these clients."""
    answers = [reply for reply in replies if len(reply)]
    counts: dict[str, Arrays] = {}
    evaluated: dict[str, npt.NDArray[np.int64]] = {}
    for split in SPLITS:
        having = [reply for reply in answers if any(name.startswith(f"{split}.") for name in reply.sums)]
        if not having:
            continue
        clients = np.concatenate([reply.clients for reply in having])
        order = np.argsort(clients, kind="stable")
        names = [name for name in having[0].sums if name.startswith(f"{split}.")]
        columns = {name: np.concatenate([reply.sums[name] for reply in having])[order] for name in names}
        counts[split] = {name.removeprefix(f"{split}."): column for name, column in columns.items()}
        evaluated[split] = clients[order]
    return counts, evaluated
