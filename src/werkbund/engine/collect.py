"""Answers of a round: checked one by one, folded in client order, kept where a record needs them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from werkbund.aggregation.contract import UPDATE, Aggregator
from werkbund.core.arrays import Arrays, BoolArray, Float32Array, Float64Array, Int64Array
from werkbund.core.types import Failure, Replies
from werkbund.engine.answers import (
    NO_ANSWER,
    TRAINED,
    Form,
    Missing,
    claim,
    finite_rows,
    flaw,
    kept,
    payload,
    usable_numbers,
)


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

    Attributes
    ----------
    weight
        Sum of the weights that were folded.
    """

    def __init__(self, aggregator: Aggregator, cohort: Int64Array, num_parameters: int) -> None:
        self._aggregator = aggregator
        self._cohort = cohort.tolist()
        self._turn = 0
        self._waiting: dict[int, tuple[Arrays, float] | None] = {}
        self._accumulator = aggregator.begin(num_parameters)
        self.weight = 0.0

    def add(self, clients: Int64Array, updates: Arrays, weights: Float64Array) -> None:
        """Take clients (k,) with their weighted updates, (k, parameters), what is folded beside, and weights (k,)."""
        in_turn = self._cohort[self._turn : self._turn + len(clients)]
        if not self._waiting and clients.tolist() == in_turn:
            self._fold(updates, weights)
            self._turn += len(clients)
            return
        for i, (client, weight) in enumerate(zip(clients.tolist(), weights.tolist(), strict=True)):
            self._waiting[client] = ({name: rows[i : i + 1] for name, rows in updates.items()}, weight)
        self._advance()

    def skip(self, client: int) -> None:
        """Wait for this client no longer."""
        self._waiting[client] = None
        self._advance()

    def close(self) -> Any:
        """Return the aggregator's accumulator of all that came; a client still missing is skipped."""
        for client in self._cohort[self._turn :]:
            self._waiting.setdefault(client, None)
        self._advance()
        return self._accumulator

    def _fold(self, updates: Arrays, weights: Float64Array) -> None:
        self._accumulator = self._aggregator.fold(self._accumulator, updates, weights)
        for weight in weights.tolist():
            self.weight += weight

    def _advance(self) -> None:
        while self._turn < len(self._cohort) and self._cohort[self._turn] in self._waiting:
            entry = self._waiting.pop(self._cohort[self._turn])
            self._turn += 1
            if entry is not None:
                updates, weight = entry
                self._fold(updates, np.array([weight]))


@dataclass
class Collected:
    """Hold what a round's answers gave.

    Parameters
    ----------
    sums
        The aggregator's accumulator of all updates.
    weight
        Sum of their weights.
    trained
        Clients whose update was folded.
    failures
        Clients of the cohort, or evaluators, without a usable answer.
    replies
        All usable answers; their updates are left out.
    bytes_up
        Payload of the answers.
    updates
        (parameters,), the unweighted update of each client that was folded, where single updates are asked for.
    """

    sums: Any = None
    weight: float = 0.0
    trained: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    replies: list[Replies] = field(default_factory=list)
    bytes_up: int = 0
    updates: dict[int, Float32Array] = field(default_factory=dict)


def collect(
    arrivals: Iterable[Replies | Failure],
    aggregator: Aggregator,
    expected: dict[str, Int64Array],
    form: Form,
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
        Client numbers asked, by kind of task: `train` or `upload`, and `evaluate`.
    form
        What a usable answer looks like; it names what the aggregator folds beside the update.
    round
        Its number; what belongs to another round, or was not asked for, is dropped.
    """
    cohort = next((clients for kind, clients in expected.items() if kind in TRAINED), np.empty(0, np.int64))
    fold = OrderedFold(aggregator, cohort, form.num_parameters)
    gathered = Collected()
    missing = {int(client): kind for kind, clients in expected.items() for client in clients}
    for arrival in arrivals:
        if arrival.round != round:
            continue
        if isinstance(arrival, Failure):
            _take_failure(arrival, missing, fold, gathered)
            continue
        gathered.bytes_up += payload(arrival)
        owed = claim(arrival, missing)
        reason = flaw(arrival, form)
        if reason is not None:
            _refuse(arrival, owed, reason, fold, gathered)
            continue
        usable = _take_updates(arrival, owed, fold, gathered, form) if arrival.kind in TRAINED else owed
        gathered.replies.append(kept(arrival, usable, without="update"))
        del arrival  # before the next one is made, which may be as large as all the weights
    for client in sorted(missing):
        gathered.failures.append(Failure(client, round, NO_ANSWER))
    gathered.sums, gathered.weight = fold.close(), fold.weight
    gathered.failures.sort(key=lambda failure: failure.client)
    return gathered


def _take_failure(failure: Failure, missing: Missing, fold: OrderedFold, gathered: Collected) -> None:
    """Record a failure, unless nothing was owed: a client that has answered has not failed."""
    kind = missing.pop(failure.client, None)
    if kind is None:
        return
    if kind in TRAINED:
        fold.skip(failure.client)
    gathered.failures.append(failure)


def _refuse(replies: Replies, rows: BoolArray, reason: str, fold: OrderedFold, gathered: Collected) -> None:
    for client in replies.clients[rows].tolist():
        gathered.failures.append(Failure(client, replies.round, reason))
        if replies.kind in TRAINED:
            fold.skip(client)


def _take_updates(replies: Replies, owed: BoolArray, fold: OrderedFold, gathered: Collected, form: Form) -> BoolArray:
    """Fold the finite updates among those that were owed; say which they are: (replies,)."""
    folded = {name: replies.sums[name] for name in (UPDATE, *form.folds)}
    updates, weights = folded[UPDATE], replies.sums["weight"].astype(np.float64)
    good = owed & usable_numbers(replies)
    for rows in folded.values():
        good &= finite_rows(rows)
    why = "its update, weight, loss or rows are NaN, infinite, negative or beyond float32"
    _refuse(replies, owed & ~good, why, fold, gathered)
    good = _within(replies, good, fold, gathered, form)
    if good.any():
        usable = folded if good.all() else {name: rows[good] for name, rows in folded.items()}
        fold.add(replies.clients[good], usable, weights[good])
    gathered.trained.extend(replies.clients[good].tolist())
    if form.each:
        known = np.flatnonzero(good & (weights > 0))
        gathered.updates |= {int(replies.clients[i]): updates[i] / np.float32(weights[i]) for i in known}
        nothing = np.zeros(form.num_parameters, np.float32)
        gathered.updates |= {int(client): nothing for client in replies.clients[good & (weights == 0)]}
    return good


def _within(replies: Replies, good: BoolArray, fold: OrderedFold, gathered: Collected, form: Form) -> BoolArray:
    """Give up what comes after as many updates as are wanted; say what is left: (replies,)."""
    if form.keep is None:
        return good
    places = np.cumsum(good) + len(gathered.trained)
    late = good & (places > form.keep)
    _refuse(replies, late, "came after enough others (over-commitment)", fold, gathered)
    return good & ~late
