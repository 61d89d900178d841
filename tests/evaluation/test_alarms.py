"""Alarms are counted as the reference counts them, and as a plain walk through each machine's points does."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.errors import ConfigError, DataError
from werkbund.evaluation.alarm_trials import Stops, choose_by_alarms, machine_records, try_alarms
from werkbund.evaluation.alarms import (
    AlarmCosts,
    AlarmCounts,
    AlarmRule,
    MachineRecord,
    count_alarms,
    ringing,
    total,
)

EXCEEDING = [24, 60, 66, 96, 102, 108, 114, 120, 126, 186, 192, 198, 228, 234]
POINTS = np.array([hour for hour in range(0, 240, 6) if not (132 <= hour < 138 or 200 <= hour < 206)], float)
MACHINE = MachineRecord(
    POINTS,
    np.where(np.isin(POINTS, EXCEEDING), 0.8, 0.1),
    np.array([132.0, 200.0]),
    np.array([138.0, 206.0]),
    np.array([False, False]),
    0.0,
    240.0,
)
COSTS = AlarmCosts(failure=5000 + 12 * 500, inspection=300, planned=1500 + 4 * 500)


def _rule(needed: int, of: int) -> AlarmRule:
    return AlarmRule(12, 72, needed, of, hold_off=48)


@pytest.mark.parametrize(
    ("rule", "alarms", "counted", "cost"),
    [
        (_rule(1, 1), [24, 96, 186, 228], AlarmCounts(2, 2, 0, 2, 1, 0, 1), 7900),
        (_rule(2, 3), [66, 114, 192, 234], AlarmCounts(2, 1, 0, 2, 0, 1, 1), 15400),
    ],
)
def test_the_worked_example(rule: AlarmRule, alarms: list[int], counted: AlarmCounts, cost: float) -> None:
    assert ringing(MACHINE, 0.7, rule).tolist() == alarms
    counts = count_alarms(MACHINE, 0.7, rule)
    names = ("failures", "detected", "blind", "true", "false", "late", "undecided")
    assert {name: getattr(counts, name) for name in names} == {name: getattr(counted, name) for name in names}
    assert counts.hours == 228
    assert COSTS.of(counts) == cost


def test_the_figures_of_the_worked_example() -> None:
    one, two = (count_alarms(MACHINE, 0.7, rule) for rule in (_rule(1, 1), _rule(2, 3)))
    assert (one.lead, two.lead) == (36 + 14, 66)
    assert one.leads.tolist() == [0, 0, 0, 1, 1, 0, 0, 0]
    assert one.false_a_month == pytest.approx(3.204, abs=5e-4)
    assert (one.recall, two.recall) == (1.0, 0.5)
    assert one.precision == pytest.approx(2 / 3)
    assert two.precision == 1.0
    assert COSTS.a_month(one) == pytest.approx(25_311, abs=1)
    assert COSTS.a_month(two) == pytest.approx(49_341, abs=1)
    never = count_alarms(MACHINE, math.inf, _rule(1, 1))
    assert COSTS.a_month(never) == pytest.approx(70_487, abs=1)


@st.composite
def _machines(draw: st.DrawFn) -> MachineRecord:
    hours = sorted(draw(st.sets(st.integers(0, 60), max_size=25)))
    starts = sorted(draw(st.sets(st.integers(1, 60), max_size=4)))
    backs = [start + draw(st.integers(1, 5)) for start in starts]
    kept = [k for k in range(len(starts)) if k == 0 or starts[k] >= backs[k - 1]]
    stops = [(starts[k], backs[k], draw(st.booleans())) for k in kept]
    up = [hour for hour in hours if not any(start <= hour < back for start, back, _ in stops)]
    risks = draw(st.lists(st.integers(0, 3), min_size=len(up), max_size=len(up)))
    begins, ends = (np.array([stop[k] for stop in stops], float) for k in range(2))
    planned = np.array([stop[2] for stop in stops], bool)
    return MachineRecord(np.array(up, float), np.array(risks, float), begins, ends, planned, 0.0, 66.0)


@given(_machines(), st.integers(1, 3), st.integers(0, 2), st.integers(0, 9), st.integers(0, 4), st.integers(1, 20))
def test_counts_are_those_of_a_walk_through_the_points(
    machine: MachineRecord, needed: int, more: int, hold_off: int, earliest: int, width: int
) -> None:
    rule = AlarmRule(earliest, earliest + width, needed, needed + more, hold_off)
    assert _plain(count_alarms(machine, 2.0, rule)) == _plain(_walked(machine, 2.0, rule))


def _plain(counts: AlarmCounts) -> dict[str, object]:
    return {**asdict(counts), "leads": counts.leads.tolist()}


def _walked(machine: MachineRecord, threshold: float, rule: AlarmRule) -> AlarmCounts:
    """Count alarms point by point, as the rule is told to people."""
    stops = list(zip(machine.starts, machine.backs, machine.planned, strict=True))
    failures = [start for start, _, planned in stops if not planned]
    recent: list[bool] = []
    first: dict[float, float] = {}
    last, life, counts = -math.inf, -1, AlarmCounts()
    for time, risk in zip(machine.times, machine.risks, strict=True):
        now = sum(start <= time for start, _, _ in stops)
        if now != life:
            recent, last, life = [], -math.inf, now
        recent = [*recent, risk >= threshold][-rule.of :]
        if not (recent[-1] and sum(recent) >= rule.needed and time >= last + rule.hold_off):
            continue
        last = time
        coming = [failure for failure in failures if failure > time]
        ahead = min(coming) - time if coming else math.inf
        planned = any(planned and 0 < start - time <= rule.latest for start, _, planned in stops)
        if rule.earliest <= ahead <= rule.latest:
            counts += AlarmCounts(true=1)
            first.setdefault(min(coming), ahead)
        elif ahead < rule.earliest:
            counts += AlarmCounts(late=1)
        elif planned or time + rule.latest > machine.end:
            counts += AlarmCounts(undecided=1)
        else:
            counts += AlarmCounts(false=1)
    bins = np.zeros(8, np.int64)
    for ahead in first.values():
        bins[sum(ahead >= edge for edge in (0, 1, 4, 8, 24, 48, 72, 168)) - 1] += 1
    seen = [any(rule.earliest <= failure - time <= rule.latest for time in machine.times) for failure in failures]
    hours = machine.end - machine.begin - sum(min(back, machine.end) - start for start, back, _ in stops)
    return counts + AlarmCounts(
        failures=len(failures),
        detected=len(first),
        blind=seen.count(False),
        hours=hours,
        lead=float(sum(first.values())),
        leads=bins,
    )


def _fleet(machines: int, signal: float, seed: int = 0) -> dict[str, MachineRecord]:
    """Return machines watched for a month, each failing twice, with a risk that foresees it so clearly."""
    rng = np.random.default_rng(seed)
    records = {}
    for number in range(machines):
        starts = np.sort(rng.uniform(100, 700, 2)) + np.array([0.0, 20.0])
        times = np.arange(0, 720, 6.0)
        times = times[~((starts[:, None] <= times) & (times < starts[:, None] + 6)).any(axis=0)]
        ahead = np.min(np.where(starts[:, None] > times, starts[:, None] - times, np.inf), axis=0)
        risks = np.where(ahead <= 72, signal, 0.0) + rng.normal(0, 1, len(times))
        records[f"m{number}"] = MachineRecord(times, risks, starts, starts + 6, np.zeros(2, bool), 0.0, 720.0)
    return records


def test_alarms_save_where_failures_are_foreseen_and_no_skill_is_found_where_they_are_not() -> None:
    costs = AlarmCosts(failure=20.0, inspection=1.0)
    good, none = (try_alarms(_fleet(40, signal), _rule(2, 3), costs, most_false=0.5) for signal in (3.0, 0.0))
    assert good.counts.recall > 0.8
    assert good.false_interval.high < 1.0
    assert good.saving.low > 0
    assert none.saving.low <= 0 or none.counts.recall < 0.3
    assert none.counts.failures == good.counts.failures == 80


def test_a_threshold_is_chosen_within_its_budget_and_on_other_machines() -> None:
    records, costs = _fleet(20, 1.0), AlarmCosts(failure=1000.0, inspection=0.001)
    names = sorted(records)
    trial = try_alarms(records, _rule(1, 1), costs, most_false=0.25)
    for half, threshold in zip((names[::2], names[1::2]), trial.thresholds, strict=True):
        assert total(count_alarms(records[name], threshold, _rule(1, 1)) for name in half).false_a_month <= 0.25
    assert trial.by_machine["m0"].false == count_alarms(records["m0"], trial.thresholds[1], _rule(1, 1)).false
    free = try_alarms(records, _rule(1, 1), costs)
    assert min(free.thresholds) < min(trial.thresholds)
    assert choose_by_alarms([records["m0"]], np.array([0.0]), _rule(1, 1), costs, -1.0) == math.inf


def test_records_are_those_of_each_machine() -> None:
    stops = Stops(np.array(["b", "a"]), np.array([5.0, 3.0]), np.array([6.0, 4.0]), np.array([True, False]))
    names, times = np.array(["b", "a", "b"]), np.array([4.0, 1.0, 2.0])
    records = machine_records(names, times, times, np.array([9.0, 8.0, 9.0]), stops)
    assert list(records) == ["a", "b"]
    assert records["b"].times.tolist() == [2.0, 4.0]
    assert (records["b"].failures.tolist(), records["a"].failures.tolist()) == ([], [3.0])
    assert (records["a"].begin, records["a"].end, records["a"].hours) == (1.0, 8.0, 6.0)


def test_counts_of_plants_add_up() -> None:
    halves = [count_alarms(MACHINE, 0.7, _rule(*numbers)) for numbers in ((1, 1), (2, 3))]
    both = total(halves)
    assert both.true == 4
    assert both.hours == 456
    assert both.leads.sum() == 3
    assert both.recall_interval.low == pytest.approx(0.3006, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"latest": 12}, "between two times"), ({"needed": 4}, "1 to all of the last"), ({"hold_off": -1}, "hold-off")],
)
def test_a_rule_that_makes_no_sense_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        replace(_rule(2, 3), **change)


def test_one_machine_cannot_choose_and_judge() -> None:
    with pytest.raises(DataError, match="from 2 on, got 1"):
        try_alarms({"m": MACHINE}, _rule(1, 1), COSTS)
