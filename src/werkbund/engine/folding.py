"""Updates of a round: folded in client order while they come, whatever the order of arrival."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from werkbund.aggregation.contract import UPDATE, Aggregator, keeps_updates
from werkbund.core.arrays import Arrays, BoolArray, Float32Array, Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Failure, Replies, Reused
from werkbund.engine.asking import ENOUGH
from werkbund.engine.kinds import WEIGHT
from werkbund.engine.lengths import LengthLimits, Lengths
from werkbund.engine.pacing import Due
from werkbund.privacy import Departure, Stack, added


@dataclass(frozen=True)
class Unwinding:
    """Fold answers that come through layers of privacy: their sum is unwound, and then folded as one update.

    Where the aggregator must see each update, and the layers allow it, each answer is unwound by itself.

    Parameters
    ----------
    aggregator
        Folds what is unwound.
    stack
        The layers.
    round, cohort
        Which answers they are, (cohort,).
    num_parameters
        Length of an update.
    sent
        What the aggregator sent along with the weights.
    """

    aggregator: Aggregator
    stack: Stack
    round: int
    cohort: Int64Array
    num_parameters: int
    sent: Arrays = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Sums that take part."""
        return (UPDATE, WEIGHT, *self.aggregator.folds)

    def opened(self, sums: Arrays, clients: Int64Array) -> tuple[Arrays, Float64Array]:
        """Return the sums of these clients' answers as one answer, (1, ...) by name, and its weight, (1,)."""
        keys = np.empty(0, np.uint64)
        departure = Departure(self.round, clients, keys, self.cohort, self.num_parameters, self.sent)
        open_sums = self.stack.unwind(sums, departure)
        arrays = {name: np.asarray(open_sums[name])[None] for name in self.names if name != WEIGHT}
        return arrays, np.array([float(open_sums[WEIGHT])])

    def each(self, updates: Arrays, clients: Int64Array) -> tuple[Arrays, Float64Array]:
        """Return answers, (k, ...) by name, each unwound by itself, and their weights, (k,)."""
        rows = ({name: array[place] for name, array in updates.items()} for place in range(len(clients)))
        opened = [self.opened(sums, clients[place : place + 1]) for place, sums in enumerate(rows)]
        names = [name for name in self.names if name != WEIGHT]
        arrays = {name: np.concatenate([arrays[name] for arrays, _ in opened]) for name in names}
        return arrays, np.concatenate([weights for _, weights in opened])


