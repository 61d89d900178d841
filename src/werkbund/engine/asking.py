"""The one way to ask clients: each usable answer comes out once, and each failure with its reason.

A client may run another version, be late, or mean ill. What it sends must never end a round, so every answer passes
here before anything reads its arrays: it must have been asked for, be the first of its client, and be of the form that
its kind declares.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays, BoolArray, Float64Array
from werkbund.core.errors import QuorumError
from werkbund.core.kinds import LARGEST, Field, Half, Kind
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine.grid import Grid
from werkbund.engine.summands import sums_of
from werkbund.engine.word import Word
from werkbund.selection.contract import NUMBERS

NO_ANSWER = "no answer in time (federation.round_timeout_s)"
"""Why a client failed that said nothing."""

ENOUGH = "came after enough others (over-commitment)"
"""Why an answer is not used that came when as many as were wanted had come."""

_MOST_COUNTED = 2.0**48  # more rows than any client has; sums of such numbers over all clients stay exact
_PLAIN = Field("clear", "", least=-LARGEST, most=LARGEST)  # a number that nobody declares
_WORDS = {
    "f": "floating-point numbers",
    "f4": "32-bit floating-point numbers",
    "iu": "whole numbers",
    "b": "truths",
    "U": "texts",
}

Check = Callable[[Replies], str | None]
"""Says why an answer of the right form cannot be used all the same, or None."""


@dataclass(frozen=True)
class Form:
    """Say what a usable answer looks like.

    Parameters
    ----------
    num_parameters, fingerprint
        Of the weights that were sent.
    counts
        Shape of each evaluation count of one client, by name; empty where none are expected, or any.
    folds
        Names of the sums that are folded beside the update, which an answer with an update must hold too.
    changed
        Names of the sums that layers of privacy changed: of these the shape alone says whether they can be used.
    word
        What clients said before, which their answers must fit.
    """

    num_parameters: int = 0
    fingerprint: str = ""
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    folds: tuple[str, ...] = ()
    changed: frozenset[str] = frozenset()
    word: Word = field(default_factory=Word)


@dataclass
class Meter:
    """Count the payload of what comes, in bytes, whether it can be used or not."""

    bytes_up: int = 0


@dataclass
class Asking:
    """Ask clients, and know who owes which answer.

    What is owed stays owed until it comes: a round that is closed early may take late answers in the next one.

    Parameters
    ----------
    grid
        Reaches the clients.
    form
        What a usable answer looks like.
    check
        Looks at each answer that has this form, before it is used.
    meter
        Counts bytes.
    """

    grid: Grid
    form: Form = field(default_factory=Form)
    check: Check | None = None
    meter: Meter = field(default_factory=Meter)
    owed: dict[int, dict[int, Kind]] = field(default_factory=dict)

    def send(self, tasks: Tasks) -> None:
        """Ask each of the tasks' clients, if there are any."""
        if len(tasks):
            self.owed.setdefault(tasks.round, {}).update(dict.fromkeys(tasks.clients.tolist(), tasks.kind))
            form = self.form
            shapes = tasks.shapes or sums_of(tasks.kind, form.num_parameters, form.folds, form.counts)
            self.grid.send(replace(tasks, shapes=shapes))

    def receive(self, timeout_s: float) -> Generator[Replies | Failure]:
        """Yield usable answers, and failures of clients that owed one, as they come; what nobody owed is dropped.

        Who stops reading before the end leaves the rest to the next call.
        """
        for arrival in self.grid.receive(timeout_s):
            if isinstance(arrival, Failure):
                if self.owed.get(arrival.round, {}).pop(arrival.client, None) is not None:
                    yield arrival
            elif self.owed.get(arrival.round):
                self.meter.bytes_up += payload(arrival)
                yield from self._checked(arrival)
            del arrival  # before the next one is made, which may be as large as all the weights

    def give_up(self) -> Iterator[Failure]:
        """Yield a failure for each client that still owes an answer, which is then owed no longer."""
        for round, kinds in sorted(self.owed.items()):
            yield from (Failure(client, round, NO_ANSWER) for client in sorted(kinds))
        self.owed.clear()

    def _checked(self, replies: Replies) -> Iterator[Replies | Failure]:
        """Yield the usable rows of an answer as one answer, and a failure for each other client that owed it."""
        due = self._claim(replies)
        if not due.any():
            return
        reason = flaw(replies, self.form)
        if replies.pooled and not due.all():
            reason = "its sums hold clients that were not asked, or have answered"
        faults = {} if reason else self._faults(replies)
        unusable = {} if reason else {**self._unusable(replies), **faults}
        usable = due.copy()
        usable[list(unusable)] = False
        if reason is None and usable.any():
            yield kept(replies, usable)
        for place in np.flatnonzero(due if reason else due & ~usable).tolist():
            yield Failure(int(replies.clients[place]), replies.round, reason or unusable[place], answered=True)

    def _faults(self, replies: Replies) -> dict[int, str]:
        """Return at which places of an answer its check finds something, each with what."""
        reason = self.check(replies) if self.check else None
        if self.check is None or reason is None:
            return {}
        places = range(len(replies))
        alone = (kept(replies, np.arange(len(replies)) == place) for place in places)
        each = {} if replies.pooled else dict(zip(places, map(self.check, alone), strict=True))
        return {place: why for place, why in each.items() if why} or dict.fromkeys(places, reason)

    def _unusable(self, replies: Replies) -> dict[int, str]:
        """Return at which places of an answer it cannot be used, each with why."""
        form, names = self.form, dict[int, list[str]]()
        for name, rows in unusable_rows(replies, form.changed).items():
            for place in np.flatnonzero(rows).tolist():
                names.setdefault(place, []).append(name)
        beyond = "its {} cannot be added up: NaN, infinite or out of bounds"
        unadded = {place: beyond.format(", ".join(each)) for place, each in names.items()}
        return {**form.word.broken(replies, form.changed), **unadded}

    def _claim(self, replies: Replies) -> BoolArray:
        """Strike the clients of an answer off what is owed; say for each row whether it was: (replies,)."""
        owed, kind = self.owed[replies.round], replies.kind
        due = []
        for client in replies.clients.tolist():
            known = owed.get(client)
            is_due = known is kind or known == kind  # the same object, for most: a thousand clients are looked up so
            if is_due:
                del owed[client]
            due.append(is_due)
        return np.array(due, np.bool_)


