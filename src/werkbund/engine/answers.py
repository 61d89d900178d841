"""Which answers count: those that were asked for, the first of each client, and of the right form.

A client may run another version, be late, or mean ill. What it sends must never end a round, so every answer passes
here before anything reads its arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from werkbund.core.types import Replies

BoolArray = npt.NDArray[np.bool_]
Missing = dict[int, str]
"""Client numbers that still owe an answer, each with the kind of its task."""

_TRAINED = ("weight", "loss", "rows")


def claim(replies: Replies, missing: Missing) -> BoolArray:
    """Strike the clients of an answer off `missing`; say for each row whether it was owed: (replies,)."""
    owed = np.zeros(len(replies), np.bool_)
    for i, client in enumerate(replies.clients.tolist()):
        if missing.get(client) == replies.kind:
            del missing[client]
            owed[i] = True
    return owed


def flaw(replies: Replies, num_parameters: int, fingerprint: str) -> str | None:
    """Return why an answer cannot be used at all, or None.

    Parameters
    ----------
    replies
        Of any kind; one to `train` must hold an update with its weight, loss and rows.
    num_parameters, fingerprint
        Of the weights that were sent.
    """
    trained = replies.kind == "train"
    if replies.fingerprint != fingerprint and (trained or replies.fingerprint):
        return f"its weights have the layout {replies.fingerprint or 'unknown'}, not {fingerprint}"
    num_rows = (len(replies),)
    uneven = [name for half in (replies.sums, replies.clear) for name, a in half.items() if a.shape[:1] != num_rows]
    if uneven:
        return f"its {', '.join(uneven)} must have one row a client"
    if not trained:
        return None
    lacking = [name for name in ("update", *_TRAINED) if name not in replies.sums]
    if lacking:
        return f"its answer lacks {', '.join(lacking)}"
    if replies.sums["update"].shape[1:] != (num_parameters,):
        return f"its update has the shape {replies.sums['update'].shape[1:]}, not ({num_parameters},)"
    wrong = [name for name in _TRAINED if replies.sums[name].shape != num_rows]
    wrong += [name for name in ("update", *_TRAINED) if replies.sums[name].dtype.kind != "f"]
    return f"its {', '.join(wrong)} must be plain floating-point numbers" if wrong else None


def finite_rows(array: npt.NDArray[Any]) -> BoolArray:
    """Say for each row whether all its entries are finite: (rows,).

    The sum of a row is finite only if every entry is, in one pass without a mask of the matrix's size.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        finite: BoolArray = np.isfinite(array.sum(axis=tuple(range(1, array.ndim))))
    return finite


def kept(replies: Replies, usable: BoolArray, without: str = "") -> Replies:
    """Return the usable rows of an answer, without the named sum; pooled arrays stay if any row does."""
    every = bool(usable.all())
    sums = {name: a if every else a[usable] for name, a in replies.sums.items() if name != without}
    clear = {name: a if every else a[usable] for name, a in replies.clear.items()}
    pooled = replies.pooled if usable.any() else {}
    return Replies(replies.kind, replies.round, replies.clients[usable], sums, clear, replies.fingerprint, pooled)


def payload(replies: Replies) -> int:
    """Return the size in bytes of an answer's arrays."""
    parts = (replies.sums, replies.clear, replies.pooled)
    return sum(array.nbytes for part in parts for array in part.values())
