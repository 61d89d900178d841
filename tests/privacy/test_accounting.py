"""The golden numbers are of `dp_accounting` 0.6.0 and `opacus` 1.6.0, and of the papers' own code; see each table."""

from __future__ import annotations

import math
from collections.abc import Sequence

import dp_accounting as dp
import numpy as np
import pytest
from dp_accounting import rdp
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from werkbund.core.errors import ConfigError
from werkbund.privacy.accounting import (
    ORDERS,
    GaussianRelease,
    SkellamRelease,
    affordable,
    epsilon,
    gaussian_delta,
    gaussian_epsilon,
    noise_for,
    renyi_epsilon,
    rounded_length,
)

GOLDEN = {
    "a": (1, 1, 1, 1e-5, 4.3772),
    "b": (1, 4, 50, 1e-5, 8.5959),
    "c": (1, 10, 150, 1e-5, 5.5448),
    "d": (0.01, 1, 1000, 1e-5, 1.8282),
    "e": (0.01, 1.1, 10_000, 1e-5, 5.1926),
    "f": (0.05, 1, 500, 1e-5, 7.5237),
    "g": (0.1, 2, 100, 1e-5, 2.3374),
    "h": (0.25, 1.5, 40, 1e-5, 5.9427),
    "i": (256 / 60_000, 1.1, 14_063, 1e-5, 2.3818),
    "j": (0.5, 5, 100, 1e-3, 3.1995),
    "k": (0.02, 0.7, 300, 1e-6, 6.4225),
    "l": (0.001, 0.6, 2000, 1e-6, 2.3549),
}
"""(rate, noise, steps, delta, epsilon) by privacy loss distributions."""


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_epsilons(name: str) -> None:
    rate, noise, steps, delta, expected = GOLDEN[name]
    assert -1.5e-4 < epsilon([GaussianRelease(noise, steps, rate)], delta) - expected < (1e-2 if rate < 1 else 1.5e-4)


MIXED = {
    "M1": ([(20, 2, 1), (2, 100, 0.1)], 2.3555),
    "M2": ([(1, 100, 0.01), (2, 100, 0.05), (20, 50, 1)], 1.8811),
    "M3": ([(5, 200, 0.2), (50, 200, 1)], 2.6558),
}


@pytest.mark.parametrize("name", MIXED)
def test_golden_epsilons_of_several_releases(name: str) -> None:
    parts, expected = MIXED[name]
    assert -1.5e-4 < epsilon([GaussianRelease(*part) for part in parts], 1e-5) - expected < 1e-2


RENYI = {"d": 2.1078, "g": 2.5867, "i": 2.5971, "l": 3.5461}
"""Orders 2 to 256, a relation of units that are there or not."""


@pytest.mark.parametrize("name", RENYI)
def test_golden_epsilons_by_renyi_divergence(name: str) -> None:
    rate, noise, steps, delta, tight = GOLDEN[name]
    found = renyi_epsilon([GaussianRelease(noise, steps, rate)], delta)
    assert found == pytest.approx(RENYI[name], abs=1.5e-4)
    assert found > tight


@pytest.mark.parametrize("rate", [1.0, 0.3, 0.004])
def test_divergences_are_those_of_the_library(rate: float) -> None:
    accountant = rdp.RdpAccountant(orders=list(ORDERS[:64]))
    event = dp.GaussianDpEvent(1.7) if rate == 1 else dp.PoissonSampledDpEvent(rate, dp.GaussianDpEvent(1.7))
    accountant.compose(dp.SelfComposedDpEvent(event, 12))
    np.testing.assert_allclose(GaussianRelease(1.7, 12, rate).renyi()[:64], accountant._rdp, rtol=1e-9)


MU = {
    1e-5: (0.2681, 0.5016, 0.9249, 1.6660),
    1e-3: (0.3884, 0.6919, 1.2150, 2.0833),
    1e-2: (0.5325, 0.8959, 1.4947, 2.4488),
}


@pytest.mark.parametrize("delta", MU)
def test_golden_distances_of_gaussian_noise(delta: float) -> None:
    for target, mu in zip((1, 2, 4, 8), MU[delta], strict=True):
        assert gaussian_epsilon(mu, delta) == pytest.approx(target, abs=1e-3)


@given(st.floats(0.05, 6.0), st.floats(0.01, 8.0))
def test_the_closed_form_is_the_integral_of_the_densities(mu: float, at: float) -> None:
    """Delta is the mass by which one density is above e^epsilon times the other: both are known beyond one point."""
    point = at / mu + mu / 2
    mass = norm.sf(point - mu) - math.exp(at) * norm.sf(point)
    assert gaussian_delta(mu, at) == pytest.approx(mass, abs=1e-12)


INVERSE = {
    (1.0, 1): (7.0318, 3.7307, 1.9939, 1.0813, 0.6003),
    (1.0, 50): (49.723, 26.380, 14.098, 7.6450, 4.2444),
    (0.01, 1000): (2.3823, 1.4147, 0.9591, 0.7348, 0.5864),
    (0.1, 100): (7.2137, 3.9418, 2.2477, 1.3860, 0.9359),
    (0.032, 625): (5.7333, 3.1297, 1.7995, 1.1445, 0.8160),
}


