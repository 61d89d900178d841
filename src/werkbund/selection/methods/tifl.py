"""TiFL: clients in tiers of like speed; a round draws one tier, the worse ones more often, and waits for no slower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.choices import AnnotatedChoice, notes_on
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.ledger import asked_in, column, entered, entries, failed_in, grown


def tiers_of(latency: Float64Array, number: int) -> Int64Array:
    """Return the tier of each client, (n,), 0 for the fastest; -1 where the latency is unknown.

    Tiers are as equal in size as can be; their number need not divide the clients. With few clients some stay empty.
    Clients of the same latency share the fastest of the tiers that they would fill.

    Parameters
    ----------
    latency
        (n,), in seconds; NaN where unknown, inf for who was asked in vain and belongs to the slowest.
    number
        How many tiers.

    Examples
    --------
    >>> tiers_of(np.array([9.0, 1.0, np.nan, 5.0, 2.0]), 2).tolist(), tiers_of(np.array([1.0, np.inf]), 5).tolist()
    ([1, 0, -1, 1, 0], [0, 4])
    """
    tiers = np.full(len(latency), -1)
    known = np.flatnonzero(~np.isnan(latency))
    order = known[np.argsort(latency[known], kind="stable")]
    ranked = np.concatenate([np.full(len(part), tier) for tier, part in enumerate(np.array_split(order, number))])
    first = np.searchsorted(latency[order], latency[order])
    tiers[order] = np.where(np.isinf(latency[order]), number - 1, ranked[first])
    return tiers


def tier_chances(accuracy: Float64Array, credited: BoolArray) -> Float64Array:
    """Return the probability of each tier, (tiers,): the less accurate, the higher.

    Of the n tiers with credit, the one of rank r by ascending accuracy, from 0, has (n - r) / (n (n + 1) / 2); one of
    unknown accuracy ranks as the worst.

    Examples
    --------
    >>> tier_chances(np.array([0.7, 0.8, 0.9]), np.ones(3, bool)).round(4).tolist()
    [0.5, 0.3333, 0.1667]
    """
    chances = np.zeros(len(accuracy))
    members = np.flatnonzero(credited)
    known = np.where(np.isnan(accuracy[members]), -np.inf, accuracy[members])
    order = members[np.argsort(known, kind="stable")]
    number = len(order)
    chances[order] = (number - np.arange(number)) / max(number * (number + 1) / 2, 1)
    return chances


def credits_of(rounds: int, number: int, slowest: float) -> Float64Array:
    """Return how often each tier may be drawn, (tiers,): all rounds for the fastest, falling evenly to a share of them.

    Without a known number of rounds there is no limit.

    Examples
    --------
    >>> credits_of(100, 3, 0.5).tolist(), credits_of(0, 2, 0.5).tolist()
    ([100.0, 75.0, 50.0], [inf, inf])
    """
    if rounds < 1:
        return np.full(number, np.inf)
    return np.asarray(np.ceil(rounds * np.linspace(1.0, slowest, number)))


@dataclass(frozen=True)
class TiFL:
    """Draw a tier of like latency, and the cohort uniformly in it.

    Every I rounds, if the tier of the round is no better than at the test before, the tiers' probabilities become
    (n - r)/D by their rank r of accuracy, the worst first. Each tier has credits for so many rounds.

    Parameters
    ----------
    size
        How many.
    tiers
        m
    interval
        I, rounds between two tests.
    slowest_credit
        Share of all rounds that the slowest tier may be drawn in; those between fall evenly. 1: no limit that binds.

    Notes
    -----
    Accuracy of a tier is taken from the mean loss that its members told when they last took part: lower is better. The
    source lets all clients score the weights at each test, which costs everybody a download and a pass. The ranking
    needs an order only, and log loss orders tiers of one task as accuracy does, with less noise at rare failures, where
    accuracy hardly moves. What it costs: the loss of a tier that was long not drawn is old, so higher while the model
    learns, and this tier comes sooner, which is what the credits and the ranking are for anyway.

    Profiling: who has no measured latency trains first, at random, for N/k rounds, and these rounds count as training;
    in the source they are lost. Latency is the mean of what was measured. Who was asked and whose time nobody knows,
    because it failed or because nobody measures it, belongs to the slowest; where nobody's time is known there are no
    tiers, the cohort is drawn uniformly, and the reason says so. A tier that offers fewer than the cohort is filled up
    from the next faster ones, which keeps the round short, and then from slower ones. When all credits are used up they
    are void.

    Assumptions: five tiers and I = 10 are those of a public port; the source leaves credits to the user, and says fewer
    for slow tiers. The stagnation test is that of the paper as it is told elsewhere: the paper was not read in full.

    References
    ----------
    Chai, Ali, Zawad, Truex, Anwar, Baracaldo, Zhou, Ludwig, Yan, Cheng, "TiFL: A Tier-based Federated Learning System",
    HPDC 2020, algorithm 2.
    """

    size: CohortSize = CohortSize()
    tiers: int = 5
    interval: int = 10
    slowest_credit: float = 1.0

    name: ClassVar[str] = "tifl"
    card: ClassVar[Card] = Card(
        title="TiFL, tiers of like speed",
        rule="Draw a latency tier with credit left, the less accurate the likelier once learning stagnates; "
        "then draw the cohort uniformly inside.",
        policy="limit round time",
        shared="time, loss",
        generation="time-based",
        interpretation="clusters + probability",
        use_when="Machines differ much in speed, and the slow ones shall have their turns too, among themselves.",
        avoid_when="Speed and data go together, and there are few clients: a round then sees one kind of data alone.",
        notes=(
            "With few clients a tier may hold fewer than a cohort; faster ones fill it up.",
            "Accuracy of a tier is judged by the loss its members told last, not by a fresh evaluation of everybody.",
            "It rests on measured times: a simulation without a world is refused.",
        ),
    )

    def __post_init__(self) -> None:
        for name in ("tiers", "interval"):
            if getattr(self, name) < 1:
                raise ConfigError(f"strategy.selection.{name} must be >= 1, got {getattr(self, name)}")
        if not 0 < self.slowest_credit <= 1:
            raise ConfigError(f"strategy.selection.slowest_credit must be in (0, 1], got {self.slowest_credit}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "Chai et al., HPDC 2020, algorithm 2",
            needs=frozenset({"seconds", "loss"}),
            assumes=frozenset({"available", "addressable", "stateful", "reliable", "trustworthy"}),
            unbiased=False,
            cost="two numbers from each client that trains; the first N/k rounds measure",
            reveals="the duration and the loss of each client that trains",
            rests_on=frozenset({"seconds"}),
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw a tier, and the cohort in it; who was never measured comes first."""
        del answers
        number = self.size.of(len(view.available))
        latency = column(view.state, "latency")
        tiers = entries(tiers_of(latency, self.tiers).astype(np.float64), view.available, -1.0)
        chances = self._chances(view, tiers)
        untimed = (tiers < 0).any() or not np.isfinite(latency).any()
        tier = -1 if not number or untimed else int(rng.choice(self.tiers, p=chances))
        distance = _distances(tiers, tier, self.tiers)
        places = np.sort(np.lexsort((rng.random(len(tiers)), distance))[:number])
        possible = [(1.0, -1)] if tier < 0 else [(chance, place) for place, chance in enumerate(chances.tolist())]
        inclusion = sum(
            (p * _inclusion(_distances(tiers, place, self.tiers), number) for p, place in possible), 0.0 * tiers
        )
        drawn = self._drawn(tier, entries(latency, view.available, np.nan))
        reasons = tuple(
            drawn if distance[place] == distance.min() else f"fills up: {drawn}" for place in places.tolist()
        )
        notes = {"tier": np.full(number, float(tier))}
        return AnnotatedChoice(
            view.available[places], inclusion[places], np.ones(number), reasons, inclusion, notes=notes
        )

    def observe(self, state: State, reports: Reports) -> State:
        """Keep latencies and losses, use up a credit, and every I rounds test whether the tier has stagnated."""
        tier = int(notes_on(reports, "tier", -1.0).max(initial=-1.0))
        used = self._by_tier(state, "used", 0.0)
        if tier >= 0:
            used[tier] += 1
        noticed: State = {**state, **_measured(state, reports), "used": used}
        if reports.round % self.interval:
            return noticed
        loss, before = self._losses(noticed), self._by_tier(state, "tested", np.nan)
        stagnant = tier >= 0 and bool(loss[tier] >= before[tier])
        return {**noticed, "tested": loss, **({"ranked": loss} if stagnant else {})}

    def _drawn(self, tier: int, latency: Float64Array) -> str:
        """Return what was drawn, in words, where the available clients have these latencies, (available,)."""
        if tier >= 0:
            return f"tier {tier + 1} of {self.tiers}"
        return "not measured yet" if np.isnan(latency).any() else "no tiers, for no time is known; drawn at random"

    def _by_tier(self, state: State, name: str, missing: float) -> Float64Array:
        """Return an array of the state with an entry a tier, (tiers,), as a copy; `missing` before there is one."""
        values = column(state, name)
        return values.copy() if len(values) == self.tiers else np.full(self.tiers, missing)

    def _chances(self, view: View, tiers: Float64Array) -> Float64Array:
        """Return the probability of each tier that has somebody here and credit left, (tiers,)."""
        here = np.isin(np.arange(self.tiers), tiers)
        credit = credits_of(view.last, self.tiers, self.slowest_credit)
        open_ = here & (self._by_tier(view.state, "used", 0.0) < credit)
        open_ = open_ if open_.any() else here | ~here.any()
        if "ranked" not in view.state:
            return np.asarray(open_ / open_.sum())
        return tier_chances(-self._by_tier(view.state, "ranked", np.nan), open_)

    def _losses(self, state: State) -> Float64Array:
        """Return the mean of the known losses in each tier, (tiers,); NaN where none is known."""
        loss = column(state, "loss")
        tiers = entries(tiers_of(column(state, "latency"), self.tiers).astype(np.float64), np.arange(len(loss)), -1.0)
        counted = np.isfinite(loss) & (tiers >= 0)
        members = tiers[counted].astype(np.int64)
        sums, number = np.bincount(members, loss[counted], self.tiers), np.bincount(members, minlength=self.tiers)
        return np.asarray(np.divide(sums, number, out=np.full(self.tiers, np.nan), where=number > 0))