def ask(
    grid: Grid,
    questions: Sequence[Tasks],
    timeout_s: float,
    form: Form | None = None,
    check: Check | None = None,
    meter: Meter | None = None,
) -> Iterator[Replies | Failure]:
    """Ask, and yield each usable answer once, and a failure for every other client that was asked.

    Parameters
    ----------
    grid
        Reaches the clients.
    questions
        Tasks of one round; no client stands in two of them.
    timeout_s
        Seconds to wait.
    form, check
        What a usable answer looks like, and what else is looked at before it is used.
    meter
        Counts bytes.
    """
    yield from asked(Asking(grid, form or Form(), check, meter or Meter()), questions, timeout_s)


def asked(asking: Asking, questions: Sequence[Tasks], timeout_s: float) -> Iterator[Replies | Failure]:
    """Ask as `ask` does, by one who asks already."""
    for tasks in questions:
        asking.send(tasks)
    if asking.owed:
        yield from asking.receive(timeout_s)
    yield from asking.give_up()


def answers(
    grid: Grid, questions: Sequence[Tasks], timeout_s: float, form: Form | None = None, check: Check | None = None
) -> tuple[list[Replies], list[Failure]]:
    """Ask, and return all usable answers, and a failure for every other client that was asked; see `ask`."""
    arrivals = list(ask(grid, questions, timeout_s, form, check))
    replies = [arrival for arrival in arrivals if isinstance(arrival, Replies)]
    return replies, [arrival for arrival in arrivals if isinstance(arrival, Failure)]


