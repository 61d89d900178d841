"""Alarms as a maintenance crew counts them: failures foreseen, how long before, and how often for nothing.

A risk at each decision point becomes alarms by a rule: k of the last n points reach a threshold, and no further alarm
rings within a hold-off. Every figure comes from counts of whole alarms, failures and hours, which add up over machines
and plants.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.evaluation.intervals import Interval

MONTH_H = 730.5
LEAD_EDGES_H = (0.0, 1.0, 4.0, 8.0, 24.0, 48.0, 72.0, 168.0)
"""Lower ends of the bins of lead times, in hours; the last has no upper end."""


@dataclass(frozen=True)
class AlarmRule:
    """Say when an alarm rings, and which alarms are true.

    Parameters
    ----------
    earliest, latest
        Hours before a failure between which an alarm is true: it comes neither too late to act nor too early.
    needed, of
        An alarm rings where a point and at least `needed` of the last `of` points since the machine was back reach the
        threshold.
    hold_off
        Hours after an alarm in which none rings; a stop ends them.

    Examples
    --------
    >>> AlarmRule.of_horizon(dead=12.0, horizon=60.0)
    AlarmRule(earliest=12.0, latest=72.0, needed=2, of=3, hold_off=60.0)
    """

    earliest: float
    latest: float
    needed: int = 2
    of: int = 3
    hold_off: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.earliest < self.latest < math.inf:
            raise ConfigError(
                f"an alarm must be true between two times before a failure, got {self.earliest} and {self.latest} hours"
            )
        if not 1 <= self.needed <= self.of:
            raise ConfigError(f"an alarm must need 1 to all of the last points, got {self.needed} of {self.of}")
        if not self.hold_off >= 0:
            raise ConfigError(f"the hold-off of alarms must be at least 0 hours, got {self.hold_off}")

    @classmethod
    def of_horizon(cls, dead: float, horizon: float, needed: int = 2, of: int = 3) -> AlarmRule:
        """Return the usual rule of labels that look from `dead` to `dead + horizon` hours ahead."""
        return cls(dead, dead + horizon, needed, of, horizon)


@dataclass(frozen=True)
class MachineRecord:
    """Hold what is known of one machine.

    Parameters
    ----------
    times, risks
        (points,), hours and what the model says; points at which the machine was down or run in are left out.
    starts, backs
        (stops,), hours; a stop lasts until the machine is back.
    planned
        (stops,), whether a stop is no failure.
    begin, end
        Hours between which the machine was watched.
    """

    times: Float64Array
    risks: Float64Array
    starts: Float64Array
    backs: Float64Array
    planned: BoolArray
    begin: float
    end: float

    @property
    def failures(self) -> Float64Array:
        """Hours at which it failed, (failures,)."""
        return self.starts[~self.planned & (self.starts <= self.end)]

    @property
    def hours(self) -> float:
        """Hours in which it was watched and not down."""
        down = np.minimum(self.backs, self.end) - np.maximum(self.starts, self.begin)
        return float(self.end - self.begin - np.maximum(down, 0.0).sum())


@dataclass(frozen=True)
class AlarmCounts:
    """Hold what alarms came to; counts of several machines add up.

    Parameters
    ----------
    failures, detected
        How many there were, and how many of them had a true alarm.
    blind
        Failures without a single point at which an alarm would have been true.
    true, false, late, undecided
        Alarms: true; not followed by a failure; so shortly before one that nothing can be done; and those of which
        nobody can say, because the record or a planned stop came first.
    hours
        Machine hours watched.
    lead
        Sum of the hours from the first true alarm of each failure.
    leads
        (8,), failures by these hours, see `LEAD_EDGES_H`.
    """

    failures: int = 0
    detected: int = 0
    blind: int = 0
    true: int = 0
    false: int = 0
    late: int = 0
    undecided: int = 0
    hours: float = 0.0
    lead: float = 0.0
    leads: Int64Array = field(default_factory=lambda: np.zeros(len(LEAD_EDGES_H), np.int64))

    def __add__(self, other: AlarmCounts) -> AlarmCounts:
        return AlarmCounts(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def silent(self) -> AlarmCounts:
        """What it would have come to had no alarm rung."""
        return AlarmCounts(failures=self.failures, blind=self.blind, hours=self.hours)

    @property
    def months(self) -> float:
        """Machine months watched."""
        return self.hours / MONTH_H

    @property
    def recall(self) -> float:
        """Share of the failures that had a true alarm; NaN without a failure."""
        return self.detected / self.failures if self.failures else math.nan

    @property
    def recall_interval(self) -> Interval:
        """The share with its 95 % interval by Wilson, failures taken for independent."""
        return wilson(self.detected, self.failures)

    @property
    def precision(self) -> float:
        """Share of the true among true and false alarms; NaN without one."""
        decided = self.true + self.false
        return self.true / decided if decided else math.nan

    @property
    def false_a_month(self) -> float:
        """False alarms a machine month; NaN where nothing was watched."""
        return self.false / self.months if self.hours > 0 else math.nan

    @property
    def median_lead(self) -> float:
        """Hours, the lower end of the bin that holds the middle detected failure; NaN without one."""
        if not self.detected:
            return math.nan
        return LEAD_EDGES_H[int(np.searchsorted(np.cumsum(self.leads), (self.detected + 1) // 2))]


@dataclass(frozen=True)
class AlarmCosts:
    """Hold what failures and alarms cost, in one currency.

    Parameters
    ----------
    failure
        A failure that no true alarm came before, with its hours down.
    planned
        A repair that is planned because of a true alarm, with its hours down.
    inspection
        An alarm that somebody looks after.
    """

    failure: float
    inspection: float
    planned: float = 0.0

    def of(self, counts: AlarmCounts) -> float:
        """Return what it all costs; alarms of which nobody can say cost nothing."""
        looked = counts.true + counts.false + counts.late
        missed = counts.failures - counts.detected
        return missed * self.failure + counts.detected * self.planned + looked * self.inspection

    def a_month(self, counts: AlarmCounts) -> float:
        """Return the cost a machine month; NaN where nothing was watched."""
        return self.of(counts) / counts.months if counts.hours > 0 else math.nan


def count_alarms(machine: MachineRecord, threshold: float, rule: AlarmRule) -> AlarmCounts:
    """Return what the alarms of one machine come to at a threshold."""
    alarms = ringing(machine, threshold, rule)
    failures = machine.failures
    ahead = np.concatenate([failures, [math.inf]])[np.searchsorted(failures, alarms, side="right")] - alarms
    true, late = (rule.earliest <= ahead) & (ahead <= rule.latest), ahead < rule.earliest
    undecided = ~true & ~late & ((alarms + rule.latest > machine.end) | _stopped(machine, alarms, rule.latest))
    leads = _leads(failures, alarms[true], rule)
    bins = np.bincount(np.searchsorted(LEAD_EDGES_H, leads, side="right") - 1, minlength=len(LEAD_EDGES_H))
    return AlarmCounts(
        failures=len(failures),
        detected=len(leads),
        blind=sum(not _was_seen(machine.times, failure, rule) for failure in failures),
        true=int(true.sum()),
        false=int((~true & ~late & ~undecided).sum()),
        late=int(late.sum()),
        undecided=int(undecided.sum()),
        hours=machine.hours,
        lead=float(leads.sum()),
        leads=bins.astype(np.int64),
    )


def total(counts: Iterable[AlarmCounts]) -> AlarmCounts:
    """Return the counts of many machines."""
    return reduce(AlarmCounts.__add__, counts, AlarmCounts())


def ringing(machine: MachineRecord, threshold: float, rule: AlarmRule) -> Float64Array:
    """Return the hours at which alarms ring, rising: (alarms,)."""
    exceeds = machine.risks >= threshold
    life = np.searchsorted(np.sort(machine.starts), machine.times, side="right")
    candidates = np.flatnonzero(exceeds & (_recent(exceeds, life, rule.of) >= rule.needed))
    alarms: list[int] = []
    for place in candidates.tolist():
        free = not alarms or machine.times[place] >= machine.times[alarms[-1]] + rule.hold_off
        if free or life[place] != life[alarms[-1]]:
            alarms.append(place)
    return machine.times[alarms]


def wilson(successes: int, trials: int) -> Interval:
    """Return a share with its 95 % interval.

    References
    ----------
    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.

    Examples
    --------
    >>> wilson(8, 10)
    Interval(mean=0.8, low=0.490, high=0.943, n=10)
    """
    if not trials:
        return Interval(math.nan, math.nan, math.nan, 0)
    z, share = 1.959963984540054, successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    return Interval(share, max(middle - half, 0.0), min(middle + half, 1.0), trials)


def _recent(exceeds: BoolArray, life: Int64Array, of: int) -> Int64Array:
    """Return how many of the last points of the same life exceed, the point itself among them: (points,)."""
    running = np.concatenate(([0], np.cumsum(exceeds)))
    place = np.arange(len(exceeds))
    first = np.maximum(np.searchsorted(life, life, side="left"), place - of + 1)
    return running[place + 1] - running[first]


def _stopped(machine: MachineRecord, alarms: Float64Array, within: float) -> BoolArray:
    """Return whether a planned stop follows each alarm so soon: (alarms,)."""
    planned = np.concatenate([np.sort(machine.starts[machine.planned]), [math.inf]])
    coming = planned[np.searchsorted(planned, alarms, side="right").clip(max=len(planned) - 1)]
    return np.asarray(coming - alarms <= within)


def _leads(failures: Float64Array, true: Float64Array, rule: AlarmRule) -> Float64Array:
    """Return the hours from its first true alarm to each failure that had one: (detected,)."""
    number = np.searchsorted(failures, true, side="right")
    _, first = np.unique(number, return_index=True)
    return failures[number[first]] - true[first]


def _was_seen(times: Float64Array, failure: float, rule: AlarmRule) -> bool:
    return bool(((times >= failure - rule.latest) & (times <= failure - rule.earliest)).any())