def _measured(state: State, reports: Reports) -> State:
    """Return mean latencies, how often each was measured, and the last losses, (clients,) by number each."""
    failed, asked = failed_in(reports), asked_in(reports)
    latency, loss = (grown(column(state, name), asked, np.nan) for name in ("latency", "loss"))
    times = grown(column(state, "times"), asked, 0.0)
    seconds = reports.signal("seconds")
    told = np.isfinite(seconds)
    here, untold = reports.clients[told], np.concatenate([reports.clients[~told], failed])
    latency[here] = (np.where(times[here] > 0, latency[here], 0.0) * times[here] + seconds[told]) / (times[here] + 1.0)
    times[here] += 1.0
    latency[untold] = np.where(np.isnan(latency[untold]), np.inf, latency[untold])
    return {"latency": latency, "times": times, "loss": entered(loss, reports.clients, reports.signal("loss"))}


def _distances(tiers: Float64Array, tier: int, number: int) -> Float64Array:
    """Return how far each client is from a tier, (n,): 0 in it, then the faster tiers, the next first, then slower."""
    return np.where(tiers <= tier, tier - tiers, number + tiers - tier)


def _inclusion(distance: Float64Array, number: int) -> Float64Array:
    """Return the inclusion probability of each client, (n,), if `number` are taken by distance, ties at random."""
    inclusion, left = np.zeros(len(distance)), number
    for step in np.unique(distance).tolist():
        group = distance == step
        inclusion[group] = min(1.0, left / group.sum())
        left = max(0, left - int(group.sum()))
    return inclusion
