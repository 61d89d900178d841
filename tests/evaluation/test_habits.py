"""What plants do without a model, against plain loops."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from werkbund.evaluation import Costs, cheapest_interval, inspected, work_of


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 9))
def test_every_nth_row_of_a_machine_is_inspected(machines: list[int], every: int) -> None:
    numbers = np.array(machines)
    seen: dict[int, int] = {}
    expected = []
    for machine in machines:
        seen[machine] = seen.get(machine, 0) + 1
        expected.append(seen[machine] % every == 0)
    assert inspected(work_of(numbers), numbers, every).tolist() == expected


def test_hours_count_from_a_machines_first_row() -> None:
    machines, hours = np.array([1, 0, 1, 1, 0]), np.array([10.0, 11.0, 12.5, 30.0, 12.0])
    work = work_of(machines, hours)
    assert work.tolist() == [0.0, 0.0, 2.5, 20.0, 1.0]
    assert inspected(work, machines, 2.0).tolist() == [False, False, True, True, False]


def test_the_cheapest_interval_finds_failures_that_come_by_wear() -> None:
    machines = np.repeat(np.arange(20), 50)
    work = work_of(machines)
    labels = (work == 50).astype(float)
    every = cheapest_interval(work, machines, labels, Costs(5.0, 1.0))
    assert inspected(work, machines, every)[labels > 0].all()
    assert inspected(work, machines, every).sum() == 20


def test_where_failures_are_cheap_nobody_inspects() -> None:
    machines, rng = np.repeat(np.arange(5), 40), np.random.default_rng(0)
    labels = (rng.random(200) < 0.05).astype(float)
    every = cheapest_interval(work_of(machines), machines, labels, Costs(1.0, 10.0))
    assert math.isinf(every)
    assert not inspected(work_of(machines), machines, every).any()