class OrderedFold:
    """Fold updates in client order, whatever the order of arrival, so that the sum has the same bits.

    An update that comes before its turn waits. Clients that answer in order, or all at once, wait for nobody. One that
    is far longer than was usual waits, and those behind it, until all have come and it shows whether it is any use.

    Parameters
    ----------
    aggregator
        Adds the updates.
    cohort
        (cohort,), client numbers, ascending.
    num_parameters
        Length of an update.
    unwinding
        Undoes the layers through which the answers come; None where there are none.
    lengths
        Measures and clips updates, and says which are useless; None where nothing is looked at. Of updates of which the
        sum alone is seen, nothing is.

    Attributes
    ----------
    weight
        Sum of the weights that were folded.
    useless
        Clients whose update was not folded, each with why.
    """

    def __init__(
        self,
        aggregator: Aggregator,
        cohort: Int64Array,
        num_parameters: int,
        unwinding: Unwinding | None = None,
        lengths: Lengths | None = None,
    ) -> None:
        self._aggregator, self._unwinding = aggregator, unwinding
        self._is_summed = unwinding is not None and aggregator.sees == "sum"
        self._lengths = None if self._is_summed else lengths
        self._sums: Arrays = {}
        self._summed: list[int] = []
        self._cohort = cohort.tolist()
        self._due = set(self._cohort)
        self.useless: dict[int, str] = {}
        self._turn = 0
        self._waiting: dict[int, tuple[Arrays, float] | None] = {}
        self._accumulator = aggregator.begin(num_parameters)
        self.weight = 0.0

    def add(self, clients: Int64Array, updates: Arrays, weights: Float64Array) -> None:
        """Take clients (k,) with their weighted updates, (k, parameters), what is folded beside, and weights (k,)."""
        if self._unwinding is not None and not self._is_summed:
            updates, weights = self._unwinding.each(updates, clients)
        if self._lengths is not None:
            updates = self._lengths.measured(clients, updates, weights)
        self._hear(clients.tolist())
        in_turn = self._cohort[self._turn : self._turn + len(clients)]
        if not self._waiting and clients.tolist() == in_turn and self._are_clear(in_turn):
            self._fold(clients, updates, weights)
            self._turn += len(clients)
            return
        for i, (client, weight) in enumerate(zip(clients.tolist(), weights.tolist(), strict=True)):
            self._waiting[client] = ({name: rows[i : i + 1] for name, rows in updates.items()}, weight)
        self._advance()

    def add_total(self, clients: Int64Array, sums: Arrays) -> None:
        """Take what these clients sent, added up already: (parameters,), and so on, by name."""
        self._sums = added(self._sums, {name: array[None] for name, array in sums.items()})
        self._summed += clients.tolist()
        for client in clients.tolist():
            self.skip(client)

    def skip(self, client: int) -> None:
        """Wait for this client no longer."""
        self._waiting[client] = None
        self._hear([client])
        self._advance()

    def close(self) -> Any:
        """Return the aggregator's accumulator of all that came; a client still missing is skipped."""
        for client in self._cohort[self._turn :]:
            self._waiting.setdefault(client, None)
        self._hear(self._cohort)
        self._advance()
        if self._summed:
            self._add(*self._opened())
        return self._accumulator

    def _opened(self) -> tuple[Arrays, Float64Array]:
        """Return the sums of those of whom nothing else is seen as one answer, (1, ...) by name, and its weight."""
        if self._unwinding is not None:
            return self._unwinding.opened(self._sums, np.array(sorted(self._summed), np.int64))
        rows = {name: np.asarray(array)[None] for name, array in self._sums.items()}
        return rows, np.array([float(rows.pop(WEIGHT)[0])])

    def _hear(self, clients: list[int]) -> None:
        """Note that clients have answered or will not; when nobody is left, it shows whose update is useless."""
        if self._due:
            self._due.difference_update(clients)
            if not self._due and self._lengths is not None:
                self.useless = self._lengths.useless()

    def _are_clear(self, clients: list[int]) -> bool:
        """Say whether the updates of these clients can be folded already, all of them."""
        if self._lengths is None:
            return True
        return not any(map(self._lengths.is_doubtful, clients)) if self._due else not self.useless

    def _fold(self, clients: Int64Array, updates: Arrays, weights: Float64Array) -> None:
        if self._is_summed:  # to be unwound when all have come
            self._sums = added(self._sums, updates)
            self._summed += clients.tolist()
        else:
            self._add(updates, weights)

    def _add(self, updates: Arrays, weights: Float64Array) -> None:
        self._accumulator = self._aggregator.fold(self._accumulator, updates, weights)
        for weight in weights.tolist():
            self.weight += weight

    def _advance(self) -> None:
        while self._turn < len(self._cohort) and self._cohort[self._turn] in self._waiting:
            client = self._cohort[self._turn]
            if self._due and self._waiting[client] is not None and not self._are_clear([client]):
                return
            entry = self._waiting.pop(client)
            self._turn += 1
            if entry is not None and client not in self.useless:
                updates, weight = entry
                self._fold(np.array([client]), updates, np.array([weight]))


@dataclass
class Folded:
    """Hold what a round's answers gave.

    Parameters
    ----------
    accumulator
        The aggregator's, of all updates.
    weight
        Sum of their weights.
    trained
        Clients whose update was folded.
    failures
        Clients of the cohort, or evaluators, without a usable answer, ascending.
    replies
        All usable answers; their updates are left out.
    updates
        (parameters,), the unweighted update of each client that was folded, where single updates are asked for.
    bytes_up
        Payload of all answers, usable or not.
    lengths
        Of the updates; None where nobody looked at them.
    due
        Who owes an update still.
    num_asked
        How many updates were to count, those that did not come included.
    num_found
        Those of them that were left out because they are far too long to be updates.
    """

    accumulator: Any = None
    weight: float = 0.0
    trained: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    replies: list[Replies] = field(default_factory=list)
    updates: dict[int, Float32Array] = field(default_factory=dict)
    bytes_up: int = 0
    lengths: Lengths | None = None
    due: Due = field(default_factory=Due.nobody)
    num_asked: int = 0
    num_found: int = 0

    def each(self) -> tuple[Int64Array, Float32Array, Float64Array]:
        """Return whose single updates are kept, ascending, these, unweighted, and what each counts: (clients, ...)."""
        told = {
            client: float(weight)
            for reply in self.replies
            if reply.kind.updates
            for client, weight in zip(reply.clients.tolist(), reply.sums[WEIGHT], strict=True)
        }
        clients = sorted(self.updates)
        weights = np.array([told[client] for client in clients])
        return np.array(clients, np.int64), np.stack([self.updates[client] for client in clients]), weights


