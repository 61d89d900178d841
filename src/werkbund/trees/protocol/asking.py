"""One question about trees to some clients: whole numbers, added in any order; who failed, and who is behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from werkbund.core.arrays import AnyArray, Float64Array
from werkbund.core.kinds import MOST_ROWS
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine.asking import Check, Form, Meter, ask, size_of
from werkbund.engine.grid import Grid
from werkbund.engine.records import sum_trips
from werkbund.engine.summands import counts_of_splits
from werkbund.trees.arithmetic import Blocks, Terms
from werkbund.trees.protocol.kinds import COUNTS_WANTED, TREE_EVALUATE

Shapes = Mapping[str, tuple[int, ...]]
_MOST = 2.0**62


@dataclass
class Answers:
    """Hold what clients answered to one question or several, added up.

    Parameters
    ----------
    sums
        Each named array, added over the clients that answered.
    clients
        Their numbers.
    behind
        Clients that must be sent the whole first.
    failures
        Clients without a usable answer.
    replies
        All usable answers, without these sums.
    bytes_down, bytes_up, messages
        Payload both ways, and how many questions a client was asked.
    sum_trips
        Round trips that secure sums took.
    """

    sums: dict[str, AnyArray] = field(default_factory=dict)
    clients: list[int] = field(default_factory=list)
    behind: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    replies: list[Replies] = field(default_factory=list)
    bytes_down: int = 0
    bytes_up: int = 0
    messages: int = 0
    sum_trips: int = 0

    def joined(self, more: Answers) -> Answers:
        """Return both, as answers to one question."""
        sums = dict(self.sums)
        for name, array in more.sums.items():
            sums[name] = sums[name] + array if name in sums else array
        return Answers(
            sums,
            [*self.clients, *more.clients],
            more.behind,
            [*self.failures, *more.failures],
            [*self.replies, *more.replies],
            self.bytes_down + more.bytes_down,
            self.bytes_up + more.bytes_up,
            self.messages + more.messages,
            self.sum_trips + more.sum_trips,
        )


def ask_all(
    grid: Grid, tasks: Tasks, shapes: Shapes, timeout_s: float, form: Form | None = None, bound: Check | None = None
) -> Answers:
    """Ask clients and add what they answer.

    Parameters
    ----------
    grid
        Reaches the clients.
    tasks
        The question.
    shapes
        Shape of each sum that is wanted, by name; another one that comes is added all the same.
    timeout_s
        Seconds to wait.
    form, bound
        What a usable answer looks like beside that, and what else is looked at before it is added.
    """
    if not len(tasks):
        return Answers()
    answers, meter = Answers(bytes_down=size_of(tasks), messages=1), Meter()
    counts = counts_of_splits((form or Form()).counts) if _wants_counts(tasks) else {}
    tasks = replace(tasks, shapes={**shapes, **counts})

    def check(reply: Replies) -> str | None:
        return None if _is_behind(reply) else _flaw(reply, shapes) or (bound(reply) if bound else None)

    for arrival in ask(grid, [tasks], timeout_s, form, check, meter):
        if isinstance(arrival, Failure):
            answers.failures.append(arrival)
        elif _is_behind(arrival):
            answers.behind += arrival.clients.tolist()
        else:
            _take(answers, arrival, shapes)
            answers.bytes_down += arrival.toll.bytes_down
            answers.sum_trips += sum_trips([arrival])
    answers.bytes_up = meter.bytes_up
    return answers


def _wants_counts(tasks: Tasks) -> bool:
    return tasks.kind == TREE_EVALUATE or COUNTS_WANTED in tasks.shared


def _is_behind(reply: Replies) -> bool:
    """Return whether an answer says that its clients must be sent the whole first, or is in no sum for such a one."""
    if not reply.toll.is_opened:
        return True
    behind = reply.clear.get("behind")
    plain = behind is not None and behind.shape == (len(reply),) and behind.dtype == np.bool_
    return behind is not None and plain and bool(behind.any())


def _take(answers: Answers, reply: Replies, shapes: Shapes) -> None:
    """Add an answer's sums, and keep what else it holds."""
    for name, rows in reply.figures.items():
        answers.sums[name] = answers.sums[name] + rows.sum(axis=0) if name in answers.sums else rows.sum(axis=0)
    answers.clients += reply.clients.tolist()
    rest = {name: array for name, array in reply.pooled.items() if name not in shapes}
    each = {name: array for name, array in reply.sums.items() if name not in shapes}
    answers.replies.append(replace(reply, sums=each, pooled=rest))


def _flaw(reply: Replies, shapes: Shapes) -> str | None:
    """Return why an answer cannot be added, or None."""
    own_shapes = {name: array.shape[1:] for name, array in reply.figures.items()}
    odd = [name for name, shape in shapes.items() if own_shapes.get(name) != shape]
    if odd:
        return f"its {', '.join(odd)} have another form than was asked; it may run another version"
    for part in (reply.sums, reply.pooled):
        wrong = [name for name, array in part.items() if not _addable(array, name in shapes)]
        if wrong:
            return f"its {', '.join(wrong)} must be whole numbers that can be added"
        words = part.get("histograms")
        if words is not None and (words[..., 1:] < 0).any():
            return "its histograms must have hessians and rows of at least 0"
    return None


def _addable(array: AnyArray, whole: bool) -> bool:
    """Say whether an array holds numbers that can be added; if `whole`, whole ones alone."""
    if whole and array.dtype.kind not in "iu":
        return False
    if array.dtype.kind == "f":
        return bool(np.isfinite(array).all())
    if array.dtype.kind not in "iu" or not array.size:
        return array.dtype.kind in "iu"
    return bool(float(array.max()) < _MOST and float(array.min()) > -_MOST)


def odd_histograms(reply: Replies, terms: Terms, asked: Blocks, rows: Float64Array) -> str | None:
    """Return why an answer's histograms cannot be those of its clients' rows, or None.

    Parameters
    ----------
    reply
        Holds `histograms`, (..., cells, 3): sums of gradients and hessians, and rows.
    terms
        Bounds of one row, and how often it may be drawn.
    asked
        Whose cells they are.
    rows
        (all clients,), training rows that each said it has, NaN where nobody knows; empty where nobody is held to any.
    """
    words = reply.figures["histograms"]
    each = np.nan_to_num(rows[reply.clients], nan=MOST_ROWS) if len(rows) else np.full(len(reply), float(MOST_ROWS))
    most = terms.most_draws * (each if len(words) == len(reply) else each.sum(keepdims=True))
    counted = words[..., 2].astype(np.float64)
    if asked.starts.size and (np.add.reduceat(counted, asked.starts.reshape(-1), axis=-1) > most[:, None]).any():
        return "its histograms hold more rows than it said it has"
    gradient, hessian = terms.most_of_a_row
    if (np.abs(words[..., 0].astype(np.float64)) > gradient * counted).any() or (
        words[..., 1] > hessian * counted
    ).any():
        return "its histograms hold gradients or hessians beyond what so many rows can have"
    return None


def reasons_of(grid: Grid, failures: list[Failure]) -> dict[str, str]:
    """Return why each client is missing, by name."""
    names = grid.clients()
    return {names[failure.client]: failure.reason for failure in failures}
