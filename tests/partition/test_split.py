from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from werkbund.core.arrays import Float64Array, Int8Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.partition.split import (
    LATER,
    LEFT_OUT,
    TEST,
    TRAIN,
    VALIDATION,
    RowTraits,
    Split,
    split_machines,
    split_rows,
    split_times,
)

MACHINES = hnp.arrays(np.int64, st.integers(0, 60), elements=st.integers(0, 8))
SHARES = st.sampled_from([0.0, 0.01, 0.2, 0.45])


def _split(machines: npt.ArrayLike, test: float = 0.2, validation: float = 0.2, seed: int = 0) -> Int8Array:
    return split_rows(np.asarray(machines, dtype=np.int64), test, validation, np.random.default_rng(seed))


@given(MACHINES, SHARES, SHARES, st.integers(0, 5))
def test_every_wanted_part_has_a_row_from_three_rows_on(
    machines: Int64Array, test: float, validation: float, seed: int
) -> None:
    part = _split(machines, test, validation, seed)
    wanted = {TRAIN} | ({TEST} if test else set()) | ({VALIDATION} if validation else set())
    if len(machines) >= 3:
        assert set(part.tolist()) == wanted
    else:
        assert set(part.tolist()) <= {TRAIN}


@given(st.lists(st.integers(1, 20), min_size=3, max_size=12), st.integers(0, 5))
def test_no_machine_is_cut_where_three_can_be_told_apart(sizes: list[int], seed: int) -> None:
    machines = np.repeat(np.arange(len(sizes)), np.array(sizes) + 1)
    part = _split(machines, seed=seed)
    tests = {int(machine) for machine in machines[part == TEST]}
    assert all((part[machines == machine] == TEST).all() for machine in tests)
    left = [machine for machine in range(len(sizes)) if machine not in tests]
    if len(left) > 1:
        assert all(len(set(part[machines == machine])) == 1 for machine in left)


def test_one_machine_is_cut_in_order_of_time() -> None:
    part = _split(np.zeros(100), test=0.2, validation=0.1)
    assert part.tolist() == [TRAIN] * 70 + [VALIDATION] * 10 + [TEST] * 20


def test_two_machines_give_a_whole_one_to_test_and_cut_the_other() -> None:
    machines = np.repeat([0, 1], 50)
    part = _split(machines)
    held_out = machines[part == TEST][0]
    assert (part[machines == held_out] == TEST).all()
    assert part[machines != held_out].tolist() == [TRAIN] * 30 + [VALIDATION] * 20


@pytest.mark.parametrize("seed", range(20))
def test_shares_of_rows_are_met_to_half_a_machine(seed: int) -> None:
    sizes = np.random.default_rng(seed).integers(50, 120, 40)
    part = _split(np.repeat(np.arange(40), sizes), test=0.25, validation=0.15, seed=seed)
    for number, share in ((TEST, 0.25), (VALIDATION, 0.15)):
        assert abs((part == number).sum() - share * len(part)) <= sizes.max() / 2


def test_machines_are_chosen_by_the_generator_alone() -> None:
    machines = np.repeat(np.arange(30), 5)
    np.testing.assert_array_equal(_split(machines, seed=1), _split(machines, seed=1))
    chosen = {tuple(np.flatnonzero(_split(machines, seed=seed) == TEST)) for seed in range(5)}
    assert len(chosen) == 5


def test_interleaved_machines_are_held_out_whole() -> None:
    machines = np.tile(np.arange(5), 20)
    part = _split(machines)
    assert all(len(set(part[machines == machine])) == 1 for machine in range(5))


def test_nothing_is_held_out_where_nothing_is_wanted() -> None:
    assert not _split(np.repeat([0, 1, 2], 9), test=0.0, validation=0.0).any()