def check_quorum(asked: int, answered: int, quorum: float, round: int, reasons: Mapping[str, str]) -> None:
    """Raise if too few of those asked answered usefully.

    Parameters
    ----------
    asked, answered
        Numbers of clients.
    quorum
        Share of those asked that is needed, rounded up; one at least.
    round
        Its number; 0 before the first.
    reasons
        Why each other client is missing, by name.

    Raises
    ------
    QuorumError
        If fewer than the quorum answered; it names each that is missing.
    """
    needed = max(1, int(np.ceil(quorum * asked - 1e-9)))
    if answered < needed:
        raise QuorumError(round, needed, answered, reasons)


def flaw(replies: Replies, form: Form) -> str | None:
    """Return why an answer has not the form that its kind declares, or None."""
    kind = replies.kind
    if replies.fingerprint != form.fingerprint and (kind.updates or replies.fingerprint):
        return f"its weights have the layout {replies.fingerprint or 'unknown'}, not {form.fingerprint}"
    halves: tuple[tuple[Half, Mapping[str, AnyArray]], ...] = (("sums", replies.sums), ("clear", replies.clear))
    num_rows = (len(replies),)
    uneven = [name for _, half in halves for name, array in half.items() if array.shape[:1] != num_rows]
    if uneven:
        return f"its {', '.join(uneven)} must have one row a client"
    strange = [name for name in NUMBERS & replies.clear.keys() if not _is_plain(replies.clear[name], num_rows)]
    if strange:
        return f"its {', '.join(sorted(strange))} must be one plain number"
    odd = _odd_counts(replies, form.counts)
    if odd:
        return f"its counts {', '.join(odd)} have another form than this federation's; it may run another version"
    given: dict[str, Arrays] = {"sums": replies.figures, "clear": replies.clear}
    lacking = [field.name for field in kind.answer if field.needed and field.name not in given[field.half]]
    lacking += [name for name in form.folds if kind.updates and name not in given["sums"]]
    if lacking:
        return f"its answer lacks {', '.join(lacking)}"
    for half in ("sums", "clear"):
        for name, array in given[half].items():
            declared = kind.answered(half, name)
            looked_at = (half == "clear" and name in NUMBERS) or "." in name  # above, or by who asked
            misfit = None if declared is None or looked_at else _misfit(declared, name, array, form)
            if misfit:
                return misfit
    return _unusable_total(replies, form.changed)


def _unusable_total(replies: Replies, changed: frozenset[str]) -> str | None:
    """Return why what came added over several clients cannot be used, or None; each bound holds as often as there are.

    Of what was `changed` it is enough that it is finite.
    """
    for name, array in replies.pooled.items():
        declared = None if name in changed else replies.kind.answered("sums", name)
        bounds = declared or _PLAIN
        scaled = replace(bounds, most=None if bounds.most is None else bounds.most * len(replies))
        if (array.dtype.kind == "f" and not np.isfinite(array).all()) or not scaled.bounds(array).all():
            return f"its {name}, of {len(replies)} clients, cannot be used: NaN, infinite or out of bounds"
    return None


def _misfit(declared: Field, name: str, array: AnyArray, form: Form) -> str | None:
    """Return what is wrong with the form of a declared array, (replies, ...), or None."""
    sizes: dict[int | str, int] = {"parameters": form.num_parameters}
    expected = tuple(sizes.get(size, size) for size in declared.shape)
    given = array.shape[1:]
    fits = len(given) == len(expected) and all(
        isinstance(size, str) or size == number for size, number in zip(expected, given, strict=True)
    )
    if not fits and expected:
        return f"its {name} has the shape {given}, not {expected}"
    if not fits or not (array.dtype.kind in "iuf" if name in form.changed else declared.holds(array.dtype)):
        return f"its {name} must be plain {_WORDS.get(declared.dtype, 'numbers')}, got {array.dtype}"
    return None


