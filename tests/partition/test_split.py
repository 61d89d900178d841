import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from werkbund.core.arrays import Int8Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.partition.split import TEST, TRAIN, VALIDATION, split_rows

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