def fold_answers(
    arrivals: Iterable[Replies | Failure],
    aggregator: Aggregator,
    cohort: Int64Array,
    num_parameters: int,
    most: int | None = None,
    each: bool = False,
    unwinding: Unwinding | None = None,
    limits: LengthLimits | None = None,
) -> Folded:
    """Fold usable answers as they arrive.

    Parameters
    ----------
    arrivals
        As `ask` yields them.
    aggregator
        Folds the updates.
    cohort
        (cohort,), clients that were asked for an update, ascending.
    num_parameters
        Length of an update.
    most
        Only so many updates are folded, the first that come; later ones are failures. None for all.
    each
        Whether single updates are kept too.
    unwinding
        Undoes the layers of privacy; None where there are none.
    limits
        How long updates may be; None for any length.
    """
    lengths = None if limits is None else Lengths(limits)
    fold = OrderedFold(aggregator, cohort, num_parameters, unwinding, lengths)
    names = unwinding.names if unwinding else (UPDATE, *aggregator.folds)
    folded = Folded(lengths=lengths)
    for arrival in arrivals:
        if isinstance(arrival, Failure):
            fold.skip(arrival.client)
            folded.failures.append(arrival)
            continue
        counts = arrival.kind.updates and UPDATE not in arrival.pooled  # a sum is taken whole
        wanted = _wanted(arrival, most, folded) if counts else np.ones(len(arrival), np.bool_)
        for client in arrival.clients[~wanted].tolist():
            fold.skip(client)
            folded.failures.append(Failure(client, arrival.round, ENOUGH))
        if UPDATE in arrival.pooled:
            fold.add_total(arrival.clients, {name: arrival.pooled[name] for name in {*names, WEIGHT}})
            folded.trained.extend(arrival.clients.tolist())
        elif arrival.kind.updates and wanted.any():
            _fold(arrival, wanted, fold, folded, names, each)
        folded.replies.append(_without_update(arrival, wanted))
        del arrival  # before the next one is made, which may be as large as all the weights
    folded.accumulator, folded.weight = fold.close(), fold.weight
    _leave_out(fold.useless, folded)
    folded.num_found = len(fold.useless)
    folded.failures.sort(key=lambda failure: failure.client)
    return folded


def with_reused(folded: Folded, aggregator: Aggregator, reused: Reused) -> None:
    """Fold updates of earlier rounds after those that came.

    Raises
    ------
    ConfigError
        If the aggregator folds more than updates, of which nothing is kept, or each update must be folded once.
    """
    if aggregator.folds or keeps_updates(aggregator):
        raise ConfigError(
            "strategy.aggregation.name must be a rule that folds updates alone, and as often as they are there, where "
            f"the selector reuses earlier updates, got one that folds {aggregator.folds or 'each once'}; choose "
            "fedavg, or another selector"
        )
    weighted = reused.updates * reused.weights[:, None].astype(np.float32)
    folded.accumulator = aggregator.fold(folded.accumulator, {UPDATE: weighted}, reused.weights)
    folded.weight += float(reused.weights.sum())


def _leave_out(useless: Mapping[int, str], folded: Folded) -> None:
    """Make failures of clients whose update was useless, and use nothing else that they answered."""
    if not useless:
        return
    rounds = {client: reply.round for reply in folded.replies for client in reply.clients.tolist()}
    folded.failures += [Failure(client, rounds[client], why, answered=True) for client, why in useless.items()]
    folded.trained = [client for client in folded.trained if client not in useless]
    folded.updates = {client: update for client, update in folded.updates.items() if client not in useless}
    usable = ((reply, ~np.isin(reply.clients, list(useless))) for reply in folded.replies)
    folded.replies = [reply.take(rows) for reply, rows in usable if rows.any()]


def _wanted(replies: Replies, most: int | None, folded: Folded) -> BoolArray:
    """Say for each update whether it is among as many as are wanted: (replies,)."""
    if most is None:
        return np.ones(len(replies), np.bool_)
    return np.arange(1, len(replies) + 1) + len(folded.trained) <= most


def _fold(
    replies: Replies, wanted: BoolArray, fold: OrderedFold, folded: Folded, names: tuple[str, ...], each: bool
) -> None:
    every = bool(wanted.all())
    arrays = {name: replies.sums[name] if every else replies.sums[name][wanted] for name in names}
    updates, weights = arrays[UPDATE], replies.sums[WEIGHT][wanted].astype(np.float64)
    clients = replies.clients[wanted]
    if each:  # before the fold, which may use the storage
        nothing = np.zeros(updates.shape[1], np.float32)
        for client, update, weight in zip(clients.tolist(), updates, weights.tolist(), strict=True):
            folded.updates[client] = update / np.float32(weight) if weight > 0 else nothing
    fold.add(clients, arrays, weights)
    folded.trained.extend(clients.tolist())


def _without_update(replies: Replies, wanted: BoolArray) -> Replies:
    sums, pooled = ({n: a for n, a in half.items() if n != UPDATE} for half in (replies.sums, replies.pooled))
    return replace(replies, sums=sums, pooled=pooled).take(wanted)
