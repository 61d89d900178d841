"""FedCS: as many clients as a deadline allows, those first that lengthen the round least."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.ledger import column, entered, entries

_Times = tuple[float, float, float]
_Kind = tuple[bool, bool]


def schedule(
    compute: Float64Array, up: Float64Array, down: Float64Array, deadline_s: float, overhead_s: float = 0.0
) -> tuple[Int64Array, Float64Array]:
    """Return the places that fit a round, in the order of their uploads, and when each has uploaded.

    Training overlaps, uploads come one after the other, and the weights go out at the pace of the slowest. With Θ the
    time after the last upload and T_d the time of sending the weights to all in S, the next client is the one of least
    T_d(S + x) - T_d(S) + up_x + max(0, compute_x - Θ), as long as the sum of all stays below the deadline. Where the
    cheapest does not fit none does, so to discard it and to go on, as published, is the same as to stop.

    Whether a client trains beyond Θ and whether it gets the weights later than T_d(S) makes four kinds. Within one, the
    order of costs never changes, so a queue for each kind finds the cheapest without looking at everybody again.

    Parameters
    ----------
    compute, up, down
        Seconds of training, of sending an update, and of getting the weights, (n,) each.
    deadline_s
        T_round
    overhead_s
        Time of the server for choosing and aggregating, T_cs + T_agg.

    Returns
    -------
    order, ends
        (chosen,), places; and Θ after each, without the time of sending the weights, in seconds.

    Examples
    --------
    >>> order, ends = schedule(np.array([5.0, 3.0, 10.0]), np.array([1.0, 2.0, 1.0]), np.zeros(3), 9.0)
    >>> order.tolist(), ends.tolist()
    ([1, 0], [5.0, 6.0])
    """
    times = list(zip(compute.tolist(), up.tolist(), down.tolist(), strict=True))
    queues: dict[_Kind, list[tuple[float, int]]] = {(late, far): [] for late, far in product((False, True), repeat=2)}
    for client, time in enumerate(times):
        _enqueue(queues, client, time, _kind(time, 0.0, 0.0))
    order: list[int] = []
    ends: list[float] = []
    end, sent = 0.0, 0.0
    while any(queues.values()):
        cost, client, kind = min(
            (queue[0][0] - kind[0] * end - kind[1] * sent, queue[0][1], kind) for kind, queue in queues.items() if queue
        )
        heapq.heappop(queues[kind])
        now = _kind(times[client], end, sent)
        if now != kind:  # what it would cost has been underrated
            _enqueue(queues, client, times[client], now)
            continue
        if not overhead_s + sent + end + cost < deadline_s:
            break
        trains, uploads, gets = times[client]
        end, sent = end + uploads + max(0.0, trains - end), max(sent, gets)
        order.append(client)
        ends.append(end)
    return np.array(order, np.int64), np.array(ends)


def _kind(time: _Times, end: float, sent: float) -> _Kind:
    """Say whether a client would train beyond the last upload, and get the weights later than those before it."""
    return time[0] > end, time[2] > sent


def _enqueue(queues: dict[_Kind, list[tuple[float, int]]], client: int, time: _Times, kind: _Kind) -> None:
    """Put a client into the queue of its kind, by the part of its cost that does not change from step to step."""
    heapq.heappush(queues[kind], (time[1] + kind[0] * time[0] + kind[1] * time[2], client))


@dataclass(frozen=True)
class FedCS:
    """Draw candidates at random, and choose as many of them as a deadline allows.

    Parameters
    ----------
    size
        How many candidates; the cohort has at most so many.
    deadline_s
        What a round may last, T_round; None: `share` of what it would take to serve all candidates.
    share
        Used where there is no deadline, in (0, 1].
    overhead_s
        What the server itself takes of it.

    Notes
    -----
    Assumption: a deadline of three minutes is said to be the paper's, which was not read in full. It has to fit the
    work at hand, so without one half of the time that all candidates would take is the deadline, round by round.

    The size of the cohort is not fixed. If nobody fits, the candidate that would be first comes alone, because a round
    needs somebody. A candidate that expects nothing known counts as the mean of the others; where nobody does,
    everything fits. Ties go by number. The given probability is that of being a candidate, which is an upper bound:
    the choice among candidates is certain. A simulated world tells the times each round; of a client that declares
    none, as in a real federation, what its last turn took from end to end stands for them, as time of training.

    References
    ----------
    Nishio, Yonetani, "Client Selection for Federated Learning with Heterogeneous Resources in Mobile Edge", ICC 2019,
    algorithm 3 and equations 1 to 3.
    """

    size: CohortSize = CohortSize()
    deadline_s: float | None = None
    share: float = 0.5
    overhead_s: float = 0.0

    name: ClassVar[str] = "fedcs"
    card: ClassVar[Card] = Card(
        title="FedCS, client selection under a deadline",
        rule="Among random candidates, add the one that lengthens the round least, until the deadline is reached.",
        policy="limit round time",
        termination="fixed rounds, target accuracy",
        shared="time",
        generation="time-based",
        interpretation="ranking + threshold",
        use_when="A round must end in time, and gateways share one line, so that uploads queue.",
        avoid_when="A slow machine sees what no other sees: it may never take part. Or times are not known.",
        notes=(
            "Uploads one after the other are the paper's model; where they run side by side a round ends sooner.",
            "Without a deadline it takes half of the time that all candidates would need, which is our assumption.",
            "Clients that tell too short times gain turns.",
        ),
    )

    def __post_init__(self) -> None:
        if self.deadline_s is not None and not self.deadline_s > 0:
            raise ConfigError(f"strategy.selection.deadline_s must be > 0, got {self.deadline_s}")
        if not 0 < self.share <= 1:
            raise ConfigError(f"strategy.selection.share must be in (0, 1], got {self.share}")
        if not 0 <= self.overhead_s < np.inf:
            raise ConfigError(f"strategy.selection.overhead_s must be >= 0 and finite, got {self.overhead_s}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "Nishio and Yonetani, ICC 2019, algorithm 3",
            needs=frozenset({"seconds"}),
            assumes=frozenset({"addressable", "stateful", "reliable", "trustworthy"}),
            unbiased=False,
            cost="nothing; the paper asks each candidate for its times",
            reveals="expected time of training, of sending and of receiving, or else how long it took",
            rests_on=frozenset({"seconds"}),
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing: times are declared."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw candidates, and schedule them."""
        del answers
        num_available = len(view.available)
        number = self.size.of(num_available)
        places = np.sort(rng.choice(num_available, number, replace=False))
        compute, up, down = (_filled(times[places]) for times in _times(view))
        order, ends = schedule(compute, up, down, self._deadline(compute, up, down), self.overhead_s)
        reasons = [
            f"fits the deadline, uploads as number {i + 1} by {end:.4g} s" for i, end in enumerate(ends.tolist())
        ]
        if number and not len(order):
            order, reasons = np.array([np.argmin(down + compute + up)]), ["nobody fits the deadline; the fastest comes"]
        sorted_ = np.argsort(order)
        cohort = view.available[places[order[sorted_]]]
        chance = np.full(len(cohort), number / max(num_available, 1))
        return Choice(cohort, chance, np.ones(len(cohort)), tuple(reasons[place] for place in sorted_))

    def observe(self, state: State, reports: Reports) -> State:
        """Keep how long it took those that came."""
        seconds = reports.signal("seconds")
        if not np.isfinite(seconds).any():
            return state
        return {**state, "seconds": entered(column(state, "seconds"), reports.clients, seconds)}

    def _deadline(self, compute: Float64Array, up: Float64Array, down: Float64Array) -> float:
        """Return the deadline in seconds: as given, or `share` of what all candidates would take."""
        if self.deadline_s is not None:
            return self.deadline_s
        _, ends = schedule(compute, up, down, np.inf)
        everybody = float(down.max(initial=0.0)) + (float(ends[-1]) if len(ends) else 0.0)
        return self.overhead_s + (np.nextafter(self.share * everybody, np.inf) if everybody > 0 else np.inf)


def _times(view: View) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return seconds of training, of sending and of receiving, (available,) each; NaN where nothing is known."""
    declared = np.array([view.fact(f"seconds_{part}", np.nan) for part in ("compute", "up", "down")])
    measured = entries(column(view.state, "seconds"), view.available, np.nan)
    silent = np.isnan(declared).all(axis=0) & np.isfinite(measured)
    stand_ins = np.array([measured, np.zeros(len(measured)), np.zeros(len(measured))])
    compute, up, down = np.where(silent, stand_ins, declared)
    return compute, up, down


def _filled(seconds: Float64Array) -> Float64Array:
    """Return seconds with the mean of those known in place of the others, (n,); 0 where none is known."""
    known = np.isfinite(seconds)
    return np.where(known, seconds, seconds[known].mean() if known.any() else 0.0)
