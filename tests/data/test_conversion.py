"""Units as engineers write them, converted to those that a federation agreed on."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_series_equal

from werkbund.core import ConfigError, DataError
from werkbund.data.conversion import convert
from werkbund.data.units import MISTAKEN

UNKNOWN_TO_SI = {"fractions of 1"}


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        (25.0, "degC", "K", 298.15),
        (25.0, "°C", "K", 298.15),
        (25.0, "C", "K", 298.15),
        (25.0, "deg C", "kelvin", 298.15),
        (77.0, "degF", "K", 298.15),
        (77.0, "F", "°C", 25.0),
        (298.15, "K", "C", 25.0),
        (10.0, "delta_degC", "K", 10.0),
        (36.0, "km/h", "m/s", 10.0),
        (1.5, "bar", "Pa", 150_000.0),
        (1.0, "N/mm²", "MPa", 1.0),
        (1500.0, "rpm", "1/s", 25.0),
        (1500.0, "U/min", "Hz", 25.0),
        (1500.0, "min-1", "rad/s", 50 * math.pi),
        (25.0, "1/s", "rpm", 1500.0),
        (0.5, "kHz", "min^-1", 30_000.0),
        (180.0, "deg/s", "rpm", 30.0),
        (3.0, "Hz", "1/min", 180.0),
        (2.5, "kNm", "Nm", 2500.0),
        (100.0, "Ncm", "N·m", 1.0),
        (7.0, "mNm", "N m", 0.007),
        (3.0, "min Nm", "s N*m", 180.0),
        (1.0, "g", "m/s²", 9.80665),
        (2.0, "g", "kg", 0.002),
        (9.80665, "m/s2", "g", 1.0),
        (1.0, "PS", "kW", 0.73549875),
        (1.0, "kOhm", "Ω", 1000.0),
        (90.0, "min", "h", 1.5),
        (50.0, "%", "1", 0.5),
        (4.0, "C", "A*s", 4.0),
        (3.0, "µm", "mm", 0.003),
        (3.0, "μm", "mm", 0.003),  # the Greek letter
    ],
)
def test_a_value_is_converted(value: float, unit: str, to: str, expected: float) -> None:
    converted = convert(pl.Series("x", [value, None]), unit, to)
    assert converted.dtype == pl.Float64
    assert converted[0] == pytest.approx(expected, rel=1e-12)
    assert converted[1] is None


@pytest.mark.parametrize(("declared", "other"), [(to, c.other) for to, all_ in MISTAKEN.items() for c in all_])
def test_it_agrees_with_what_the_checks_of_a_table_know(declared: str, other: str) -> None:
    if other in UNKNOWN_TO_SI:
        other = "1"
    known = next(c for c in MISTAKEN[declared] if c.other in (other, "fractions of 1"))
    converted = convert(pl.Series("x", [0.0, 20.0, 300.0]), other, declared)
    np.testing.assert_allclose(converted, [known.apply(v) for v in (0.0, 20.0, 300.0)], rtol=1e-5)


@pytest.mark.parametrize(
    ("unit", "to"), [("Nm", "Nm"), ("°C", "degC"), ("C", "°C"), ("1/min", "rpm"), ("m/s^2", "m/s²"), ("xyz", "xyz")]
)
def test_the_same_unit_leaves_every_bit_alone(unit: str, to: str) -> None:
    column = pl.Series("x", [0.1 + 0.2, -0.0, 5e-324, None, 1e308])
    assert convert(column, unit, to) is column
    whole = pl.Series("x", [2**53 + 1])
    assert_series_equal(convert(whole, unit, to), whole)


@pytest.mark.parametrize(
    ("unit", "to"), [("Nm", "K"), ("rpm", "m/s"), ("rad", "%"), ("bar", "N"), ("C/s", "K/s"), ("", "K"), ("kWh", "kW")]
)
def test_what_measures_something_else_is_refused(unit: str, to: str) -> None:
    with pytest.raises(ConfigError, match=r"column 'torque' cannot be converted from .* correct the unit") as caught:
        convert(pl.Series("torque", [1.0]), unit, to)
    assert f"from {unit} to {to}:" in str(caught.value)


@pytest.mark.parametrize(
    "unit", ["xyz", "Newton-meters-ish", "9**9**9**9", "9⁹⁹⁹⁹⁹⁹⁹⁹⁹", "K +", "KW", "__import__('os')"]
)
def test_an_unknown_unit_is_named(unit: str) -> None:
    with pytest.raises(ConfigError, match="unit of column 'x' must be one that is known") as caught:
        convert(pl.Series("x", [1.0]), unit, "K")
    assert repr(unit) in str(caught.value)


def test_a_text_cannot_be_converted() -> None:
    with pytest.raises(DataError, match=r"'x' must hold numbers to be converted from degC to K, got String"):
        convert(pl.Series("x", ["warm"]), "degC", "K")


def test_a_column_without_a_value_becomes_numbers_without_one() -> None:
    column = pl.Series("x", [None, None])
    assert_series_equal(convert(column, "degC", "K"), pl.Series("x", [None, None], dtype=pl.Float64))


def test_whole_numbers_become_floats() -> None:
    assert convert(pl.Series("x", [20, 21]), "degC", "K").to_list() == pytest.approx([293.15, 294.15])
