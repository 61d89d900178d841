"""Units as headers name them, and as engineers spell them."""

from __future__ import annotations

import pytest

from werkbund.data.units import MISTAKEN, standard_unit, unit_of


@pytest.mark.parametrize(
    ("header", "unit"),
    [
        ("Air temperature [K]", "K"),
        ("oil_temp_degC", "°C"),
        ("speed (rpm)", "rpm"),
        ("speed [1/min]", "rpm"),
        ("vibration_mm_s", "mm/s"),
        ("level [custom]", "custom"),
        ("flow (mean)", ""),
        ("pressure_min", ""),
        ("current_a", ""),
        ("bar", ""),
    ],
)
def test_units_are_read_off_headers(header: str, unit: str) -> None:
    assert unit_of(header) == unit


@pytest.mark.parametrize(
    ("spelling", "unit"), [("kelvin", "K"), ("C", "°C"), ("1/MIN", "rpm"), ("N m", "Nm"), ("m/s^2", "m/s²"), ("", "")]
)
def test_a_spelling_stands_for_its_unit(spelling: str, unit: str) -> None:
    assert standard_unit(spelling) == unit


def test_every_unit_that_is_mistaken_is_spelled_as_itself() -> None:
    assert [unit for unit in MISTAKEN if standard_unit(unit) != unit] == []


def test_a_unit_of_another_case_is_no_spelling() -> None:
    assert [standard_unit(unit) for unit in ("S", "MM", "mw")] == ["S", "MM", "mw"]
