"""Answers of a round: checked one by one, folded in client order, kept where a record needs them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from werkbund.aggregation.contract import Aggregator, Sums
from werkbund.core.types import Failure, Replies
from werkbund.core.weights import FloatArray

IntArray = npt.NDArray[np.int64]
Signals = dict[int, dict[str, Any]]


class OrderedFold:
    """Fold updates in client order, whatever the order of arrival, so that the sum has the same bits.

    An update that comes before its turn waits. Clients that answer in order, or all at once, wait for nobody.

    Parameters
    ----------
    aggregator
        Adds the updates.
    cohort
        (cohort,), client numbers, ascending.
    num_parameters
        Length of an update.
    """

    def __init__(self, aggregator: Aggregator, cohort: IntArray, num_parameters: int) -> None:
        self._aggregator = aggregator
        self._cohort = cohort.tolist()
        self._turn = 0
        self._waiting: dict[int, tuple[FloatArray, float] | None] = {}
        self._sums = Sums(np.zeros(num_parameters, np.float32))

    def add(self, clients: IntArray, updates: FloatArray, weights: npt.NDArray[np.float64]) -> None:
        """Take weighted updates: (k,), (k, parameters), (k,)."""
        in_turn = self._cohort[self._turn : self._turn + len(clients)]
        if not self._waiting and clients.tolist() == in_turn:
            self._sums = self._aggregator.fold(self._sums, updates, weights)
            self._turn += len(clients)
            return
        for client, update, weight in zip(clients.tolist(), updates, weights.tolist(), strict=True):
            self._waiting[client] = (update, weight)
        self._advance()

    def skip(self, client: int) -> None:
        """Wait for this client no longer."""
        self._waiting[client] = None
        self._advance()

    def close(self) -> Sums:
        """Return the sum of all that came; a client still missing is skipped."""
        for client in self._cohort[self._turn :]:
            self._waiting.setdefault(client, None)
        self._advance()
        return self._sums

    def _advance(self) -> None:
        while self._turn < len(self._cohort) and self._cohort[self._turn] in self._waiting:
            entry = self._waiting.pop(self._cohort[self._turn])
            self._turn += 1
            if entry is not None:
                update, weight = entry
                self._sums = self._aggregator.fold(self._sums, update[None], np.array([weight]))


@dataclass
class Collected:
    """Hold what a round's answers gave.

    Parameters
    ----------
    sums
        The folded updates.
    trained
        Clients whose update was folded.
    failures
        Clients of the cohort, or evaluators, without a usable answer.
    replies
        All usable answers; their updates are left out.
    bytes_up
        Payload of the answers.
    """

    sums: Sums
    trained: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    replies: list[Replies] = field(default_factory=list)
    bytes_up: int = 0


def collect(
    arrivals: Iterable[Replies | Failure],
    aggregator: Aggregator,
    expected: dict[str, IntArray],
    num_parameters: int,
    fingerprint: str,
    round: int,
) -> Collected:
    """Check and fold answers as they arrive.

    Parameters
    ----------
    arrivals
        What the grid yields.
    aggregator
        Folds the updates.
    expected
        Client numbers asked, by kind of task: `train` and `evaluate`.
    num_parameters, fingerprint
        Of the weights that were sent.
    round
        Its number; an answer to another round is dropped.
    """
    fold = OrderedFold(aggregator, expected["train"], num_parameters)
    gathered = Collected(Sums(np.empty(0, np.float32)))
    missing = {int(client): kind for kind, clients in expected.items() for client in clients}
    for arrival in arrivals:
        if isinstance(arrival, Failure):
            if missing.pop(arrival.client, None) == "train":
                fold.skip(arrival.client)
            gathered.failures.append(arrival)
            continue
        if arrival.round != round:
            continue
        gathered.bytes_up += payload(arrival)
        usable = np.array([missing.pop(int(client), None) == arrival.kind for client in arrival.clients], np.bool_)
        if arrival.kind == "train":
            usable = _take_updates(arrival, usable, fold, gathered, num_parameters, fingerprint)
        gathered.replies.append(_kept(arrival, usable))
    for client in sorted(missing):
        gathered.failures.append(Failure(client, round, "no answer in time (federation.round_timeout_s)"))
    gathered.sums = fold.close()
    gathered.failures.sort(key=lambda failure: failure.client)
    return gathered


def payload(message: Replies) -> int:
    """Return the size in bytes of an answer's arrays."""
    return sum(array.nbytes for half in (message.sums, message.clear) for array in half.values())


def _take_updates(
    replies: Replies,
    usable: npt.NDArray[np.bool_],
    fold: OrderedFold,
    gathered: Collected,
    num_parameters: int,
    fingerprint: str,
) -> npt.NDArray[np.bool_]:
    updates, weights = replies.sums["update"], replies.sums["weight"].astype(np.float64)
    reason = None
    if replies.fingerprint != fingerprint:
        reason = f"its weights have the layout {replies.fingerprint or 'unknown'}, not {fingerprint}"
    elif updates.shape[1:] != (num_parameters,):
        reason = f"its update has the shape {updates.shape[1:]}, not ({num_parameters},)"
    # The sum of a row is finite only if every entry is, in one pass without a mask of the matrix's size.
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(updates.sum(axis=tuple(range(1, updates.ndim)))) & np.isfinite(weights)
    good = usable & finite & (reason is None)
    for client in replies.clients[usable & ~good].tolist():
        gathered.failures.append(Failure(client, replies.round, reason or "its update holds NaN or infinite numbers"))
        fold.skip(client)
    if good.any():
        every = bool(good.all())
        fold.add(replies.clients[good], updates if every else updates[good], weights[good])
    gathered.trained.extend(replies.clients[good].tolist())
    return good


def _kept(replies: Replies, usable: npt.NDArray[np.bool_]) -> Replies:
    """Return the usable rows without their updates."""
    every = bool(usable.all())
    sums = {name: a if every else a[usable] for name, a in replies.sums.items() if name != "update"}
    clear = {name: a if every else a[usable] for name, a in replies.clear.items()}
    return Replies(replies.kind, replies.round, replies.clients[usable], sums, clear, replies.fingerprint)
