"""What may leave a plant: every field of every answer, declared here and nowhere else.

`client check` shows this list, an answer is cut down to it, and a test compares it with the bytes that left.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from werkbund.core.arrays import Arrays
from werkbund.core.types import Replies
from werkbund.federation.asking import Asks

SIGNALS = {
    "rows": "how many rows the plant has",
    "loss": "how high the loss on the training rows is, as a sum; in clear where clients are chosen by it",
    "counts": "how well the common model does on the plant's held-out rows, as counts of scores",
    "vocabulary": "the levels of each category column",
    "delivery": "how a delivered model does here, and how the plant's own does",
    "norm": "how long its update is, where clients are chosen by that",
    "centroids": "mean training rows of a few clusters, where clients are chosen by them",
    "trees": "for trees: rows and sums of gradients in each cell of a feature's values, or trees grown here; a cell or "
    "a leaf may be of a single row",
}
"""Signals that a plant may refuse, each with what it says."""


@dataclass(frozen=True)
class Field:
    """Declare one array, or one text, that an answer may hold.

    Parameters
    ----------
    kind
        Of the task that it answers.
    half
        `sums` are meant only to be added to other clients', `clear` is read as it is.
    name
        In the answer; `*` stands for validation and test, or for whatever follows.
    what
        For people.
    signal
        The signal that it belongs to; empty where the federation cannot go on without it.
    """

    kind: str
    half: str
    name: str
    what: str
    signal: str = ""


_COUNTS = {
    "histogram": "held-out rows by class and by score, in 1,024 bins",
    "modes": "held-out failures by failure mode and score",
    "brier": "sum of squared errors over held-out rows",
    "log_loss": "sum of log losses over held-out rows",
    "calibration": "rows, scores and failures in ten ranges of the score, summed",
}
_LOSSES = {
    "loss": "mean loss of the weights that came, over training rows",
    "loss_std": "standard deviation of that loss from row to row",
    "loss_rms": "root of the mean square of that loss",
    "train_loss": "mean loss while it trained",
}
_BEHIND = "whether it must be sent all trees anew, because it was started again"
_FACTS = "name, versions, columns and units found, failure modes, clock, and number of rows where allowed"

_HEAD = "name and number of the client, kind and round of the task, versions, layout of the weights; or why not"

FIELDS = (
    Field("any", "clear", "head", _HEAD),
    Field("hello", "clear", "facts", _FACTS),
    Field("survey", "sums", "labels", "number of training rows without and with a failure"),
    Field("survey", "sums", "count", "number of values of each numeric feature"),
    Field("survey", "sums", "missing", "number of missing values of each numeric feature"),
    Field("survey", "sums", "sum", "sum of each numeric feature over all training rows"),
    Field("survey", "clear", "rows", "number of training rows", "rows"),
    Field("survey", "clear", "vocabulary", "levels of each category column", "vocabulary"),
    Field("squares", "sums", "squares", "sum of squared deviations of each feature from the common mean"),
    *(
        field
        for kind in ("train", "upload")
        for field in (
            Field(kind, "sums", "update", "weights after training minus weights before, times the client's weight"),
            Field(kind, "sums", "weight", "the client's weight in the mean: its training rows, or 1"),
            Field(kind, "sums", "loss", "mean training loss times training rows", "loss"),
            Field(kind, "sums", "rows", "number of training rows", "rows"),
        )
    ),
    *(
        Field(kind, "sums", f"*.{name}", what, "counts")
        for kind in ("train", "upload", "evaluate", "tree-level", "tree-evaluate", "tree-bag")
        for name, what in _COUNTS.items()
    ),
    *(Field(kind, "clear", name, what, "loss") for kind in ("train", "hold") for name, what in _LOSSES.items()),
    *(Field(kind, "clear", "norm", "length of the update", "norm") for kind in ("train", "hold")),
    Field("loss", "clear", "loss", f"{_LOSSES['loss']}: all, or a few drawn at random", "loss"),
    Field("centroids", "clear", "centroids", "mean prepared training rows of a few clusters", "centroids"),
    Field("tree-cells", "sums", "cells", "training rows in each interval of each feature's values", "trees"),
    Field("tree-cells", "sums", "rows", "number of training rows", "trees"),
    Field("tree-survey", "sums", "classes", "number of training rows without and with a failure", "trees"),
    Field("tree-level", "sums", "histograms", "rows and sums of gradients in each cell of each node asked", "trees"),
    *(Field(kind, "clear", "behind", _BEHIND) for kind in ("tree-level", "tree-evaluate", "tree-bag")),
    Field("tree-bag", "clear", "bag.*", "trees grown on the training rows here alone: splits and leaves", "trees"),
    Field("tree-bag", "clear", "rows", "number of training rows, by which its trees count", "trees"),
    Field("deliver", "clear", "accepted", "whether the plant takes the model, and why if it tells"),
    Field("deliver", "clear", "figures", "how the model, and the plant's own, do on held-out rows here", "delivery"),
)
"""All of them."""

KINDS = tuple(dict.fromkeys(field.kind for field in FIELDS if field.kind != "any"))
"""The kinds of tasks that a plant does; others are refused by name."""


def leaving(signals: Collection[str]) -> tuple[Field, ...]:
    """Return the fields that may leave, given the signals that the plant allows."""
    return tuple(field for field in FIELDS if not field.signal or field.signal in signals)


def asked_for(field: Field, asks: Asks) -> bool:
    """Say whether a run that asks for this asks for a field."""
    if field.kind not in asks:
        return False
    by_choice = field.half == "clear" and field.kind in ("train", "hold")
    return field.name in asks[field.kind] if by_choice else True


def signals_asked(asks: Asks) -> frozenset[str]:
    """Return the signals that a run asks for that asks for this."""
    return frozenset(field.signal for field in FIELDS if field.signal and asked_for(field, asks))


def cut_down(replies: Replies, signals: Collection[str]) -> Replies:
    """Return an answer without anything that is not declared or not allowed."""
    allowed = {(field.half, field.name) for field in leaving(signals) if field.kind == replies.kind}
    sums = {**replies.sums, **{name: array[None] for name, array in replies.pooled.items()}}
    return Replies(
        replies.kind,
        replies.round,
        replies.clients,
        _allowed("sums", sums, allowed),
        _allowed("clear", replies.clear, allowed),
        replies.fingerprint,
    )


def declared(half: str, name: str) -> tuple[str, str]:
    """Return the name under which an array of an answer is declared, with its half."""
    part, dot, rest = name.partition(".")
    if dot and part in ("validation", "test"):
        return half, f"*.{rest}"
    return half, "bag.*" if dot and part == "bag" else name


def _allowed(half: str, arrays: Arrays, allowed: set[tuple[str, str]]) -> Arrays:
    return {name: array for name, array in arrays.items() if declared(half, name) in allowed}
