"""Noise in shares: what plants add up to is what the accountant assumes, and vectors are no longer than it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, chisquare, kstest, skellam

from werkbund.core.arrays import AnyArray
from werkbund.core.errors import ClientError, ConfigError
from werkbund.privacy import Departure, added
from werkbund.privacy.accounting import GaussianRelease, epsilon, renyi_epsilon, rounded_length
from werkbund.privacy.shares import MOST_PARAMETERS, UNITS, NoiseShare, RoundedGradients, RoundedUpdates, rounded

COHORT, SIZE = np.arange(6), 40
RNG = np.random.default_rng(0)
UPDATES = RNG.normal(size=(6, SIZE)).astype(np.float32) * np.array([0.01, 0.1, 0.3, 1, 3, 10], np.float32)[:, None]
ANSWERS = {"update": UPDATES, "weight": np.ones(6)}


def _departure(clients: AnyArray = COHORT) -> Departure:
    return Departure(1, clients, np.empty(0, np.uint64), COHORT, SIZE)


def is_too_small(drawn: AnyArray, deviation: float) -> bool:
    """Say whether noise is smaller than claimed; wrong once in a million draws of what is as claimed."""
    return bool((drawn.astype(np.float64) ** 2).sum() < deviation**2 * chi2.ppf(1e-6, drawn.size))


def _summed(noise: float, honest: int, taking_part: int, size: int = 4000) -> AnyArray:
    share = NoiseShare(noise)
    return np.asarray(np.sum([share.drawn((size,), honest) for _ in range(taking_part)], axis=0))


@pytest.mark.parametrize(("honest", "taking_part"), [(2, 2), (4, 4), (4, 10), (9, 9)])
def test_shares_of_the_fewest_honest_plants_have_the_variance_that_the_accountant_assumes(
    honest: int, taking_part: int
) -> None:
    claimed = 1.5 * UNITS
    drawn = _summed(1.5, honest, taking_part)
    assert not is_too_small(drawn, claimed)
    assert drawn.std() == pytest.approx(claimed * np.sqrt(taking_part / honest), rel=0.05)  # and what is too much
    assert abs(drawn.mean()) < 5 * drawn.std() / np.sqrt(drawn.size)


@pytest.mark.parametrize("fault", ["noise too small by 3", "shares for more plants than are honest", "none"])
def test_noise_that_is_too_small_is_found(fault: str) -> None:
    noise, honest, taking_part = {
        "noise too small by 3": (0.5, 4, 4),
        "shares for more plants than are honest": (1.5, 10, 4),
        "none": (0.0, 4, 4),
    }[fault]
    assert is_too_small(_summed(noise, honest, taking_part), 1.5 * UNITS)


def test_the_sum_of_shares_is_skellam_noise() -> None:
    variance, honest = 9.0, 3
    drawn = _summed(np.sqrt(variance) / UNITS, honest, honest, 20_000)
    edges = np.arange(-8, 9)
    counted = np.array([(drawn == edge).sum() for edge in edges] + [(np.abs(drawn) > 8).sum()])
    likely = skellam.pmf(edges, variance / 2, variance / 2)
    expected = np.append(likely, 1 - likely.sum()) * drawn.size
    assert chisquare(counted, expected).pvalue > 1e-4


def test_large_noise_is_as_good_as_gaussian() -> None:
    for noise in (1.0, 50.0):
        drawn = NoiseShare(noise).drawn((20_000,), 2) / (noise * UNITS / np.sqrt(2))
        assert kstest(drawn, "norm").pvalue > 1e-4


def test_shares_follow_from_nothing() -> None:
    share = NoiseShare(1.0)
    assert (share.drawn((50,), 2) != share.drawn((50,), 2)).any()
    assert not NoiseShare(0.0).drawn((50,), 2).any()
    with pytest.raises(ClientError, match="too little noise; nothing leaves"):
        share.drawn((50,), 0)
    for noise in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=r"privacy\.noise_multiplier must be >= 0"):
            NoiseShare(noise)


@pytest.mark.parametrize(("noise", "count", "gaussian"), [(1.0, 1, 4.7528), (4.0, 50, 9.3380)])
def test_whole_noise_costs_some_thousandths_more_than_gaussian_noise_by_the_same_divergences(
    noise: float, count: int, gaussian: float
) -> None:
    """Golden numbers of the reference for Skellam noise on a finer scale."""
    spent = epsilon([NoiseShare(noise).release(count)], 1e-5)
    assert gaussian <= spent < 1.004 * gaussian
    assert spent > renyi_epsilon([GaussianRelease(noise, count)], 1e-5)


@given(st.integers(0, 2**32), st.floats(1e-3, 1e3), st.integers(1, 300))
def test_a_rounded_vector_is_no_longer_than_the_accountant_assumes_and_on_average_what_it_was(
    seed: int, clip: float, size: int
) -> None:
    drawn = np.random.default_rng(seed)
    vectors = drawn.normal(size=(30, size)) * clip * np.exp(drawn.normal(size=(30, 1)))
    whole = rounded(vectors, clip, drawn)
    assert (np.linalg.norm(whole, axis=1) <= rounded_length(1.0, size, UNITS) * (1 + 1e-12)).all()
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    clipped = vectors * np.minimum(1, clip / lengths) * UNITS / clip
    assert np.abs(whole - clipped).max() <= 1 + 1e-6
    assert abs((whole - clipped).mean()) < 6 * 0.5 / np.sqrt(whole.size)


def test_a_bound_that_nothing_reaches_and_no_noise_give_the_mean_of_all_that_were_asked() -> None:
    layer = RoundedUpdates(100.0)
    for answered in (COHORT, COHORT[2:]):
        left = layer.leave({"update": UPDATES[answered], "weight": np.ones(len(answered))}, _departure(answered))
        assert left["update"].dtype == np.int64
        mean = layer.unwind(added({}, left), _departure(answered))["update"] / len(answered)
        np.testing.assert_allclose(mean, UPDATES[answered].sum(axis=0) / len(COHORT), atol=100 / UNITS)


def test_no_update_is_longer_than_the_clip_whatever_its_weight_and_one_that_counts_nothing_is_nothing() -> None:
    answers = {"update": UPDATES * 100, "weight": np.array([1, 5, 0.5, 1, 1, 0])}
    left = RoundedUpdates(0.5).leave(answers, _departure())["update"]
    assert (np.linalg.norm(left, axis=1) <= rounded_length(1.0, SIZE, UNITS)).all()
    assert not left[5].any()


def test_sums_of_gradients_become_a_step_downhill_by_the_rate_of_the_round() -> None:
    layer = RoundedGradients(2.0, lambda round: 0.5 / round)
    whole = {"update": rounded(UPDATES, 2.0, RNG)}
    total = added({}, layer.leave(whole, _departure()))
    lengths = np.linalg.norm(UPDATES, axis=1, keepdims=True)
    expected = -0.5 * (UPDATES * np.minimum(1, 2 / lengths)).sum(axis=0)
    np.testing.assert_allclose(layer.unwind(total, _departure())["update"], expected, atol=6 * 2 / UNITS)
    with pytest.raises(ClientError, match="must be whole numbers, got float32"):
        layer.leave(ANSWERS, _departure())


def test_more_numbers_than_epsilon_is_reckoned_for_are_refused() -> None:
    with pytest.raises(ClientError, match=f"{MOST_PARAMETERS} numbers at most"):
        rounded(np.zeros((1, MOST_PARAMETERS + 1), np.int8), 1.0, RNG)
