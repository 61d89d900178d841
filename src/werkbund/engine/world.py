"""The grid of a simulated world: clients that are slow, away, hungry or give up, and a clock that is not the wall's.

Work is done by the in-process grid; this one decides who can be asked, who is in time, and what it costs. Evaluation
is measuring and costs nothing; questions and training do. What is under way is a list of events: answers and failures
that will come, each at its moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from werkbund.core.arrays import Arrays, BoolArray, Float64Array, Int64Array, under
from werkbund.core.errors import CheckpointError, FederationError
from werkbund.core.kinds import Effort, Kind, Sizes, as_training, by_name
from werkbund.core.rng import generator
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine.fleet import Fleet, joules_of, seconds_of
from werkbund.engine.grid import Grid, Keeping, state_of
from werkbund.engine.kinds import TRAIN, UPLOAD
from werkbund.selection.contract import State
from werkbund.selection.questions import QUESTIONS


@dataclass(frozen=True)
class Circumstances:
    """Say what one round of work is, and what the operator allows.

    Parameters
    ----------
    examples
        (clients,), training examples of a round of each client.
    rows
        (clients,), its training rows, which a question about the loss goes over once.
    model_bytes
        Size of the weights.
    deadline_s
        After so many simulated seconds nobody is waited for; infinite for never.
    seed
        Of the run.
    start_s
        The clock when the first round begins, in seconds from midnight.
    pause_s
        Time between two rounds, which counts to neither.
    """

    examples: Float64Array
    rows: Float64Array
    model_bytes: float
    deadline_s: float
    seed: int
    start_s: float = 0.0
    pause_s: float = 0.0


@dataclass
class WorldGrid:
    """Reach simulated clients.

    Parameters
    ----------
    inner
        The grid that has the work done.
    fleet
        The clients.
    around
        What a round's work is, and what the operator allows.
    one_by_one
        False: the answers to a task come together, as one batch, when the last that is waited for is there. True: they
        come one by one as the clock reaches them; who stops reading leaves the others pending, and they come in a later
        `receive`, whatever is asked in between.
    kinds
        Kinds of tasks whose answers may be pending in a state that is gone back to.
    """

    inner: Grid
    fleet: Fleet
    around: Circumstances
    one_by_one: bool = False
    kinds: tuple[Kind, ...] = (TRAIN, UPLOAD, *QUESTIONS)
    _clock: float = 0.0
    _battery: Float64Array = field(default_factory=lambda: np.empty(0))
    _slowness: Float64Array = field(default_factory=lambda: np.empty(0))
    _examples: float = 0.0
    _waiting: deque[Tasks] = field(default_factory=deque)
    _questions: int = 0
    _has_begun: bool = False
    _events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.go_back({})

    def clients(self) -> tuple[str, ...]:
        """Return the clients' names."""
        return self.inner.clients()

    def send(self, tasks: Tasks) -> None:
        """Ask. What is asked of each client begins now; the work itself is done in `receive`."""
        self._waiting.append(tasks)

    def situation(self, round: int) -> tuple[Int64Array, Arrays]:
        """Let speeds drift and a pause pass, and return who can be asked and what is expected of each."""
        walked = generator(self.around.seed, "world drift", round).normal(size=self.fleet.num_clients)
        self._slowness = self._slowness * np.exp(walked * self.fleet.drift)
        if self._has_begun:
            self._pass(self.around.pause_s)
        if not self._available().any():
            self._clock = self._next_moment()
        return np.flatnonzero(self._available()), self._facts()

    def go_back(self, past: State) -> None:
        """Stand where a past state says; without one, before the first round."""
        if isinstance(self.inner, Keeping):
            self.inner.go_back(past)
        self._has_begun = "clock" in past
        self._events = events_of(past, by_name(self.kinds))
        self._clock = float(past.get("clock", self.around.start_s))
        self._battery = np.array(past.get("battery", self.fleet.battery_joules), dtype=np.float64)
        self._slowness = np.array(past.get("slowness", np.ones(self.fleet.num_clients)), dtype=np.float64)
        self._examples = float(past.get("examples", 0.0))
        self._questions = 0

    def state(self) -> State:
        """Return clock, batteries and speeds, from which another grid goes on, and what the grid within keeps."""
        return {
            **state_of(self.inner),
            **parts_of(self._events),
            "clock": self._clock,
            "battery": self._battery.copy(),
            "slowness": self._slowness.copy(),
            "examples": self._examples,
        }

    @property
    def clock_s(self) -> float:
        """Seconds from midnight of the first simulated day."""
        return self._clock

    @property
    def examples(self) -> float:
        """Examples that all clients have computed so far, in vain or not, in units of training; see `FORWARD`."""
        return self._examples

    def receive(self, timeout_s: float) -> Iterator[Replies | Failure]:
        """Yield answers and failures, each with its simulated seconds and joules; the clock goes on with them."""
        longest = 0.0
        while self._waiting:
            tasks = self._waiting.popleft()
            if tasks.kind.measures:
                self.inner.send(tasks)
                yield from self.inner.receive(timeout_s)
            elif self.one_by_one:
                self._events += self._begun(tasks, timeout_s)
            else:
                fate = self._fate(tasks)
                longest = max(longest, fate.ends_after)
                yield from self._played(tasks, fate, timeout_s)
        self._pass(longest)
        yield from self._due()

    def _begun(self, tasks: Tasks, timeout_s: float) -> Iterator[Event]:
        """Yield what will come of a task, each client's by itself, and when."""
        declared = tasks.kind.asked("shared", "each")
        each = {"each": np.ones((), np.bool_)} if declared else {}  # what is added over clients could not come singly
        fate = self._fate(replace(tasks, keep=None))
        for arrival in self._played(replace(tasks, keep=None, shared={**tasks.shared, **each}), fate, timeout_s):
            for single in [arrival] if isinstance(arrival, Failure) else rows_apart(arrival):
                seconds = single.seconds if isinstance(single, Failure) else float(single.clear["seconds"][0])
                yield Event(self._clock + seconds, single)

    def _due(self) -> Iterator[Replies | Failure]:
        """Yield what is pending in the order of time, and let the clock go on to each."""
        while self._events:
            event = min(self._events, key=lambda event: (event.at_s, event.client))
            self._events.remove(event)
            self._pass(max(event.at_s - self._clock, 0.0))
            yield event.arrival

    def _played(self, tasks: Tasks, fate: _Fate, timeout_s: float) -> Iterator[Replies | Failure]:
        costs = zip(tasks.clients.tolist(), fate.reasons, fate.seconds.tolist(), fate.joules.tolist(), strict=True)
        for client, reason, seconds, joules in costs:
            if reason:
                yield Failure(client, tasks.round, reason, min(seconds, fate.ends_after), joules)
        on_time = np.array([not reason for reason in fate.reasons])
        if not on_time.any():
            return
        self.inner.send(replace(tasks.take(on_time), keep=None))
        price = dict(zip(tasks.clients.tolist(), zip(fate.seconds, fate.joules, strict=True), strict=True))
        for arrival in self.inner.receive(timeout_s):
            if isinstance(arrival, Failure):
                yield replace(arrival, seconds=price[arrival.client][0], joules=price[arrival.client][1])
                continue
            paid = np.array([price[client] for client in arrival.clients.tolist()]).reshape(-1, 2)
            spent = {"seconds": paid[:, 0], "joules": paid[:, 1], "battery": self._charge()[arrival.clients]}
            yield replace(arrival, clear={**arrival.clear, **spent})

    def _fate(self, tasks: Tasks) -> _Fate:
        """Decide who answers in time; take the energy of all, of those too who do not."""
        effort = self._effort(tasks)
        seconds = seconds_of(self.fleet, tasks.clients, effort, self._slowness)
        joules = joules_of(self.fleet, tasks.clients, effort)
        rng = generator(self.around.seed, f"world {self._questions}", tasks.round)
        self._questions += 1
        luck, when = rng.random((2, self.fleet.num_clients))[:, tasks.clients]
        gave_up = luck < self.fleet.dropout[tasks.clients]
        share = np.where(gave_up, when, 1.0)
        flat = joules * share > self._battery[tasks.clients]
        seconds, joules = seconds * share, np.minimum(joules * share, self._battery[tasks.clients])
        self._examples += float((effort.examples * share).sum())
        good = ~gave_up & ~flat
        ends = self._ends_after(seconds, good, tasks.keep)
        late = good & (seconds > ends)
        self._battery[tasks.clients] = np.maximum(self._battery[tasks.clients] - joules, 0.0)
        reasons = np.select(
            [flat, gave_up, late],
            ["its battery is empty", "it gave up in the middle", "it came too late"],
            default="",
        )
        return _Fate(seconds, joules, tuple(reasons.tolist()), ends)

    def _ends_after(self, seconds: Float64Array, good: BoolArray, keep: int | None) -> float:
        """Return when the stage is over: when all that are wanted have come, else at the deadline."""
        arrivals = np.sort(seconds[good])
        wanted = len(seconds) if keep is None else min(keep, len(seconds))
        if len(arrivals) >= wanted:
            last = float(arrivals[wanted - 1]) if wanted else 0.0
            return min(last, self.around.deadline_s)
        if np.isfinite(self.around.deadline_s):
            return self.around.deadline_s
        return float(seconds.max(initial=0.0))  # a failure is seen at once where nobody waits for a deadline

    def _effort(self, tasks: Tasks) -> Effort:
        """Return what a task takes of each of its clients, as its kind declares."""
        around, clients = self.around, tasks.clients
        sizes = Sizes(around.examples[clients], around.rows[clients], around.model_bytes)
        if tasks.kind.cost is None:
            raise FederationError(f"a simulated world must know what a {tasks.kind} task costs; declare its Kind.cost")
        return tasks.kind.cost(sizes, tasks.shared)

    def _pass(self, seconds: float) -> None:
        """Let time pass, and batteries charge."""
        self._clock += seconds
        self._battery = np.minimum(self._battery + self.fleet.charge_watts * seconds, self.fleet.battery_joules)

    def _available(self) -> BoolArray:
        return np.asarray(self.fleet.is_there(self._clock) & (self._battery > 0))

    def _charge(self) -> Float64Array:
        """Return the share of each battery that is left, (clients,); 1 on mains."""
        on_mains = np.isinf(self.fleet.battery_joules)
        capacity = np.where(on_mains, 1.0, self.fleet.battery_joules)
        return np.where(on_mains, 1.0, np.where(on_mains, 1.0, self._battery) / capacity)

    def _next_moment(self) -> float:
        """Return the first quarter of an hour, within four weeks, at which somebody can be asked."""
        for _ in range(4 * 24 * 28):
            self._pass(900.0)
            if self._available().any():
                return self._clock
        return self._clock

    def _facts(self) -> Arrays:
        everyone, size = np.arange(self.fleet.num_clients), self.around.model_bytes
        train = as_training(Sizes(self.around.examples, self.around.rows, size), {})
        joules = joules_of(self.fleet, everyone, train)
        return {
            "seconds_compute": self.around.examples / self.fleet.examples_per_s * self._slowness,
            "seconds_up": size / self.fleet.up_bytes_per_s,
            "seconds_down": size / self.fleet.down_bytes_per_s,
            "joules": joules,
            "battery": self._charge(),
            "battery_capacity": self.fleet.battery_joules,
            "price": joules / 3.6e6 * self.fleet.price_per_kwh,
        }