@pytest.mark.parametrize(
    ("test", "validation", "message"),
    [
        (-0.1, 0.2, r"test must be in \[0, 1\)"),
        (0.2, 1.0, r"validation must be in \[0, 1\)"),
        (float("nan"), 0.2, "test must be in"),
        (0.5, 0.5, r"test \+ validation must be below 1"),
    ],
)
def test_shares_that_leave_nothing_to_train_on_are_refused(test: float, validation: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _split(np.zeros(10), test, validation)


TIMES = hnp.arrays(np.float64, st.integers(0, 60), elements=st.integers(0, 20).map(float))


@given(TIMES, SHARES, SHARES, st.sampled_from([0.0, 0.5, 3.0]))
def test_by_time_every_row_of_a_part_is_later_than_the_part_before_by_more_than_the_gap(
    when: Float64Array, test: float, validation: float, gap: float
) -> None:
    part = split_times(when, test, validation, gap)
    for later in (VALIDATION, TEST):
        before, here = when[(part >= 0) & (part < later)], when[part == later]
        if len(before) and len(here):
            assert here.min() - before.max() > gap
    left_out = part == LEFT_OUT
    assert not left_out.any() or gap > 0
    for row in np.flatnonzero(left_out):
        assert when[when > when[row]].min() - when[row] <= gap


@given(TIMES, SHARES, SHARES)
def test_by_time_every_wanted_part_has_a_row_from_three_times_on(
    when: Float64Array, test: float, validation: float
) -> None:
    part = split_times(when, test, validation)
    wanted = {TRAIN} | ({TEST} if test else set()) | ({VALIDATION} if validation else set())
    if len(np.unique(when)) >= 3:
        assert set(part.tolist()) == wanted
    else:
        assert set(part.tolist()) <= {TRAIN}


@pytest.mark.parametrize("test", [0.1, 0.25, 0.5])
def test_by_time_shares_of_rows_are_met_to_half_a_period(test: float) -> None:
    when = np.repeat(np.arange(50.0), np.random.default_rng(0).integers(1, 9, 50))
    part = split_times(when, test, 0.15)
    assert abs((part == TEST).sum() - test * len(when)) <= 4
    assert abs((part == VALIDATION).sum() - 0.15 * len(when)) <= 4


def test_a_row_without_a_time_is_in_no_part_of_a_split_by_time() -> None:
    part = split_times(np.array([0.0, 1.0, np.nan, 2.0, 3.0]), 0.25, 0.25)
    assert part.tolist() == [TRAIN, TRAIN, LEFT_OUT, VALIDATION, TEST]


def _traits(rows: int, machines: int = 10, every: int = 7) -> RowTraits:
    numbers = np.arange(rows)
    return RowTraits(numbers % machines, numbers % every == 0, (numbers // machines).astype(np.float64))


def _parts(split: Split, traits: RowTraits) -> Int8Array:
    return split.parts(traits, np.random.default_rng(0))


def test_a_later_period_is_held_out_of_all_machines_alike() -> None:
    traits = _traits(400)
    part = _parts(Split(later=0.2), traits)
    assert traits.when is not None
    assert (part == LATER).sum() == 80
    assert traits.when[part == LATER].min() > traits.when[part != LATER].max()
    assert set(traits.machines[part == LATER].tolist()) == set(range(10))
    for number in (TRAIN, VALIDATION, TEST):  # whole machines among the rows before
        inside = set(traits.machines[part == number].tolist())
        assert inside.isdisjoint(traits.machines[(part != number) & (part != LATER)].tolist())


def test_rows_within_the_gap_before_a_later_period_are_in_no_part() -> None:
    traits = _traits(400)
    part = _parts(Split(later=0.2, gap=2.5), traits)
    assert traits.when is not None
    assert traits.when[part == LEFT_OUT].tolist() == np.repeat([30.0, 31.0], 10).tolist()
    assert traits.when[part == LATER].min() == 32.0


@pytest.mark.parametrize("first_failures", [0, 4, 5])
def test_a_later_period_needs_enough_failures_before_it(first_failures: int) -> None:
    traits = _traits(400)
    failures = np.arange(400) < first_failures
    failures[-1] = True
    part = _parts(Split(later=0.2), RowTraits(traits.machines, failures, traits.when))
    assert (part == LATER).any() == (first_failures >= 5)


def test_a_later_period_without_a_failure_is_none() -> None:
    traits = _traits(400)
    part = _parts(Split(later=0.2), RowTraits(traits.machines, np.arange(400) < 100, traits.when))
    assert not (part == LATER).any()


def test_without_a_time_column_machines_alone_say_the_part() -> None:
    traits = replace(_traits(400), when=None)
    part = _parts(Split(later=0.2, gap=9.0), traits)
    np.testing.assert_array_equal(part, split_rows(traits.machines, 0.25, 0.15, np.random.default_rng(0)))


def test_by_time_without_a_time_column_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"clients\.split must be machines where the table has no time column"):
        _parts(Split("time"), replace(_traits(40), when=None))


def test_one_machine_with_a_time_column_is_cut_between_two_times() -> None:
    traits = RowTraits(np.zeros(90, np.int64), np.zeros(90, np.bool_), np.repeat(np.arange(9.0), 10))
    part = _parts(Split(gap=1.0), traits)
    by_period = part.reshape(9, 10)
    assert (by_period == by_period[:, :1]).all()
    assert by_period[:, 0].tolist() == [TRAIN] * 4 + [LEFT_OUT, VALIDATION, LEFT_OUT, TEST, TEST]


@given(st.lists(st.booleans(), min_size=2, max_size=12), st.integers(0, 5))
def test_machines_that_must_not_be_cut_are_held_out_whole_and_some_that_fail_stay(fails: list[bool], seed: int) -> None:
    machines = np.repeat(np.arange(len(fails)), 3)
    failures = np.repeat(np.array(fails), 3) & (np.arange(len(machines)) % 3 == 2)
    part = split_machines(machines, failures, 0.2, 0.2, np.random.default_rng(seed))
    assert all(len(set(part[machines == machine].tolist())) == 1 for machine in range(len(fails)))
    assert (part == TRAIN).any()
    if any(fails):
        assert failures[part == TRAIN].any()
    if sum(fails) >= 2:
        assert failures[part == TEST].any()
    if sum(fails) >= 3:
        assert failures[part == VALIDATION].any()


def test_rows_that_look_back_over_a_border_are_left_out() -> None:
    when = np.arange(100.0)
    part = split_times(when, test=0.3, validation=0.2, gap=3.0, after=2.0)
    begins = [int(np.flatnonzero(part == number)[0]) for number in (VALIDATION, TEST)]
    assert all((part[begin - 5 : begin] == LEFT_OUT).all() for begin in begins)
    assert all(part[begin - 6] != LEFT_OUT for begin in begins)


def test_rows_that_come_later_keep_to_the_same_borders() -> None:
    split, when = Split("time", gap=3.0, after=2.0), np.arange(100.0)
    part = split.parts(RowTraits(np.zeros(100, np.int64), np.zeros(100, np.bool_), when), np.random.default_rng(0))
    later = split.periods(np.concatenate([when, when + 0.5]), np.concatenate([part, np.full(100, -1, np.int8)]))
    assert (later[100:][part == LEFT_OUT][:-1] == LEFT_OUT).all()
