"""What may leave a plant: the fields of the answers to the kinds of tasks that it does, and no others.

Each protocol declares its kinds beside its code. `client check` shows them, an answer is cut down to them, and a test
compares them with the bytes that left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from werkbund.core.arrays import Arrays
from werkbund.core.kinds import COUNTS, LOSS, NORM, ROWS, Field, Half, Kind, Signal
from werkbund.core.types import Replies
from werkbund.data.answers import SQUARES, SURVEY, VOCABULARY
from werkbund.engine.kinds import EVALUATE, PERSONALISE, TRAIN, UPLOAD
from werkbund.federation.asking import Asks, is_asked
from werkbund.privacy.sums import SUM_KINDS
from werkbund.selection.questions import CENTROIDS, CENTROIDS_SIGNAL, HOLD
from werkbund.selection.questions import LOSS as LOSS_QUESTION
from werkbund.trees.protocol.kinds import TREE_KINDS, TREES

DELIVERY = Signal("delivery", "how a delivered model does here, and how the plant's own does")

ANY = Kind(
    "any",
    "whatever it is",
    "with each answer",
    answer=(
        Field(
            "clear",
            "head",
            "name and number of the client, kind and round of the task, versions, layout of the weights, how far "
            "the plant's ledger goes; or why not",
            (),
            "U",
        ),
    ),
)
"""What every answer says beside its arrays. It is no task."""

HELLO = Kind(
    "hello",
    "say what the plant is and has",
    "once, before the first round",
    answer=(
        Field(
            "clear",
            "facts",
            "name, versions, columns and units found, failure modes, clock, and number of rows where allowed",
            (),
            "U",
        ),
    ),
)

DELIVER = Kind(
    "deliver",
    "judge a model on the rows here, and take it or do not",
    "when a model comes",
    (
        Field("shared", "weights", "what was learnt, of a network", ("parameters",), "f", vector=True),
        Field("shared", "ensemble.*", "what was learnt, of trees"),
        Field("shared", "threshold", "from which risk on to look", (), "f"),
        Field("shared", "card", "about the model", (), "U"),
    ),
    (
        Field("clear", "accepted", "whether the plant takes the model, and why if it tells", (), "U"),
        Field(
            "clear", "figures", "how the model, and the plant's own, do on held-out rows here", (), "U", signal=DELIVERY
        ),
    ),
    repeatable=False,
)

OTHERS = (
    "Every plant is told what all have together: training rows with and without a failure, mean and scale of each "
    "column, levels of categories, failure modes, and the model. It can subtract what it has itself: of two plants "
    "each has the other's figures, of three the two others' together."
)
"""What other plants learn by way of the server, in words."""

KINDS: tuple[Kind, ...] = (
    HELLO,
    SURVEY,
    SQUARES,
    TRAIN,
    EVALUATE,
    HOLD,
    UPLOAD,
    LOSS_QUESTION,
    CENTROIDS,
    *TREE_KINDS,
    PERSONALISE,
    *SUM_KINDS,
    DELIVER,
)
"""The kinds of tasks that a plant does; others are refused by name."""

SIGNALS: tuple[Signal, ...] = (ROWS, LOSS, COUNTS, VOCABULARY, DELIVERY, NORM, CENTROIDS_SIGNAL, TREES)
"""What may leave a plant beside its update, each of which it can refuse."""

USUAL: tuple[str, ...] = tuple(signal.name for signal in SIGNALS if signal.usual)
"""Those that a plant allows unless it says otherwise: centroids tell what its machines are run at, and cells of trees
may be of single rows."""


def signals_of(kinds: Iterable[Kind]) -> tuple[Signal, ...]:
    """Return the signals of these kinds, each once, those that ship first."""
    further = (signal for kind in kinds for signal in kind.signals)
    return tuple(dict.fromkeys((*SIGNALS, *further)))


def leaving(kinds: Iterable[Kind], signals: Collection[str]) -> Iterator[tuple[Kind, Field]]:
    """Yield the fields that may leave with each kind's answer, given the names of the signals that the plant allows."""
    for kind in (ANY, *kinds):
        if kind.signal is None or kind.signal.name in signals:
            yield from ((kind, field) for field in kind.answer if _is_allowed(field, signals))


def asked_anyway(asks: Asks) -> Asks:
    """Return what a run asks for, with what a server asks each plant whatever the run."""
    return {**dict.fromkeys((ANY, HELLO, DELIVER), frozenset[str]()), **asks}


def signals_asked(kinds: Iterable[Kind], asks: Asks) -> frozenset[str]:
    """Return the names of the signals that a run asks for that asks for this."""
    fields = ((kind, field) for kind in kinds for field in kind.answer if is_asked(kind, field, asks))
    return frozenset(field.signal.name for _, field in fields if field.signal is not None)


def cut_down(replies: Replies, signals: Collection[str]) -> Replies:
    """Return an answer without anything that its kind does not declare, or that the plant does not allow."""
    sums = {**replies.sums, **{name: array[None] for name, array in replies.pooled.items()}}
    return Replies(
        replies.kind,
        replies.round,
        replies.clients,
        _allowed(replies.kind, "sums", sums, signals),
        _allowed(replies.kind, "clear", replies.clear, signals),
        replies.fingerprint,
    )


def _allowed(kind: Kind, half: Half, arrays: Arrays, signals: Collection[str]) -> Arrays:
    declared = {name: kind.answered(half, name) for name in arrays}
    return {name: arrays[name] for name, field in declared.items() if field and _is_allowed(field, signals)}


def _is_allowed(field: Field, signals: Collection[str]) -> bool:
    return field.signal is None or field.signal.name in signals
