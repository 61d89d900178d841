"""What travels between server and clients, and what a round leaves behind.

A cohort is one value with columns, never a thousand objects: `Tasks` and `Replies` hold one row a client. A grid
that reaches its clients one by one sends and yields them in batches of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from werkbund.core.arrays import Arrays, BoolArray, Float32Array, Float64Array, Int64Array
from werkbund.core.edges import STANDARD_EDGES
from werkbund.core.kinds import Kind

Score = Callable[[Float32Array], float]
"""Judges weights on the server's own validation rows: the higher, the better."""

Rows = BoolArray | slice
"""Which rows of a cohort: a mask with one entry a client, or a slice."""


@dataclass(frozen=True)
class Toll:
    """Say what an answer took on its way, beside the task and the arrays that came of it.

    Parameters
    ----------
    bytes_down, bytes_up
        Payload of messages that carry neither.
    trips
        Round trips of these.
    is_opened
        Whether the sum that it was to be a part of was opened, where it was to be one.
    """

    bytes_down: int = 0
    bytes_up: int = 0
    trips: int = 0
    is_opened: bool = True


@dataclass(frozen=True)
class Tasks:
    """Ask some clients to do one kind of work.

    Parameters
    ----------
    kind
        What is asked.
    round, attempt
        Which round, and which try of it; with the client they identify the task.
    clients
        (tasks,), client numbers in ascending order, none twice.
    shared
        Named arrays that every client gets alike, such as the global weights: (parameters,).
    own
        Named arrays with one row a task: (tasks, ...), such as the factor that a selector asks a client to apply.
    keep
        Only so many answers are wanted, the first that come; None for all.
    shapes
        Shape of each sum that is wanted of a client, by name, for a grid that must know; empty where nobody says.
    """

    kind: Kind
    round: int
    clients: Int64Array
    shared: Arrays = field(default_factory=dict)
    own: Arrays = field(default_factory=dict)
    attempt: int = 0
    keep: int | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.clients)

    def take(self, rows: Rows) -> Tasks:
        """Return the tasks of some of the clients; the arrays are not copied if that is all of them."""
        if _is_every(rows):
            return self
        return replace(self, clients=self.clients[rows], own=_taken(self.own, rows))


@dataclass(frozen=True)
class Replies:
    """Answer tasks of one kind: one row a client.

    Parameters
    ----------
    kind, round
        Those of the tasks.
    clients
        (replies,)
    sums
        Named arrays, (replies, ...), already weighted at the client and meant only to be added.
    clear
        Named signals in clear, (replies, ...), which the run declares.
    pooled
        Named arrays that are added over these clients already: what nobody needs for each of them.
    fingerprint
        The layout of the weights that the client trained; empty where none were.
    toll
        What it took on its way beside that.
    """

    kind: Kind
    round: int
    clients: Int64Array
    sums: Arrays = field(default_factory=dict)
    clear: Arrays = field(default_factory=dict)
    fingerprint: str = ""
    pooled: Arrays = field(default_factory=dict)
    toll: Toll = field(default_factory=Toll)

    def __len__(self) -> int:
        return len(self.clients)

    @property
    def figures(self) -> Arrays:
        """What is meant to be added, by name: one row a client, or one for all of them where it is added already."""
        return {**self.sums, **{name: array[None] for name, array in self.pooled.items()}}

    def take(self, rows: Rows) -> Replies:
        """Return the rows of some of the clients; what is pooled stays, and all rows are not copied."""
        if _is_every(rows):
            return self
        sums, clear = _taken(self.sums, rows), _taken(self.clear, rows)
        return replace(self, clients=self.clients[rows], sums=sums, clear=clear)


@dataclass(frozen=True)
class Failure:
    """Record that a client did not answer usefully, and why.

    Parameters
    ----------
    client, round, reason
        Who, when, and why in words.
    seconds, joules
        What it spent in vain, where that is known.
    answered
        Whether it did answer, and what it said cannot be used.
    """

    client: int
    round: int
    reason: str
    seconds: float = 0.0
    joules: float = 0.0
    answered: bool = False


@dataclass(frozen=True)
class Reused:
    """Hold updates of earlier rounds that count once more in a round's mean.

    Parameters
    ----------
    clients
        (clients,), whose they are, ascending; none of them is in the cohort.
    updates
        (clients, parameters), unweighted.
    weights
        (clients,), what each counts in the mean.
    """

    clients: Int64Array
    updates: Float32Array
    weights: Float64Array


