import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core import ConfigError
from werkbund.selection import SELECTORS, CohortSize, build_selector
from werkbund.selection.contract import OF_A_WORLD, check_told


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


@pytest.mark.parametrize("name", list(SELECTORS))
def test_a_method_is_refused_exactly_where_what_it_rests_on_is_told_by_nobody(name: str) -> None:
    selector = build_selector(name)
    rests_on = selector.declaration.rests_on | (selector.declaration.needs & {"score"})
    check_told(selector, {*OF_A_WORLD, "score"})
    for missing in rests_on:
        with pytest.raises(ConfigError, match=rf"got '{name}', which rests on {missing}"):
            check_told(selector, {*OF_A_WORLD, "score"} - {missing})
    if not rests_on:
        check_told(selector, ())


def test_methods_that_go_by_time_energy_or_price_rest_on_it() -> None:
    rests_on = {name: set(build_selector(name).declaration.rests_on) for name in SELECTORS}
    assert {name: told for name, told in rests_on.items() if told} == {
        "tifl": {"seconds"},
        "fedcs": {"seconds"},
        "rbcs-f": {"seconds"},
        "oort-energy": {"joules"},
        "battery": {"battery"},
        "fmore": {"price"},
    }
