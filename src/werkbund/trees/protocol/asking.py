"""One question about trees to some clients: whole numbers, added in any order; who failed, and who is behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from werkbund.core.arrays import AnyArray, BoolArray
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine.answers import NO_ANSWER, Form, Missing, claim, flaw, kept, payload, size_of
from werkbund.engine.grid import Grid

Shapes = Mapping[str, tuple[int, ...]]
_MOST = 2.0**62


@dataclass
class Heard:
    """Hold what came of questions.

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
    """

    sums: dict[str, AnyArray] = field(default_factory=dict)
    clients: list[int] = field(default_factory=list)
    behind: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    replies: list[Replies] = field(default_factory=list)
    bytes_down: int = 0
    bytes_up: int = 0
    messages: int = 0

    def joined(self, more: Heard) -> Heard:
        """Return both, as answers to one question."""
        sums = dict(self.sums)
        for name, array in more.sums.items():
            sums[name] = sums[name] + array if name in sums else array
        return Heard(
            sums,
            [*self.clients, *more.clients],
            more.behind,
            [*self.failures, *more.failures],
            [*self.replies, *more.replies],
            self.bytes_down + more.bytes_down,
            self.bytes_up + more.bytes_up,
            self.messages + more.messages,
        )


def ask_all(grid: Grid, tasks: Tasks, shapes: Shapes, timeout_s: float) -> Heard:
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
    """
    heard = Heard(bytes_down=size_of(tasks), messages=1)
    if not len(tasks):
        return Heard()
    missing: Missing = dict.fromkeys(tasks.clients.tolist(), tasks.kind)
    grid.send(tasks)
    for arrival in grid.receive(timeout_s):
        if arrival.round != tasks.round:
            continue
        if isinstance(arrival, Failure):
            if missing.pop(arrival.client, None) is not None:
                heard.failures.append(arrival)
            continue
        heard.bytes_up += payload(arrival)
        _take(heard, arrival, missing, shapes)
    heard.failures += [Failure(client, tasks.round, NO_ANSWER) for client in sorted(missing)]
    return heard


def _take(heard: Heard, reply: Replies, missing: Missing, shapes: Shapes) -> None:
    owed = claim(reply, missing)
    if not owed.any():
        return
    clients = reply.clients[owed].tolist()
    behind = reply.clear.get("behind")
    if behind is not None and behind.shape == owed.shape and behind.dtype == np.bool_ and behind.any():
        heard.behind += clients
        return
    reason = flaw(reply, Form()) or _odd(reply, owed, shapes)
    if reason is not None:
        heard.failures += [Failure(client, reply.round, reason) for client in clients]
        return
    own = {name: array[owed].sum(axis=0) for name, array in reply.sums.items()}
    for name, array in {**own, **reply.pooled}.items():
        heard.sums[name] = heard.sums[name] + array if name in heard.sums else array
    heard.clients += clients
    rest = {name: array for name, array in reply.pooled.items() if name not in shapes}
    each = {name: array for name, array in reply.sums.items() if name not in shapes}
    heard.replies.append(kept(replace(reply, sums=each, pooled=rest), owed))


def _odd(reply: Replies, owed: BoolArray, shapes: Shapes) -> str | None:
    """Return why an answer cannot be added, or None."""
    if reply.pooled and not owed.all():
        return "its sums hold clients that were not asked, or have answered"
    found = {name: array.shape[1:] for name, array in reply.sums.items()}
    found |= {name: array.shape for name, array in reply.pooled.items()}
    odd = [name for name, shape in shapes.items() if found.get(name) != shape]
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
    if whole and array.dtype.kind not in "iu":
        return False
    if array.dtype.kind == "f":
        return bool(np.isfinite(array).all())
    if array.dtype.kind not in "iu" or not array.size:
        return array.dtype.kind in "iu"
    return bool(float(array.max()) < _MOST and float(array.min()) > -_MOST)


def reasons_of(grid: Grid, failures: list[Failure]) -> dict[str, str]:
    """Return why each client is missing, by name."""
    names = grid.clients()
    return {names[failure.client]: failure.reason for failure in failures}
