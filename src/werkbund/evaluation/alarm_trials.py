"""Alarms tried on machines: at a threshold that is given, or at one that other machines chose by cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from werkbund.core.arrays import AnyArray, BoolArray, Float64Array
from werkbund.core.errors import DataError
from werkbund.core.rng import generator
from werkbund.evaluation.alarms import AlarmCosts, AlarmCounts, AlarmRule, MachineRecord, count_alarms, total
from werkbund.evaluation.intervals import Interval

_THRESHOLDS, _RESAMPLES = 64, 2000


@dataclass(frozen=True)
class Stops:
    """Hold the stops of all machines, a row each, in any order.

    Parameters
    ----------
    machine
        (stops,), the machine's name.
    starts, backs
        (stops,), hours; a stop lasts until the machine is back.
    planned
        (stops,), whether it is no failure.
    """

    machine: AnyArray
    starts: Float64Array
    backs: Float64Array
    planned: BoolArray


def machine_records(
    machine: AnyArray, times: Float64Array, risks: Float64Array, ends: Float64Array, stops: Stops
) -> dict[str, MachineRecord]:
    """Return the record of each machine that has a point, by name.

    Parameters
    ----------
    machine, times, risks, ends
        (points,): the machine's name, hours, what the model says, and when the machine's record ends.
    stops
        Of all machines.
    """
    records = {}
    for name in np.unique(machine):
        own, stopped = np.flatnonzero(machine == name), np.flatnonzero(stops.machine == name)
        own = own[np.argsort(times[own], kind="stable")]
        stopped = stopped[np.argsort(stops.starts[stopped], kind="stable")]
        records[str(name)] = MachineRecord(
            times[own],
            risks[own],
            stops.starts[stopped],
            stops.backs[stopped],
            stops.planned[stopped],
            float(times[own[0]]),
            float(ends[own].max()),
        )
    return records


@dataclass(frozen=True)
class AlarmTrial:
    """Hold how alarms did on machines, with what doing nothing would have come to.

    Parameters
    ----------
    rule, costs
        Of alarms.
    thresholds
        One that was given, or two, each chosen on the half of the machines that it was not tried on.
    by_machine
        Counts of each machine, by name.
    """

    rule: AlarmRule
    costs: AlarmCosts
    thresholds: tuple[float, ...]
    by_machine: Mapping[str, AlarmCounts]

    @cached_property
    def counts(self) -> AlarmCounts:
        """The counts of all machines."""
        return total(self.by_machine.values())

    @cached_property
    def false_interval(self) -> Interval:
        """False alarms a machine month, with a 95 % interval over machines."""
        return self._interval([(counts.false, counts.months) for counts in self.by_machine.values()])

    @cached_property
    def saving(self) -> Interval:
        """What alarms save a machine month against none, with a 95 % interval over machines."""
        costs = self.costs
        each = self.by_machine.values()
        return self._interval([(costs.of(counts.silent) - costs.of(counts), counts.months) for counts in each])

    def _interval(self, parts: Sequence[tuple[float, float]]) -> Interval:
        """Return a ratio of sums with its percentile interval over machines drawn again."""
        above, below = np.array(parts, np.float64).reshape(-1, 2).T
        if not below.sum() > 0:
            return Interval(math.nan, math.nan, math.nan, 0)
        weights = generator(0, "alarms").multinomial(len(above), np.full(len(above), 1 / len(above)), _RESAMPLES)
        hours = weights @ below
        drawn = (weights @ above)[hours > 0] / hours[hours > 0]
        low, high = np.percentile(drawn, [2.5, 97.5]) if len(above) > 1 else (math.nan, math.nan)
        return Interval(float(above.sum() / below.sum()), float(low), float(high), len(above))


def try_alarms(
    records: Mapping[str, MachineRecord],
    rule: AlarmRule,
    costs: AlarmCosts,
    threshold: float | None = None,
    most_false: float = math.inf,
) -> AlarmTrial:
    """Count alarms on machines, at a threshold or at one that other machines chose.

    Parameters
    ----------
    records
        By machine.
    rule, costs
        Of alarms.
    threshold
        Of the risk; without one each half of the machines is judged at the threshold that is best on the other half.
    most_false
        False alarms a machine month that a chosen threshold may have on the half that chooses it.

    Raises
    ------
    DataError
        If a threshold is to be chosen and there are fewer than two machines.
    """
    if threshold is not None:
        counts = {name: count_alarms(record, threshold, rule) for name, record in records.items()}
        return AlarmTrial(rule, costs, (threshold,), counts)
    if len(records) < 2:
        raise DataError(
            f"a threshold can be chosen on some machines and tried on others from 2 on, got {len(records)}; give one"
        )
    halves = [sorted(records)[number::2] for number in range(2)]
    chosen = [_chosen([records[name] for name in half], rule, costs, most_false) for half in halves]
    counts = {name: count_alarms(records[name], chosen[1 - k], rule) for k in range(2) for name in halves[k]}
    return AlarmTrial(rule, costs, tuple(chosen), {name: counts[name] for name in sorted(counts)})


def choose_by_alarms(
    machines: Sequence[MachineRecord], thresholds: Float64Array, rule: AlarmRule, costs: AlarmCosts, most_false: float
) -> float:
    """Return the threshold of least cost at which false alarms stay within a budget.

    Parameters
    ----------
    machines
        Those to choose by: not those that are reported on.
    thresholds
        That are tried.
    rule, costs
        Of alarms.
    most_false
        False alarms a machine month.

    Returns
    -------
    threshold
        Infinite, which never rings, where no other is within the budget or cheaper.
    """
    best, least = math.inf, costs.of(total(count_alarms(machine, math.inf, rule) for machine in machines))
    for threshold in sorted(map(float, thresholds), reverse=True):
        counts = total(count_alarms(machine, threshold, rule) for machine in machines)
        if counts.false_a_month <= most_false and costs.of(counts) < least:
            best, least = threshold, costs.of(counts)
    return best


def _chosen(machines: Sequence[MachineRecord], rule: AlarmRule, costs: AlarmCosts, most_false: float) -> float:
    """Return the best threshold of a grid over the risks of some machines, closer where risks are high."""
    risks = np.concatenate([machine.risks for machine in machines])
    grid = np.quantile(risks, 1 - np.geomspace(1 / max(len(risks), 2), 1.0, _THRESHOLDS))
    return choose_by_alarms(machines, np.unique(grid), rule, costs, most_false)