def unusable_rows(replies: Replies, changed: frozenset[str] = frozenset()) -> dict[str, BoolArray]:
    """Return for each sum that cannot be added up at some client, at which: (replies,) by name.

    Floating-point numbers must be finite, and all within the bounds that are declared, unless they were `changed`.
    """
    beyond: dict[str, BoolArray] = {}
    for name, array in replies.sums.items():
        declared = None if name in changed else replies.kind.answered("sums", name)
        good = finite_rows(array) if array.dtype.kind == "f" else np.ones(len(array), np.bool_)
        if declared is not None and (declared.least is not None or declared.most is not None):
            good &= _each_row(declared.bounds(array))
        if not good.all():
            beyond[name] = ~good
    return beyond


def _each_row(truths: BoolArray) -> BoolArray:
    return truths if truths.ndim == 1 else np.asarray(truths.all(axis=tuple(range(1, truths.ndim))))


def _odd_counts(replies: Replies, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the names of counts (`split.name`) that are no such counts, or else of those that a split lacks."""
    if not shapes:
        return []
    counts = {name: (array.shape[1:], array) for name, array in replies.sums.items() if "." in name}
    counts |= {name: (array.shape, array) for name, array in replies.pooled.items() if "." in name}
    splits = sorted({name.partition(".")[0] for name in counts})
    absent = [f"{split}.{part}" for split in splits for part in shapes if f"{split}.{part}" not in counts]
    odd = [
        name
        for name, (shape, array) in counts.items()
        if shapes.get(name.partition(".")[2]) != shape or not _is_countable(array)
    ]
    return odd or absent


def _is_plain(array: AnyArray, shape: tuple[int, ...]) -> bool:
    return array.shape == shape and array.dtype.kind in "fiu"


def _is_countable(array: AnyArray) -> bool:
    return array.dtype.kind in "iuf" and bool(((array >= 0) & (array <= _MOST_COUNTED)).all())


def finite_rows(array: AnyArray) -> BoolArray:
    """Say for each row whether all its entries are finite: (rows,).

    The sum of a row is finite only if every entry is, in one pass without a mask of the matrix's size.
    """
    if array.ndim == 1:
        return np.isfinite(array)
    with np.errstate(over="ignore", invalid="ignore"):
        finite: BoolArray = np.isfinite(array.sum(axis=tuple(range(1, array.ndim))))
    return finite


def kept(replies: Replies, usable: BoolArray) -> Replies:
    """Return the usable rows of an answer; pooled arrays stay if any row does.

    A number in clear that is beyond its declared bounds, or infinite or beyond float32, becomes NaN, as if it had not
    been sent.
    """
    rest, numbers = replies.take(usable), NUMBERS & replies.clear.keys()
    if not numbers:
        return rest
    told = {name: _bounded(rest.clear[name], replies.kind.answered("clear", name) or _PLAIN) for name in numbers}
    return replace(rest, clear={**rest.clear, **told})


def _bounded(array: AnyArray, declared: Field) -> Float64Array:
    numbers = array.astype(np.float64)
    return np.where(declared.bounds(numbers), numbers, np.nan)


def payload(replies: Replies) -> int:
    """Return the size in bytes of an answer's arrays, and of what else came on their way."""
    parts = (replies.sums, replies.clear, replies.pooled)
    return sum(array.nbytes for part in parts for array in part.values()) + replies.toll.bytes_up


def size_of(tasks: Tasks) -> int:
    """Return the size in bytes of the arrays that go to all clients of these tasks."""
    shared = sum(array.nbytes for array in tasks.shared.values())
    return len(tasks) * shared + sum(array.nbytes for array in tasks.own.values())