def _noise(target: float, rate: float, steps: int) -> float:
    return noise_for(target, 1e-5, lambda noise: [GaussianRelease(noise, steps, rate)])


@pytest.mark.parametrize("how", [(1.0, 1), (1.0, 50)])
def test_golden_noise_of_a_target_without_sampling(how: tuple[float, int]) -> None:
    for target, expected in zip((0.5, 1, 2, 4, 8), INVERSE[how], strict=True):
        noise = _noise(target, *how)
        assert noise == pytest.approx(expected, rel=3e-3)
        assert epsilon([GaussianRelease(noise, how[1], how[0])], 1e-5) <= target


@pytest.mark.parametrize(("how", "target"), [((0.01, 1000), 2), ((0.1, 100), 8), ((0.032, 625), 0.5)])
def test_golden_noise_of_a_target_with_sampling(how: tuple[float, int], target: float) -> None:
    expected = INVERSE[how][(0.5, 1, 2, 4, 8).index(target)]
    noise = _noise(target, *how)
    assert noise == pytest.approx(expected, rel=5e-3)
    assert epsilon([GaussianRelease(noise, how[1], how[0])], 1e-5) <= target


SKELLAM = [
    (10, 1024, 2.0**16, 1, 1, 4.7528),
    (10, 1024, 2.0**16, 4, 50, 9.3380),
    (100, 16384, 2.0**10, 4, 50, 9.3688),
    (10, 16384, 2.0**8, 4, 50, 9.7590),
]


@pytest.mark.parametrize(("plants", "dimension", "scale", "noise", "rounds", "expected"), SKELLAM)
def test_golden_epsilons_of_skellam_noise(
    plants: int, dimension: int, scale: float, noise: float, rounds: int, expected: float
) -> None:
    release = SkellamRelease.of_vectors(1.0, dimension, scale, noise, rounds)
    assert epsilon([release], 1e-5) == pytest.approx(expected, abs=1.5e-4)
    assert release.length / scale == pytest.approx(rounded_length(1.0, dimension, scale) / scale)
    assert epsilon([release], 1e-5) >= renyi_epsilon([GaussianRelease(noise, rounds)], 1e-5)


def test_skellam_and_gaussian_noise_add_up() -> None:
    """At a fine scale Skellam noise is Gaussian, so that a mixture costs as much as the same number of either."""
    skellam = SkellamRelease.of_vectors(1.0, 64, 2.0**24, 4.0, 20)
    mixed = epsilon([skellam, GaussianRelease(4.0, 30)], 1e-5)
    assert mixed == pytest.approx(renyi_epsilon([GaussianRelease(4.0, 50)], 1e-5), rel=1e-4)


@given(st.lists(st.tuples(st.floats(0.5, 30.0), st.integers(0, 40)), min_size=1, max_size=5), st.randoms())
def test_order_and_grouping_of_releases_make_no_difference(parts: list[tuple[float, int]], shuffler: object) -> None:
    releases = [GaussianRelease(noise, count) for noise, count in parts]
    single = [GaussianRelease(noise) for noise, count in parts for _ in range(count)]
    shuffled: list[GaussianRelease] = list(single)
    shuffler.shuffle(shuffled)  # type: ignore[attr-defined]
    assert epsilon(shuffled, 1e-5) == pytest.approx(epsilon(releases, 1e-5), abs=1e-9)


@given(st.floats(1.0, 20.0), st.integers(1, 200), st.floats(0.5, 10.0))
def test_what_can_be_afforded_is_within_the_budget_and_one_more_is_not(noise: float, count: int, most: float) -> None:
    spent = [GaussianRelease(10.0, 3)]
    found = affordable(GaussianRelease(noise, count), spent, most, 1e-5)

    def cost(times: int) -> float:
        return epsilon([*spent, GaussianRelease(noise, times)], 1e-5)

    assert cost(found) <= most or found == 0
    assert found == count or cost(found + 1) > most


def test_what_is_not_noised_protects_nobody() -> None:
    assert epsilon([], 1e-5) == epsilon([GaussianRelease(0.0, 0)], 1e-5) == 0
    assert epsilon([GaussianRelease(0.0), GaussianRelease(5.0, 3)], 1e-5) == math.inf
    assert renyi_epsilon([GaussianRelease(0.0)], 1e-5) == math.inf
    assert epsilon([SkellamRelease(1.0, 1.0, 0.0)], 1e-5) == math.inf


def _refused(noise: float, count: int = 1, rate: float = 1.0) -> None:
    with pytest.raises(ConfigError):
        GaussianRelease(noise, count, rate)


def test_values_that_are_none_are_refused() -> None:
    _refused(-1.0)
    _refused(1.0, -1)
    _refused(1.0, 1, 0.0)
    _refused(math.nan)
    with pytest.raises(ConfigError, match=r"privacy\.delta must be between 0 and 1, got 0"):
        epsilon([GaussianRelease(1.0)], 0.0)
    with pytest.raises(ConfigError, match=r"privacy\.target_epsilon must be > 0"):
        _noise(0.0, 1.0, 1)


def test_a_target_that_no_noise_reaches_is_refused() -> None:
    def stubborn(noise: float) -> Sequence[GaussianRelease]:
        return [GaussianRelease(1.0)]

    with pytest.raises(ConfigError, match="raise it"):
        noise_for(0.1, 1e-5, stubborn)
