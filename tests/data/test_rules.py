import numpy as np
import polars as pl
import pytest

from werkbund.data import rules
from werkbund.data.rules import heat_dissipation_failure, overstrain_failure, power_failure, power_w, rule_flags


def _row(**changed: object) -> pl.DataFrame:
    quiet: dict[str, object] = {
        rules.TYPE: "L",
        rules.AIR: 300.0,
        rules.PROCESS: 310.0,
        rules.SPEED: 1500,
        rules.TORQUE: 40.0,
        rules.WEAR: 100,
    }
    return pl.DataFrame({name: [value] for name, value in (quiet | changed).items()})


def _modes(frame: pl.DataFrame) -> set[str]:
    return {mode for mode, flags in rule_flags(frame).items() if flags[0]}


def test_a_quiet_row_breaks_no_rule() -> None:
    assert _modes(_row()) == set()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({rules.PROCESS: 308.0, rules.SPEED: 1379}, {"HDF"}),
        ({rules.PROCESS: 308.0, rules.SPEED: 1380}, set()),
        ({rules.TORQUE: 20.0}, {"PWF"}),
        ({rules.TORQUE: 60.0}, {"PWF"}),
        ({rules.WEAR: 275}, set()),
        ({rules.WEAR: 276}, {"OSF"}),
        ({rules.TYPE: "M", rules.WEAR: 300}, set()),
        ({rules.TYPE: "M", rules.WEAR: 301}, {"OSF"}),
        ({rules.TYPE: "H", rules.WEAR: 325}, set()),
        ({rules.TYPE: "H", rules.WEAR: 326}, {"OSF"}),
    ],
)
def test_each_rule_begins_just_beyond_its_limit(changed: dict[str, object], expected: set[str]) -> None:
    assert _modes(_row(**changed)) == expected


def test_the_temperature_difference_is_taken_in_64_bit_floats() -> None:
    tenths = np.arange(2950, 3050)
    air, process = tenths / 10, (tenths + 86) / 10  # in exact decimals just 8.6 apart
    expected = [float(hot) - float(cool) < 8.6 for hot, cool in zip(process, air, strict=True)]
    assert set(expected) == {True, False}
    assert heat_dissipation_failure(air, process, np.full(100, 1300)).tolist() == expected


@pytest.mark.parametrize("name", [rules.AIR, rules.PROCESS, rules.SPEED, rules.TORQUE, rules.WEAR, rules.TYPE])
def test_a_missing_value_breaks_no_rule_that_needs_it(name: str) -> None:
    dtype = pl.String if name == rules.TYPE else pl.Float64
    frame = _row(**{rules.PROCESS: 308.0, rules.SPEED: 1300, rules.WEAR: 300}).with_columns(
        pl.lit(None, dtype).alias(name)
    )
    needed_by = {
        "HDF": {rules.AIR, rules.PROCESS, rules.SPEED},
        "PWF": {rules.SPEED, rules.TORQUE},
        "OSF": {rules.WEAR, rules.TORQUE, rules.TYPE},
    }
    assert not any(name in needed_by[mode] for mode in _modes(frame))


def test_power_is_torque_times_angular_velocity() -> None:
    np.testing.assert_allclose(power_w(np.array([10.0]), np.array([60])), [20 * np.pi])


def test_power_and_overstrain_compare_strictly() -> None:
    speed = np.array([3000.0])
    at_limit = np.array([9000.0]) / (speed * 2 * np.pi / 60)
    assert power_failure(at_limit * (1 + 1e-9), speed).all()
    assert not power_failure(at_limit * (1 - 1e-9), speed).any()
    assert not overstrain_failure(np.array([220.0]), np.array([50.0]), np.array([11_000.0])).any()
