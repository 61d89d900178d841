"""Which answers count: those that were asked for, the first of each client, and of the right form.

A client may run another version, be late, or mean ill. What it sends must never end a round, so every answer passes
here before anything reads its arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from werkbund.core.arrays import AnyArray, BoolArray, Float64Array
from werkbund.core.types import Replies, Tasks
from werkbund.engine.telling import NUMBERS

Missing = dict[int, str]
"""Client numbers that still owe an answer, each with the kind of its task."""

TRAINED = ("train", "upload")
"""Kinds whose answers hold an update."""

MEASURING = "evaluate"
"""Kind of the tasks that ask for counts alone."""

NO_ANSWER = "no answer in time (federation.round_timeout_s)"
"""Why a client failed that said nothing."""

_OPTIONAL = ("loss", "rows")
_MOST_COUNTED = 2.0**48  # more rows than any client has; sums of such numbers over all clients stay exact
_LARGEST = float(np.finfo(np.float32).max)


def claim(replies: Replies, missing: Missing) -> BoolArray:
    """Strike the clients of an answer off `missing`; say for each row whether it was owed: (replies,)."""
    owed = np.zeros(len(replies), np.bool_)
    for i, client in enumerate(replies.clients.tolist()):
        if missing.get(client) == replies.kind:
            del missing[client]
            owed[i] = True
    return owed


@dataclass(frozen=True)
class Form:
    """Say what a usable answer looks like.

    Parameters
    ----------
    num_parameters, fingerprint
        Of the weights that were sent.
    counts
        Shape of each evaluation count of one client, by name; empty where none are expected, or any.
    keep
        How many updates are wanted, the first that come; None for all.
    each
        Whether single updates are kept, for a selector that declares that it needs them.
    folds
        Names of the arrays that the aggregator folds beside the update.
    """

    num_parameters: int = 0
    fingerprint: str = ""
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    keep: int | None = None
    each: bool = False
    folds: tuple[str, ...] = ()


def flaw(replies: Replies, form: Form) -> str | None:
    """Return why an answer cannot be used at all, or None.

    Parameters
    ----------
    replies
        Of any kind; one to `train` must hold an update with its weight, and may hold loss and rows.
    form
        What it must look like.
    """
    trained = replies.kind in TRAINED
    if replies.fingerprint != form.fingerprint and (trained or replies.fingerprint):
        return f"its weights have the layout {replies.fingerprint or 'unknown'}, not {form.fingerprint}"
    num_rows = (len(replies),)
    uneven = [name for half in (replies.sums, replies.clear) for name, a in half.items() if a.shape[:1] != num_rows]
    if uneven:
        return f"its {', '.join(uneven)} must have one row a client"
    strange = [name for name in NUMBERS & replies.clear.keys() if not _plain(replies.clear[name], num_rows)]
    if strange:
        return f"its {', '.join(sorted(strange))} must be one plain number"
    odd = _odd_counts(replies, form.counts)
    if odd:
        return f"its counts {', '.join(odd)} have another form than this federation's; it may run another version"
    if not trained:
        return None
    lacking = [name for name in ("update", "weight", *form.folds) if name not in replies.sums]
    if lacking:
        return f"its answer lacks {', '.join(lacking)}"
    if replies.sums["update"].shape[1:] != (form.num_parameters,):
        return f"its update has the shape {replies.sums['update'].shape[1:]}, not ({form.num_parameters},)"
    numbers = ["weight", *(name for name in _OPTIONAL if name in replies.sums)]
    wrong = [name for name in numbers if replies.sums[name].shape != num_rows]
    wrong += [name for name in ("update", *form.folds, *numbers) if replies.sums[name].dtype.kind != "f"]
    return f"its {', '.join(wrong)} must be plain floating-point numbers" if wrong else None


def _odd_counts(replies: Replies, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the names of counts (`split.name`) that are no such counts, or else of those that a split lacks."""
    if not shapes:
        return []
    found = {name: (array.shape[1:], array) for name, array in replies.sums.items() if "." in name}
    found |= {name: (array.shape, array) for name, array in replies.pooled.items()}
    splits = sorted({name.partition(".")[0] for name in found})
    absent = [f"{split}.{part}" for split in splits for part in shapes if f"{split}.{part}" not in found]
    odd = [
        name
        for name, (shape, array) in found.items()
        if shapes.get(name.partition(".")[2]) != shape or not _countable(array)
    ]
    return odd or absent


def _plain(array: AnyArray, shape: tuple[int, ...]) -> bool:
    return array.shape == shape and array.dtype.kind in "fiu"


def _countable(array: AnyArray) -> bool:
    return array.dtype.kind in "iuf" and bool(((array >= 0) & (array <= _MOST_COUNTED)).all())


def usable_numbers(replies: Replies) -> BoolArray:
    """Say for each row whether weight, loss and rows are numbers that can be added up in float32: (replies,)."""
    usable = np.ones(len(replies), np.bool_)
    for name in ("weight", *_OPTIONAL):
        if name in replies.sums:
            least = -_LARGEST if name == "loss" else 0.0
            usable &= (replies.sums[name] >= least) & (replies.sums[name] <= _LARGEST)
    return usable


def finite_rows(array: AnyArray) -> BoolArray:
    """Say for each row whether all its entries are finite: (rows,).

    The sum of a row is finite only if every entry is, in one pass without a mask of the matrix's size.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        finite: BoolArray = np.isfinite(array.sum(axis=tuple(range(1, array.ndim))))
    return finite


def kept(replies: Replies, usable: BoolArray, without: str = "") -> Replies:
    """Return the usable rows of an answer, without the named sum; pooled arrays stay if any row does.

    A number in clear that is infinite or beyond float32 becomes NaN, as if it had not been told.
    """
    every = bool(usable.all())
    sums = {name: a if every else a[usable] for name, a in replies.sums.items() if name != without}
    clear = {name: a if every else a[usable] for name, a in replies.clear.items()}
    clear |= {name: _bounded(clear[name]) for name in NUMBERS & clear.keys()}
    pooled = replies.pooled if usable.any() else {}
    return Replies(replies.kind, replies.round, replies.clients[usable], sums, clear, replies.fingerprint, pooled)


def _bounded(array: AnyArray) -> Float64Array:
    numbers = array.astype(np.float64)
    return np.where(np.abs(numbers) <= _LARGEST, numbers, np.nan)


def payload(replies: Replies) -> int:
    """Return the size in bytes of an answer's arrays."""
    parts = (replies.sums, replies.clear, replies.pooled)
    return sum(array.nbytes for part in parts for array in part.values())


def size_of(tasks: Tasks) -> int:
    """Return the size in bytes of the arrays that go to all clients of these tasks."""
    shared = sum(array.nbytes for array in tasks.shared.values())
    return len(tasks) * shared + sum(array.nbytes for array in tasks.own.values())
