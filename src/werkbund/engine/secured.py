"""Secure sums: a grid around another one, from which sums over clients come and no client's own.

What holds nothing that is meant to be added passes as it is. An answer that does is masked at its client; when all have
come, whoever is there helps to take the masks off their sum, and one answer for all clients in it comes out.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from werkbund.aggregation.contract import Aggregator
from werkbund.core.arrays import Arrays, Int64Array
from werkbund.core.errors import ClientError, ConfigError, FederationError
from werkbund.core.kinds import Kind
from werkbund.core.methods import name_of
from werkbund.core.types import Failure, Replies, Tasks, Toll
from werkbund.engine.asking import NO_ANSWER, ask, payload, size_of
from werkbund.engine.grid import Grid, Keeping, state_of
from werkbund.engine.masking import FACTORS, MASKED, SUM, WORDS, joined, masked_kind, told_alike
from werkbund.engine.summands import USUAL_ROWS, is_summed, opened_sums, words_for
from werkbund.privacy.shares import NoiseShare
from werkbund.privacy.sums import AGREE, KEYS, OFFERS, OPEN, Hub, Opened, Thresholds, Words, usual_colluding
from werkbund.selection.contract import OF_THE_UPDATE, CohortSize, Selector, State

_PATIENCE = 10
"""Who gave no numbers twice is asked for new keys, as it may have been started anew, and again after so many sums."""

_HONEST = 2
"""Honest clients that an opened sum is over at the least."""


@dataclass(frozen=True)
class SumTerms:
    """Say how clients make sums of which a server learns nothing else.

    Parameters
    ----------
    run
        Names the run.
    colluding, strict
        As `Register` has them.
    most_rows
        Rows that no client has more of.
    share
        The noise of which each adds a share to its update; None where nothing is added.
    """

    run: str
    colluding: int | None = None
    strict: bool = False
    most_rows: int = USUAL_ROWS
    share: NoiseShare | None = None

    @property
    def whole(self) -> frozenset[str]:
        """Names of sums that layers of privacy make whole numbers."""
        return frozenset() if self.share is None else frozenset(self.share.parts)

    def check_cohort(self, selector: Selector, num_clients: int) -> None:
        """Refuse cohorts that are too small among so many clients.

        Raises
        ------
        ConfigError
            If they are.
        """
        size = getattr(selector, "size", None)
        cohort = size.of(num_clients) if isinstance(size, CohortSize) else num_clients
        colluding = usual_colluding(num_clients) if self.colluding is None else self.colluding
        needs = Thresholds.of(num_clients, colluding, cohort)
        if cohort < needs.least or needs.honest(agreed=self.strict) < _HONEST:
            raise ConfigError(
                f"strategy.selection must let so many of {num_clients} clients train that a sum tells little of each, "
                f"{needs.least} at least with privacy.colluding = {colluding}, got {cohort}; raise count or fraction, "
                "set privacy.strict = true, or lower privacy.colluding"
            )


@dataclass
class SecuredGrid:
    """Reach clients, and learn their sums alone.

    Parameters
    ----------
    grid
        Reaches clients that mask what they answer, each of which is in the register.
    hub
        The server's half of secure sums.
    most_rows
        Rows that no client has more of: the fewer, the finer updates are added.
    whole
        Names of sums that layers of privacy made whole numbers.
    """

    grid: Grid
    hub: Hub
    most_rows: int = USUAL_ROWS
    whole: frozenset[str] = frozenset()
    _waiting: deque[Tasks] = field(default_factory=deque)
    _missed: Counter[int] = field(default_factory=Counter)
    _stage: tuple[int, tuple[int, ...]] = (0, ())
    _turn: int = 0

    def __post_init__(self) -> None:
        self._by_client = np.array([self.hub.register.number(name) for name in self.clients()], np.int64)

    def clients(self) -> tuple[str, ...]:
        """Return the clients' names."""
        return self.grid.clients()

    def state(self) -> State:
        """Return what the grid within keeps: keys are in no checkpoint, a run that goes on begins with new ones."""
        return state_of(self.grid)

    def go_back(self, past: State) -> None:
        """Let the grid within stand where it stood."""
        if isinstance(self.grid, Keeping):
            self.grid.go_back(past)

    def send(self, tasks: Tasks) -> None:
        """Ask; sums are made one after the other, in `receive`."""
        self._waiting.append(tasks)

    def receive(self, timeout_s: float) -> Iterator[Replies | Failure]:
        """Yield one answer a sum for all clients in it, a failure for each other client, and other answers as they are.

        Each message of a sum has so much time.
        """
        while self._waiting:
            tasks = self._waiting.popleft()
            if is_summed(tasks.kind):
                yield from self._summed(tasks, timeout_s)
            else:
                self.grid.send(tasks)
                yield from self.grid.receive(timeout_s)

    def _summed(self, tasks: Tasks, timeout_s: float) -> Iterator[Replies | Failure]:
        self._turn += 1
        exchange = _Exchange(self.grid, self._by_client, tasks.round, self._turn, timeout_s)
        try:
            self._prepare(self._numbers(tasks), exchange)
            ready = np.isin(self._numbers(tasks), self.hub.ready)
            exchange.fail(tasks.take(~ready), "has no keys for secure sums")
            self._missed.update(self._numbers(tasks.take(~ready)))
            yield from self._result(tasks.take(ready), exchange)
        except (FederationError, ConfigError) as error:
            exchange.fail(tasks, f"its answer is in no sum: {error}")
        yield from exchange.failures.values()

    def _prepare(self, cohort: Collection[int], exchange: _Exchange) -> None:
        """See that clients have keys for the next sum, as far as they answer."""
        if not self.hub.members or any(self._missed[number] % _PATIENCE == 2 for number in cohort):
            self.hub.begin_session()
            exchange.ask(KEYS, self._by_client.tolist(), {}, self.hub.take_keys)
        elif {*cohort} & {*self.hub.members} <= {*self.hub.ready}:
            return
        message = self.hub.ask_offers()
        exchange.ask(OFFERS, {*self.hub.members} - {*self.hub.ready}, message, self.hub.take_offers)

    def _result(self, tasks: Tasks, exchange: _Exchange) -> Iterator[Replies]:
        """Yield what comes of a task: one answer of all that are in the sum; each as it came, where none is opened."""
        tasks = self._as_told(tasks)
        words = words_for(tasks, len(self.clients()), self.most_rows, told_alike(tasks).hex(), self.whole)
        answers = self._submitted(tasks, words, exchange)
        missing = {*self._numbers(tasks)} - {*answers}
        self._missed.update(missing)
        for number in answers:
            self._missed[number] = 0
        included = tuple(sorted(answers))
        is_later = tasks.kind.staged and tasks.round == self._stage[0]
        if not all(MASKED in answer.clear for answer in answers.values()) or (is_later and included != self._stage[1]):
            toll = replace(exchange.toll(0), is_opened=False)
            yield from (replace(_without_words(answer), toll=toll) for answer in answers.values())
            return
        opened = self._opened(missing, exchange)
        if tasks.kind.staged:
            self._stage = tasks.round, included
        pooled = opened_sums(tasks.kind, words, opened.sums, len(included), self.whole)
        each = sorted((answers[number] for number in included), key=lambda answer: int(answer.clients[0]))
        clear = joined([_without_words(answer).clear for answer in each])
        clients = np.sort([exchange.client(number) for number in included])
        fingerprint = answers[included[0]].fingerprint
        told = Replies(tasks.kind, tasks.round, clients, {}, clear, fingerprint, pooled)
        yield replace(told, toll=exchange.toll(payload(told)))

    def _as_told(self, tasks: Tasks) -> Tasks:
        """Return tasks with what each client multiplies by told to all of them; each counts by itself anyway."""
        shared = {name: array for name, array in tasks.shared.items() if name != "each"}
        if "factor" in tasks.own:
            shared[FACTORS] = np.asarray(tasks.own["factor"], np.float64)[np.argsort(self._numbers(tasks))]
        return replace(tasks, shared=shared)

    def _submitted(self, tasks: Tasks, words: Words, exchange: _Exchange) -> dict[int, Replies]:
        """Return the answer of each client by its number, masked words or what else it says."""
        message = {WORDS: np.array(words.to_json())}
        message |= {f"{SUM}{name}": array for name, array in self.hub.ask_sum(self._numbers(tasks), words).items()}
        sent = replace(tasks, kind=masked_kind(tasks.kind), shared={**tasks.shared, **message}, shapes={})
        exchange.bytes_down += size_of(sent) - size_of(tasks)
        self.grid.send(sent)
        answers: dict[int, Replies] = {}
        for arrival in self.grid.receive(exchange.timeout_s):
            if isinstance(arrival, Failure):
                exchange.failures.setdefault(arrival.client, arrival)
                continue
            exchange.bytes_up += payload(arrival)
            for place in range(len(arrival)):
                self._take(arrival.take(slice(place, place + 1)), sent, answers, exchange)
        here = np.array([number in answers for number in self._numbers(tasks)], np.bool_)
        exchange.fail(tasks.take(~here), NO_ANSWER)
        return answers

    def _take(self, answer: Replies, sent: Tasks, answers: dict[int, Replies], exchange: _Exchange) -> None:
        """Take the answer of one client that was asked, and add its words."""
        client, number = int(answer.clients[0]), exchange.number(answer)
        was_asked = answer.kind == sent.kind and answer.round == sent.round and client in sent.clients
        if not was_asked or number in answers or client in exchange.failures:
            return
        first = next(iter(answers.values()), answer)
        if answer.fingerprint != first.fingerprint or answer.sums or answer.pooled:
            exchange.refuse(number, "answers in another form than the other clients; it may run another version")
            return
        try:
            if MASKED in answer.clear:
                self.hub.take_words(number, {"masked": answer.clear[MASKED][0]})
            answers[number] = answer
        except ClientError as error:
            exchange.refuse(number, str(error))

    def _opened(self, missing: Collection[int], exchange: _Exchange) -> Opened:
        """Let whoever is there take the masks off the sum; those who gave no numbers are asked if they are needed."""
        members = {*self.hub.members}
        enough = self.hub.register.thresholds(len(members)).threshold
        alive = members - {*missing} if len(members - {*missing}) >= enough else members
        if self.hub.register.strict:
            exchange.ask(AGREE, alive, self.hub.ask_agreement(), self.hub.take_witness)
        shared, own = self.hub.ask_opening()
        exchange.ask(OPEN, alive, shared, self.hub.take_shares, own)
        return self.hub.opened()

    def _numbers(self, tasks: Tasks) -> list[int]:
        """Return the numbers of a task's clients in the register."""
        return [int(number) for number in self._by_client[tasks.clients]]