@dataclass(frozen=True)
class Choice:
    """Say who trains in a round.

    Parameters
    ----------
    cohort
        (cohort,), client numbers in ascending order.
    probabilities
        (cohort,), each chosen client's inclusion probability.
    factors
        (cohort,), what each update is multiplied by beside the aggregator's own weight.
    reasons
        One a chosen client, for people.
    inclusion
        (available,), the inclusion probability of every available client, in their order; None where it is not known.
    equal
        True: all updates count alike but for their factors; False: by rows; None: as the aggregator says.
    total
        What the sum of weighted updates is divided by, so that an unbiased method stays so; None: by the weights of
        those that answered.
    held
        Whether the chosen have trained already and hold their updates, which they are then asked to upload.
    keep
        Only so many updates are wanted, the first that come; None for all.
    payments
        (cohort,), what each is promised for a useful answer, in any currency; None where nobody is paid.
    reused
        Earlier updates of clients that stay silent, which are folded as if they came; None for none.
    """

    cohort: Int64Array
    probabilities: Float64Array
    factors: Float64Array
    reasons: tuple[str, ...]
    inclusion: Float64Array | None = None
    equal: bool | None = None
    total: float | None = None
    held: bool = False
    keep: int | None = None
    payments: Float64Array | None = None
    reused: Reused | None = None

    @property
    def num_reused(self) -> int:
        """How many earlier updates count once more."""
        return 0 if self.reused is None else len(self.reused.clients)


@dataclass(frozen=True)
class RoundRecord:
    """Say what happened in one round.

    Parameters
    ----------
    round
        From 1.
    scored
        The number of the round whose resulting weights `counts` score; 0 for the initial ones.
    cohort
        Client numbers that were asked to train.
    failures
        Clients that did not answer usefully.
    counts
        Evaluation counts of the scored weights, by split: arrays with one row a client that evaluated, or one row a
        group of clients whose counts came added.
    evaluated
        Client numbers that are counted in them, ascending, by split.
    loss
        Mean training loss of the cohort, weighted by rows; None if nobody reported one.
    update_norm, weights_norm
        Euclidean norms of the step taken by the global weights, and of the resulting weights.
    bytes_down, bytes_up
        Payload of all messages of the round, in bytes.
    seconds
        Wall-clock time of the round.
    reasons
        Why each client of the cohort was chosen.
    simulated_seconds, joules
        What the round takes and spends in a simulated world, probes, failed and late work included; 0 without one.
    probed
        Client numbers that were asked something before the choice.
    told
        The numbers that the selector was given, by kind of task: `clients`, ascending, and each signal, (clients,).
    bytes_measuring
        How much of the payload went to and came from clients that were asked for nothing but their counts.
    reward
        What those that answered usefully were promised.
    outlying
        Clients whose updates were far longer than the middle one, ascending, each with the length per unit of weight.
    clipped
        Clients whose updates the server shortened, ascending.
    usual_norm
        The middle length of the updates, per unit of weight; 0 where it is not known.
    refused
        Why the updates did not become the next weights, which are those before; empty where they did.
    edges
        The logits between the bins of the counts.
    stale
        Clients whose updates came late and count all the same, ascending, each with how many rounds late.
    owing
        Client numbers that are still at work when the round closes.
    credits
        What each client contributed, as values that JSON holds; empty where that is not asked for.
    clusters
        In which cluster each client was (`of`), who changes it after the round (`moved`: client, from, to), and who did
        not tell the losses by which it is assigned (`untold`), as values that JSON holds; empty where there are none.
    sum_trips
        Round trips that the round's secure sums took; 0 without any.
    """

    round: int
    scored: int
    cohort: tuple[int, ...]
    failures: tuple[Failure, ...]
    counts: Mapping[str, Arrays]
    evaluated: Mapping[str, Int64Array]
    loss: float | None
    update_norm: float
    weights_norm: float
    bytes_down: int
    bytes_up: int
    seconds: float
    reasons: tuple[str, ...] = ()
    simulated_seconds: float = 0.0
    joules: float = 0.0
    probed: tuple[int, ...] = ()
    told: Mapping[str, Arrays] = field(default_factory=dict)
    bytes_measuring: int = 0
    reward: float = 0.0
    outlying: tuple[tuple[int, float], ...] = ()
    clipped: tuple[int, ...] = ()
    usual_norm: float = 0.0
    refused: str = ""
    edges: Float32Array = field(default_factory=lambda: STANDARD_EDGES)
    stale: tuple[tuple[int, int], ...] = ()
    owing: tuple[int, ...] = ()
    credits: Mapping[str, Any] = field(default_factory=dict)
    clusters: Mapping[str, Any] = field(default_factory=dict)
    sum_trips: int = 0


def _is_every(rows: Rows) -> bool:
    return not isinstance(rows, slice) and bool(rows.all())


def _taken(arrays: Arrays, rows: Rows) -> Arrays:
    return {name: array[rows] for name, array in arrays.items()}