@dataclass(frozen=True)
class _Fate:
    seconds: Float64Array
    joules: Float64Array
    reasons: tuple[str, ...]
    ends_after: float


_PENDING = "pending"


@dataclass(frozen=True, eq=False)
class Event:
    """Hold what comes of one client's task, and when.

    Parameters
    ----------
    at_s
        On the simulated clock, in seconds.
    arrival
        The answer of one client, or its failure.
    """

    at_s: float
    arrival: Replies | Failure

    @property
    def client(self) -> int:
        """Number of the client that it comes of."""
        return self.arrival.client if isinstance(self.arrival, Failure) else int(self.arrival.clients[0])


def rows_apart(replies: Replies) -> Iterator[Replies]:
    """Yield an answer client by client; what was added over clients already cannot be told apart and is left out."""
    for place in range(len(replies)):
        yield replace(replies.take(slice(place, place + 1)), pooled={})


def parts_of(events: Sequence[Event]) -> dict[str, Any]:
    """Return events as JSON values and named arrays, for a checkpoint; nothing for none."""
    if not events:
        return {}
    arrays: dict[str, Any] = {}
    values = []
    for number, event in enumerate(events):
        arrival = event.arrival
        if isinstance(arrival, Failure):
            values.append({"at_s": event.at_s, "failure": vars(arrival)})
            continue
        head = {"kind": arrival.kind.name, "round": arrival.round, "client": event.client}
        values.append({"at_s": event.at_s, **head, "fingerprint": arrival.fingerprint})
        for half, named in (("sums", arrival.sums), ("clear", arrival.clear)):
            arrays |= {f"{_PENDING}.{number}.{half}.{name}": array for name, array in named.items()}
    return {_PENDING: values, **arrays}


def events_of(state: Mapping[str, Any], kinds: Mapping[str, Kind]) -> list[Event]:
    """Return the events that `parts_of` described.

    Parameters
    ----------
    state
        A grid's; without pending events there are none.
    kinds
        Those that may be pending, by name.

    Raises
    ------
    CheckpointError
        If an event is of another kind.
    """
    return [_event(number, values, state, kinds) for number, values in enumerate(state.get(_PENDING, ()))]


def _event(number: int, values: Mapping[str, Any], state: Mapping[str, Any], kinds: Mapping[str, Kind]) -> Event:
    if "failure" in values:
        return Event(values["at_s"], Failure(**values["failure"]))
    kind = kinds.get(values["kind"])
    if kind is None:
        raise CheckpointError(f"a pending answer must be to one of {', '.join(kinds)}, got {values['kind']!r}")
    halves: dict[str, Arrays] = {}
    for half in ("sums", "clear"):
        halves[half] = under(f"{_PENDING}.{number}.{half}.", state)
    clients = np.array([values["client"]], np.int64)
    replies = Replies(kind, values["round"], clients, halves["sums"], halves["clear"], values["fingerprint"])
    return Event(values["at_s"], replies)