Take = Callable[[int, Arrays], None]
"""Takes what a client of this number answers to a stage; raises ClientError where it cannot be used."""


@dataclass
class _Exchange:
    """Exchange the messages of one sum, and count what they take."""

    grid: Grid
    by_client: Int64Array
    round: int
    turn: int
    timeout_s: float
    failures: dict[int, Failure] = field(default_factory=dict)
    bytes_down: int = 0
    bytes_up: int = 0
    trips: int = 0

    def ask(
        self,
        kind: Kind,
        numbers: Collection[int],
        shared: Arrays,
        take: Take,
        own: Mapping[int, Arrays] | None = None,
    ) -> None:
        """Ask some clients for a stage, and take what comes; who answers nothing of use is left out of it."""
        sent = [self._task(kind, number, shared, (own or {}).get(number, {})) for number in sorted(numbers)]
        self.trips += 1
        self.bytes_down += sum(map(size_of, sent))
        for arrival in ask(self.grid, sent, self.timeout_s):
            if isinstance(arrival, Failure):
                continue
            self.bytes_up += payload(arrival)
            try:
                take(self.number(arrival), {name: array[0] for name, array in arrival.clear.items()})
            except ClientError:  # as if it had not answered
                continue

    def fail(self, tasks: Tasks, reason: str) -> None:
        """Note why clients have no usable answer, unless that is known better."""
        for client in tasks.clients.tolist():
            self.failures.setdefault(client, Failure(client, tasks.round, reason))

    def refuse(self, number: int, reason: str) -> None:
        """Note why the answer of a client cannot be used."""
        client = self.client(number)
        self.failures.setdefault(client, Failure(client, self.round, reason, answered=True))

    def client(self, number: int) -> int:
        """Return the client of a number in the register."""
        return int(np.flatnonzero(self.by_client == number)[0])

    def number(self, answer: Replies) -> int:
        """Return the number in the register of the client that an answer is of."""
        return int(self.by_client[answer.clients[0]])

    def toll(self, told: int) -> Toll:
        """Return what all of it took beside the task and `told` bytes of what comes out."""
        return Toll(self.bytes_down, self.bytes_up - told, self.trips)

    def _task(self, kind: Kind, number: int, shared: Arrays, own: Arrays) -> Tasks:
        rows = {name: array[None] for name, array in own.items()}
        return Tasks(kind, self.round, np.array([self.client(number)]), shared, rows, attempt=self.turn)


def _without_words(answer: Replies) -> Replies:
    return replace(answer, clear={name: array for name, array in answer.clear.items() if name != MASKED})


def check_sums(selector: Selector, aggregator: Aggregator) -> None:
    """Refuse a method that needs more of single clients than a secure sum shows, by what it declares.

    Raises
    ------
    ConfigError
        If there is one; names both, and where to look for others.
    """
    declared, names = selector.declaration, [name_of(one) for one in (selector, aggregator)]
    remedy = "choose one that `werkbund strategies` lists with secure aggregation, such as {}, or drop secure sums"
    if not declared.secure_aggregation:
        signals = ", ".join(sorted(declared.needs & OF_THE_UPDATE))
        raise ConfigError(
            f"strategy.selection.name must be a method that works with privacy.secure_sums, got {names[0]!r}, which "
            f"needs the {signals} of single updates; {remedy.format('uniform or md')}"
        )
    if aggregator.sees == "each":
        raise ConfigError(
            f"strategy.aggregation.name must be a rule that works with privacy.secure_sums, got {names[1]!r}, which "
            f"must see every update in clear; {remedy.format('fedavg or fedadam')}"
        )
