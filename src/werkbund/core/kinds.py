"""A kind of task is a value: what is asked and answered, what may leave with it, what it costs, when it is asked.

Each protocol declares its kinds beside its code. Whoever must know a kind reads the value: the loop that asks, the
codec, a plant's policy and its list of what may leave, the simulated world, cards and documents. Nothing else names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays, BoolArray, Float64Array

Half = Literal["shared", "own", "sums", "clear"]
"""Where an array lies: `shared` and `own` in a task; in an answer `sums`, meant only to be added, and `clear`."""

HELD_OUT = ("validation", "test")
"""Splits of held-out rows, whose names stand before those of their counts."""

FORWARD = 1.0 / 3.0
"""Cost of a forward pass in units of a training step, which is a forward and a backward pass of twice its cost."""

NUMBER_BYTES = 8.0
"""What one number in an answer weighs."""

LARGEST = float(np.finfo(np.float32).max)
"""Beyond this, numbers cannot be added up in single precision."""

TRAINING_ROWS = "training rows"
"""Unit of numbers that are each no more than a client's training rows."""

MOST_ROWS = 10**9
"""More rows than any client has."""


@dataclass(frozen=True)
class Signal:
    """Name something that a plant may keep to itself.

    Parameters
    ----------
    name
        As it stands in a plant's file.
    what
        What it says about the plant, for people.
    usual
        Whether a plant lets it leave unless its file says otherwise.
    """

    name: str
    what: str
    usual: bool = True


ROWS = Signal("rows", "how many rows the plant has")
LOSS = Signal("loss", "how high the loss on the training rows is, as a sum; in clear where clients are chosen by it")
COUNTS = Signal("counts", "how well the common model does on the plant's held-out rows, as counts of scores")
NORM = Signal("norm", "how long its update is, where clients are chosen by that")
"""What a plant may keep to itself in more than one protocol: `ROWS`, `LOSS`, `COUNTS` and `NORM`."""


@dataclass(frozen=True)
class Field:
    """Declare one array, or one text, of a task or of an answer.

    Parameters
    ----------
    half
        Where it lies.
    name
        In the message; `*.` in front stands for one of `HELD_OUT`, `.*` at the end for whatever follows.
    what
        For people.
    shape
        Of one client's part: numbers, and words for sizes that are known later, such as `parameters`.
    dtype
        Codes of NumPy's kinds of numbers that it may have, such as `f` or `iu`, with the size in bytes behind where
        no other will do, such as `f4`; empty for any.
    unit
        What its numbers are counted in.
    signal
        The signal that it belongs to; None where the federation cannot go on without it.
    needed
        Whether an answer without it is of no use.
    on_request
        Whether not every run asks for it: a signal is answered only if the task names it among those it wants, and what
        is folded beside an update only where the run's aggregation method folds it.
    least, most
        Bounds of its numbers; an answer beyond them cannot be added up.
    vector
        Whether it travels as raw numbers beside the rest of the message, because it is as large as the weights.
    minimum
        Of an array of a task: the entry of a plant's policy that the plant raises it to, `minimum_rows` or
        `minimum_cell_rows`, so that no figure is over fewer rows; empty for none.
    added
        Of such an array: whether the plant adds it where the task lacks it.
    sample
        Of such an array: whether so many rows are drawn; the plant then takes a whole multiple of its minimum.
    stream
        Of an array of a task: whether rows are drawn by it; a plant takes its own stream in place of it.
    """

    half: Half
    name: str
    what: str = ""
    shape: tuple[int | str, ...] = ()
    dtype: str = ""
    unit: str = ""
    signal: Signal | None = None
    needed: bool = False
    on_request: bool = False
    least: float | None = None
    most: float | None = None
    vector: bool = False
    minimum: str = ""
    added: bool = False
    sample: bool = False
    stream: bool = False

    @property
    def is_pattern(self) -> bool:
        """Whether arrays of several names are declared at once."""
        return self.name.startswith("*.") or self.name.endswith(".*")

    def holds(self, dtype: np.dtype[Any]) -> bool:
        """Return whether numbers of this type are what is declared here."""
        kinds = self.dtype.rstrip("0123456789")
        size = self.dtype.removeprefix(kinds)
        return not kinds or (dtype.kind in kinds and size in ("", str(dtype.itemsize)))

    def bounds(self, array: AnyArray) -> BoolArray:
        """Return which numbers of an array are within the declared bounds, in its shape; NaN is within none."""
        least, most = (-np.inf if self.least is None else self.least), (np.inf if self.most is None else self.most)
        within: BoolArray = (array >= least) & (array <= most)
        return within

    def is_name_of(self, name: str) -> bool:
        """Return whether an array of this name is what is declared here."""
        if self.name.startswith("*."):
            split, _, rest = name.partition(".")
            return split in HELD_OUT and rest == self.name[2:]
        return name.startswith(self.name[:-1]) if self.name.endswith(".*") else name == self.name


