"""RBCS-F: learn how long each client takes, and trade the round's time against turns that are due."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.ledger import asked_in, column, entries, grown

_GRAM, _MOMENT, _QUEUE, _SINCE = "gram", "moment", "queue", "since"


def queued(queue: Float64Array, due: float, chosen: Float64Array) -> Float64Array:
    """Return the turns due to each client after a round, (n,): max(0, z + β - x).

    z is the queue before it, β the turns that become due in a round, and x 1 for a chosen client, else 0.

    Examples
    --------
    >>> z = queued(np.zeros(1), 0.4, np.zeros(1))
    >>> z = queued(z, 0.4, np.zeros(1))
    >>> float(np.round(queued(z, 0.4, np.ones(1)), 9)[0])
    0.2
    """
    return np.maximum(0.0, queue + due - chosen)


def optimistic(
    gram: Float64Array, moment: Float64Array, context: Float64Array, usual: Float64Array, ridge: float, optimism: float
) -> Float64Array:
    """Return optimistic times of a round, (n,): the lower end of what a ridge regression on the reports allows.

    It is max(0, c·θ - α·sqrt(c H⁻¹ c)) with coefficients θ = H⁻¹ b.

    Parameters
    ----------
    gram, moment
        Σ c cᵀ, (n, d, d), and Σ τ c, (n, d), over each client's own reports.
    context
        c, (n, d), of the round to come.
    usual
        (n, d), the coefficients before any report; 0 in the source.
    ridge
        λ: H = λI + gram, b = λ·usual + moment.
    optimism
        α
    """
    inverse = np.linalg.inv(gram + ridge * np.eye(context.shape[1]))
    theta = np.einsum("nij,nj->ni", inverse, moment + ridge * usual)
    width = np.sqrt(np.einsum("ni,nij,nj->n", context, inverse, context))
    return np.asarray(np.maximum(0.0, np.einsum("ni,ni->n", context, theta) - optimism * width))


def cheapest(times: Float64Array, queues: Float64Array, number: int, price: float) -> Int64Array:
    """Return the k places of least V·(longest time) - (sum of queues), which is exact, in ascending order.

    Who is slowest decides the first part; the second is then largest for the k largest queues among those not slower.
    So the places are passed in order of time, the k largest queues so far are kept, and the best moment is taken:
    O(n log k).

    Parameters
    ----------
    times, queues
        (n,)
    number
        k, at most n.
    price
        V

    References
    ----------
    Huang et al., TPDS 2021, algorithm 1 (divide and conquer).
    """
    order = np.argsort(times, kind="stable")
    best = _best_prefix(times[order].tolist(), queues[order].tolist(), number, price)
    among = order[:best]
    return np.sort(among[np.argsort(-queues[among], kind="stable")[:number]]).astype(np.int64)


def _best_prefix(times: list[float], queues: list[float], number: int, price: float) -> int:
    """Return among how many of the fastest clients the cohort of least cost is; times ascend."""
    queued_up: list[float] = []
    total, best, length = 0.0, np.inf, number
    for place, (time, queue) in enumerate(zip(times, queues, strict=True), start=1):
        heapq.heappush(queued_up, queue)
        total += queue
        if len(queued_up) > number:
            total -= heapq.heappop(queued_up)
        if place >= number and price * time - total < best:
            best, length = price * time - total, place
    return length


@dataclass(frozen=True)
class FairAndFast:
    """Choose the k clients of the best trade between the round's time and turns that are due (RBCS-F).

    The time of each client is learned by its own ridge regression on the context c = (1, whether it took part in the
    last round), and taken optimistically: τ̄ = max(0, c·θ - α·sqrt(c H⁻¹ c)). A queue of each grows by β a round, and
    falls by 1 when it is chosen. The k clients minimise V·max τ̄ / (mean τ̄) - Σ z, exactly.

    Parameters
    ----------
    size
        How many: k.
    due
        β in [0, 1]: the share of rounds in which each client shall train in the long run. Above k/N it cannot be met:
        all queues grow, and those wait least that waited longest.
    price
        V >= 0: how much a round's time counts against turns that are due.
    optimism
        α >= 0, in seconds.
    ridge
        λ > 0

    Notes
    -----
    The source's context is (1 / CPU share, whether it took part, model size / bandwidth). CPU share and bandwidth are
    no signals here; what is constant of them in a client is in the coefficient of the 1. Where a grid declares the
    expected seconds of a round, these are the centre of the ridge in place of 0, so that a client that is declared slow
    need not be tried first. The source's V is per second, so that its meaning changes with the length of a round; here
    times count in units of their mean over the available clients. V = 5, β = 0.15, α = 0.1 and λ = 1 are those of a
    third-party simulation; V in the new unit is an assumption. Of a client that failed the turn counts and no time:
    what it took is not known. Ties fall at random. A client that appears late has a queue as if it had waited from the
    first round.

    References
    ----------
    Huang, Lin, Wu, He, Li, Zomaya, "An Efficiency-Boosting Client Selection Scheme for Federated Learning With Fairness
    Guarantee", IEEE TPDS 2021 (arXiv 2011.01783), algorithms 1 and 2.
    """

    size: CohortSize = CohortSize()
    due: float = 0.15
    price: float = 5.0
    optimism: float = 0.1
    ridge: float = 1.0

    name: ClassVar[str] = "rbcs-f"
    card: ClassVar[Card] = Card(
        title="Reputation-based client selection with fairness (RBCS-F)",
        rule="The k clients of least V · max time - Σ queues; queues grow by β a round and fall by 1 a turn.",
        policy="selection fairness; limit round time",
        shared="duration of participants",
        generation="bandit-based",
        interpretation="ranking",
        use_when="Plants differ in speed, each must keep a share of the turns, and rounds should be short.",
        avoid_when="All are equally fast: it is then a round robin.",
        notes=(
            "Choose β below k/N; a large V puts off slow plants until their queues are long.",
            "V, β, α, λ are those of a third-party simulation, V in another unit; the paper was not read in full.",
        ),
    )

    def __post_init__(self) -> None:
        if not 0 <= self.due <= 1:
            raise ConfigError(f"strategy.selection.due must be in [0, 1], got {self.due}")
        for name, value in (("price", self.price), ("optimism", self.optimism)):
            if not 0 <= value < np.inf:
                raise ConfigError(f"strategy.selection.{name} must be >= 0 and finite, got {value}")
        if not 0 < self.ridge < np.inf:
            raise ConfigError(f"strategy.selection.ridge must be > 0 and finite, got {self.ridge}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "Huang et al., IEEE TPDS 2021, algorithms 1 and 2",
            needs=frozenset({"seconds"}),
            assumes=frozenset({"available", "addressable", "stateful", "trustworthy"}),
            unbiased=False,
            reveals="how long each client that trains takes",
            rests_on=frozenset({"seconds"}),
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Return the cohort of least cost."""
        del answers
        shuffled = rng.permutation(len(view.available))
        clients = view.available[shuffled]
        times, queues = self._times(view, clients), self._queues(view.state, clients)
        number = self.size.of(len(clients))
        usual = float(times.mean()) if len(times) and times.mean() > 0 else 1.0
        chosen = np.sort(shuffled[cheapest(times / usual, queues, number, self.price)])
        place = np.argsort(shuffled)[chosen]
        reasons = tuple(f"{times[i]:.3g} s expected, {queues[i]:.3g} turns due" for i in place.tolist())
        return Choice(view.available[chosen], np.ones(number), np.ones(number), reasons)

    def observe(self, state: State, reports: Reports) -> State:
        """Learn the times of those that answered, and count the turns of all that were asked."""
        asked, seconds = asked_in(reports), reports.signal("seconds")
        measured = np.isfinite(seconds)
        clients, context = reports.clients[measured], _contexts(state, reports.clients[measured])
        gram, moment = (grown(array, asked, 0.0) for array in _regressions(state))
        gram[clients] += context[:, :, None] * context[:, None, :]
        moment[clients] += seconds[measured][:, None] * context
        rounds = int(state.get("rounds", 0))
        queue, since = grown(column(state, _QUEUE), asked, 0.0), grown(column(state, _SINCE), asked, 0.0)
        queue[asked] = queued(queue[asked] + self.due * (rounds - since[asked]), self.due, np.ones(len(asked)))
        since[asked] = rounds + 1
        latest = sorted(reports.clients.tolist())
        arrays = {_GRAM: gram, _MOMENT: moment, _QUEUE: queue, _SINCE: since}
        return {**state, **arrays, "rounds": rounds + 1, "latest": latest}

    def _times(self, view: View, clients: Int64Array) -> Float64Array:
        """Return the optimistic seconds of a round of these available clients, (clients,)."""
        gram, moment = (array[np.minimum(clients, len(array) - 1)] for array in _padded(_regressions(view.state)))
        unknown = clients >= len(column(view.state, _QUEUE))
        gram[unknown], moment[unknown] = 0.0, 0.0
        declared = sum(view.fact(name) for name in ("seconds_compute", "seconds_up", "seconds_down"))
        usual = np.zeros((len(clients), 2))
        usual[:, 0] = np.asarray(declared)[np.searchsorted(view.available, clients)]
        return optimistic(gram, moment, _contexts(view.state, clients), usual, self.ridge, self.optimism)

    def _queues(self, state: State, clients: Int64Array) -> Float64Array:
        """Return the queues now, (clients,): as of when each was last asked, grown by β (`due`) in each round since."""
        queue, since = (entries(column(state, name), clients, 0.0) for name in (_QUEUE, _SINCE))
        return np.asarray(queue + self.due * (int(state.get("rounds", 0)) - since))


def _contexts(state: State, clients: Int64Array) -> Float64Array:
    """Return c of each client, (clients, 2): 1, and whether it took part in the last round."""
    took_part = np.isin(clients, np.asarray(state.get("latest", ()), dtype=np.int64))
    return np.stack([np.ones(len(clients)), took_part.astype(np.float64)], axis=1)


def _regressions(state: State) -> tuple[Float64Array, Float64Array]:
    """Return Σ c cᵀ, (clients, 2, 2), and Σ τ c, (clients, 2), over the reports of each client."""
    return column(state, _GRAM).reshape(-1, 2, 2), column(state, _MOMENT).reshape(-1, 2)


def _padded(arrays: tuple[Float64Array, Float64Array]) -> tuple[Float64Array, Float64Array]:
    """Return the sums with a last row of zeros, for clients of which nothing is known."""
    gram, moment = arrays
    return np.concatenate([gram, np.zeros((1, 2, 2))]), np.concatenate([moment, np.zeros((1, 2))])
