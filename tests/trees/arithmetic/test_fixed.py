from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core import ConfigError
from werkbund.trees.arithmetic import FixedPoint


@given(st.integers(1, 2**46), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 12))
def test_no_row_leaves_31_bits_and_no_sum_63(rows: int, gradient: float, hessian: float, draws: int) -> None:
    fixed = FixedPoint.agreed(rows, gradient, hessian, draws)
    for bound, scale in ((gradient, fixed.gradient_scale), (hessian, fixed.hessian_scale)):
        assert round(bound * scale) < 2**31
        assert round(bound * scale) * rows * draws <= 2**62
        assert bound * scale > 2**10


def test_a_million_rows_keep_thirty_bits() -> None:
    assert FixedPoint.agreed(1_000_000, 1.0, 1.0).gradient_exponent == 30


def test_too_many_rows_raise() -> None:
    with pytest.raises(ConfigError, match="sample rows"):
        FixedPoint.agreed(2**50, 1.0, 1.0, 12)