@dataclass(frozen=True)
class Sizes:
    """Hold what the cost of a task follows from, for the clients that it is for.

    Parameters
    ----------
    examples
        (tasks,), training examples of one round of each client.
    rows
        (tasks,), its training rows.
    model_bytes
        Size of the weights.
    """

    examples: Float64Array
    rows: Float64Array
    model_bytes: float


@dataclass(frozen=True)
class Effort:
    """Say what a task takes of each client: (tasks,), or alike for all.

    Parameters
    ----------
    examples
        Examples to compute, in units of training; see `FORWARD`.
    down_bytes, up_bytes
        What each receives and sends.
    """

    examples: Float64Array
    down_bytes: float
    up_bytes: float


Cost = Callable[[Sizes, Arrays], Effort]
"""Given sizes, and what all clients of a task are sent alike, say what it takes."""


@dataclass(frozen=True)
class Kind:
    """Declare a kind of task. Two kinds of one name are the same.

    Parameters
    ----------
    name
        On the wire, in records and in a plant's events.
    what
        What is asked, in words.
    when
        When it is asked, in words for the plant.
    request, answer
        What a task and its answer may hold; what is not declared does not leave a plant.
    cost
        What it takes in a simulated world; None where nobody knows, and a world refuses it.
    measures
        Whether it asks for counts alone: measuring is no part of what a world simulates.
    trains
        Whether it is a round's work, which a plant counts.
    staged
        Whether a round consists of several such tasks, which count once.
    repeatable
        Whether a client may simply do it again when it comes again; else it sends the answer that it gave.
    updates
        Whether its answer holds an update, to be folded into the next weights.
    once
        Whether a plant answers it in one form alone, as long as its rows are the same: answers to two forms would be
        about groups of rows that differ little.
    signal
        The signal without which a plant refuses the whole task; None for none.
    """

    name: str
    what: str = field(default="", compare=False)
    when: str = field(default="", compare=False)
    request: tuple[Field, ...] = field(default=(), compare=False)
    answer: tuple[Field, ...] = field(default=(), compare=False)
    cost: Cost | None = field(default=None, compare=False, kw_only=True)
    measures: bool = field(default=False, compare=False, kw_only=True)
    trains: bool = field(default=False, compare=False, kw_only=True)
    staged: bool = field(default=False, compare=False, kw_only=True)
    repeatable: bool = field(default=True, compare=False, kw_only=True)
    updates: bool = field(default=False, compare=False, kw_only=True)
    once: bool = field(default=False, compare=False, kw_only=True)
    signal: Signal | None = field(default=None, compare=False, kw_only=True)

    def __str__(self) -> str:
        return self.name

    def asked(self, half: Half, name: str) -> Field | None:
        """Return the declaration of an array of a task; None if it is not declared."""
        return _declared(self._asked, half, name)

    def answered(self, half: Half, name: str) -> Field | None:
        """Return the declaration of an array of an answer; None if it is not declared."""
        return _declared(self._answered, half, name)

    @cached_property
    def _asked(self) -> Declared:
        return {}, self.request

    @cached_property
    def _answered(self) -> Declared:
        return {}, self.answer

    @property
    def signals(self) -> tuple[Signal, ...]:
        """The signals of its answer, each once."""
        each = [self.signal, *(array.signal for array in self.answer)]
        return tuple(dict.fromkeys(signal for signal in each if signal is not None))

    @property
    def vector_asked(self) -> str:
        """Name of the shared array that travels as raw numbers; empty for none."""
        return next((array.name for array in self.request if array.vector), "")

    @property
    def vector_answered(self) -> str:
        """Name of the sum that travels as raw numbers; empty for none."""
        return next((array.name for array in self.answer if array.vector), "")


Declared = tuple[dict[tuple[str, str], "Field | None"], tuple[Field, ...]]
"""What was looked up already, by half and name, and all declarations."""

_MOST_REMEMBERED = 1000


def _declared(table: Declared, half: Half, name: str) -> Field | None:
    known, fields = table
    if (half, name) not in known:
        if len(known) > _MOST_REMEMBERED:  # names may be anybody's
            known.clear()
        known[half, name] = next((one for one in fields if one.half == half and one.is_name_of(name)), None)
    return known[half, name]


def as_training(sizes: Sizes, shared: Arrays) -> Effort:
    """Return the cost of a round's training: weights come, weights go."""
    return Effort(sizes.examples, sizes.model_bytes, sizes.model_bytes)


def by_name(kinds: tuple[Kind, ...]) -> Mapping[str, Kind]:
    """Return kinds by their names.

    Raises
    ------
    ValueError
        If two of them share a name.
    """
    table = {kind.name: kind for kind in kinds}
    if len(table) < len(kinds):
        raise ValueError(f"kinds of tasks must have names of their own, got {[kind.name for kind in kinds]}")
    return table


def nothing(sizes: Sizes) -> Float64Array:
    """Return no examples, for each client."""
    return np.zeros(len(sizes.rows))
