"""A number that is not 0 is not shown as 0."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.text import fixed
from werkbund.report.text import number_text, signed


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 4))
def test_what_is_not_nothing_does_not_look_like_nothing(value: float, digits: int) -> None:
    shown = float(fixed(value, digits).replace(",", ""))
    assert (shown == 0) == (value == 0)
    assert shown == pytest.approx(value, abs=0.5 * 10**-digits, rel=0.5)


@pytest.mark.parametrize("value", [0.0049, -0.0049, 0.0004, 1e-9])
def test_small_figures_of_a_report_keep_a_digit(value: float) -> None:
    assert float(number_text(value, 2)) != 0
    assert float(signed(value, 2).replace("−", "-")) != 0


@given(st.floats(0.01, 1e6), st.integers(2, 4))
def test_other_figures_are_as_they_were(value: float, digits: int) -> None:
    assert fixed(value, digits) == f"{value:,.{digits}f}"
    assert fixed(value, digits, "+") == f"{value:+,.{digits}f}"
