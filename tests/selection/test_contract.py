import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core import ConfigError
from werkbund.selection import CohortSize


@given(st.integers(0, 10_000), st.integers(1, 100))
def test_a_share_is_rounded_up_exactly(available: int, percent: int) -> None:
    expected = -(-percent * available // 100)
    assert CohortSize(percent / 100).of(available) == expected


@given(st.integers(0, 50), st.integers(1, 50), st.floats(1e-6, 1.0))
def test_a_cohort_has_somebody_and_no_more_than_there_are(available: int, count: int, fraction: float) -> None:
    for size in (CohortSize(fraction), CohortSize(count=count)):
        assert min(1, available) <= size.of(available) <= available


def test_a_count_goes_before_a_fraction() -> None:
    assert CohortSize(0.5, 3).of(10) == 3
    assert CohortSize(0.5, 30).of(10) == 10


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, math.nan])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.selection\.fraction must be in \(0, 1\]"):
        CohortSize(fraction)


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_below_one_is_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.selection\.count must be >= 1 .* got"):
        CohortSize(count=count)
