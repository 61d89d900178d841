"""What is spent of a privacy budget: releases as values, and the epsilon of all of them together.

A release is noise on a sum that one unit changes by at most a sensitivity. What is kept is the list of releases, so
that epsilon can be computed again for any delta, and with the next round in it. Neighbours are tables that differ by
one unit that is there or not; a number of here holds for no other relation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from scipy.special import gammaln, log_ndtr, logsumexp, ndtr

from werkbund.core.arrays import Float64Array
from werkbund.core.errors import ConfigError

ORDERS = np.arange(2.0, 512.0)
"""Orders of the Renyi divergence; whole, as the bound for Skellam noise needs them."""

_INTERVAL = 1e-3
"""Of privacy losses: ten times the library's own and as fast; epsilon is at most .01 above the exact."""

_LEAST_NOISE, _MOST_NOISE, _PRECISION = 1e-2, 1e5, 1e-3


@dataclass(frozen=True)
class GaussianRelease:
    """Be sums with Gaussian noise, released one after the other.

    Parameters
    ----------
    noise
        Standard deviation of the noise in multiples of the sensitivity; 0 protects nobody.
    count
        How many of them.
    rate
        Chance of each unit to be in one, drawn by itself (Poisson sampling); 1: all are in each.
    """

    noise: float
    count: int = 1
    rate: float = 1.0

    def __post_init__(self) -> None:
        if not (self.noise >= 0 and self.count >= 0 and 0 < self.rate <= 1):
            raise ConfigError(f"a release needs noise >= 0, count >= 0 and 0 < rate <= 1, got {self}")

    def renyi(self) -> Float64Array:
        """Return the Renyi divergence at each of `ORDERS`.

        References
        ----------
        Mironov, Talwar, Zhang, "Renyi Differential Privacy of the Sampled Gaussian Mechanism", 2019, section 3.3.
        """
        if not self.noise:
            return np.full(len(ORDERS), np.inf if self.count else 0.0)
        if self.rate == 1:
            return np.asarray(self.count * ORDERS / (2 * self.noise**2))
        return self.count * _sampled(self.rate, self.noise)


@dataclass(frozen=True)
class SkellamRelease:
    """Be sums of whole numbers with Skellam noise, of which each plant may have added a share.

    Parameters
    ----------
    length
        By how much a unit changes the sum, as a Euclidean length, in whole units.
    size
        The same as a sum of magnitudes.
    variance
        Of the noise in each number of the sum.
    count
        How many of them.
    """

    length: float
    size: float
    variance: float
    count: int = 1

    def renyi(self) -> Float64Array:
        """Return a bound of the Renyi divergence at each of `ORDERS`.

        References
        ----------
        Agarwal, Kairouz, Liu, "The Skellam Mechanism for Differentially Private Federated Learning", NeurIPS 2021,
        theorem 3.5.
        """
        if not self.variance:
            return np.full(len(ORDERS), np.inf if self.count else 0.0)
        gaussian = ORDERS * self.length**2 / (2 * self.variance)
        near = ((2 * ORDERS - 1) * self.length**2 + 6 * self.size) / (4 * self.variance**2)
        return np.asarray(self.count * (gaussian + np.minimum(near, 3 * self.size / (2 * self.variance))))

    @staticmethod
    def of_vectors(clip: float, dimension: int, scale: float, noise: float, count: int = 1) -> SkellamRelease:
        """Return the release of vectors of a length of at most `clip`, times `scale` and rounded at random.

        Parameters
        ----------
        clip
            Greatest length before rounding.
        dimension
            Numbers of a vector.
        scale
            Whole units in 1.
        noise
            Standard deviation of the whole noise in multiples of `clip`.
        count
            How many.
        """
        length = rounded_length(clip, dimension, scale)
        return SkellamRelease(length, length * min(math.sqrt(dimension), length), (noise * clip * scale) ** 2, count)


Release = GaussianRelease | SkellamRelease


def rounded_length(clip: float, dimension: int, scale: float) -> float:
    """Return the greatest length of a vector after rounding at random, in whole units.

    Rounding is repeated until the length is within it, which takes less than three trials on average (beta e^-1/2).

    References
    ----------
    Kairouz, Liu, Steinke, "The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure
    Aggregation", ICML 2021, proposition 22.
    """
    long = scale * clip
    likely = long**2 + dimension / 4 + long + math.sqrt(dimension) / 2  # sqrt(2 ln(1 / beta)) is 1
    return math.sqrt(min((long + math.sqrt(dimension)) ** 2, likely))


def epsilon(releases: Iterable[Release], delta: float) -> float:
    """Return the epsilon of all releases together, at this delta.

    Gaussian noise without sampling has a closed form; with sampling, the privacy loss distribution (PLD) is composed by
    `dp_accounting`; with Skellam noise among it, Renyi divergences are added up, which is a little higher.

    Raises
    ------
    ConfigError
        If delta is not between 0 and 1, or `dp_accounting` is needed and not installed.

    Examples
    --------
    >>> round(epsilon([GaussianRelease(4.0, 50)], 1e-5), 4)
    8.5959
    """
    if not 0 < delta < 1:
        raise ConfigError(f"privacy.delta must be between 0 and 1, got {delta}")
    merged = _merged(releases)
    gaussian = tuple(release for release in merged if isinstance(release, GaussianRelease))
    if not merged:
        return 0.0
    if any(not release.noise for release in gaussian):
        return math.inf
    if len(gaussian) < len(merged):
        return renyi_epsilon(merged, delta)
    if all(release.rate == 1 for release in gaussian):
        return gaussian_epsilon(math.sqrt(sum(release.count / release.noise**2 for release in gaussian)), delta)
    return _by_loss_distribution(gaussian, delta)


def renyi_epsilon(releases: Iterable[Release], delta: float) -> float:
    """Return the epsilon that follows from Renyi divergences at whole orders.

    References
    ----------
    Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy", 2020, proposition 12.
    """
    total = sum((release.renyi() for release in releases), np.zeros(len(ORDERS)))
    bound = total + np.log1p(-1 / ORDERS) - np.log(delta * ORDERS) / (ORDERS - 1)
    return max(float(bound.min()), 0.0)


def gaussian_delta(mu: float, at: float) -> float:
    """Return the delta of Gaussian noise whose means are `mu` standard deviations apart, at an epsilon.

    References
    ----------
    Balle, Wang, "Improving the Gaussian Mechanism for Differential Privacy", ICML 2018, theorem 8.
    """
    return float(ndtr(mu / 2 - at / mu) - np.exp(at + log_ndtr(-mu / 2 - at / mu)))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the epsilon of such noise, see `gaussian_delta`."""
    if mu <= 0 or gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    most = mu**2 / 2 + mu * math.sqrt(2 * math.log(1 / delta)) + 1
    return _root(lambda at: gaussian_delta(mu, at) - delta, 0.0, most, xtol=1e-9)


def _root(function: Callable[[float], float], low: float, high: float, **precision: float) -> float:
    """Return where a function crosses zero between two points, by Brent's method."""
    from scipy.optimize import brentq  # slow to import, and most federations add no noise

    return float(brentq(function, low, high, **precision))


def noise_for(target: float, delta: float, releases: Callable[[float], Sequence[Release]]) -> float:
    """Return the least noise at which releases are within an epsilon, to a few thousandths, rounded up.

    Parameters
    ----------
    target
        The epsilon that must not be exceeded.
    delta
        Of the promise.
    releases
        Makes the releases of a noise multiplier.

    Raises
    ------
    ConfigError
        If the target is not above 0, or no noise of a size that leaves anything reaches it.
    """
    if not target > 0:
        raise ConfigError(f"privacy.target_epsilon must be > 0, got {target}")

    def ratio(noise: float) -> float:
        return epsilon(releases(noise), delta) / target

    rough = _least(lambda noise: renyi_epsilon(releases(noise), delta) / target, 1.0, 4.0)
    found = _least(ratio, rough * 0.85, rough)
    while ratio(found) > 1:
        found *= 1 + _PRECISION
    return found


def _least(ratio: Callable[[float], float], low: float, high: float) -> float:
    """Return about the least noise at which a falling ratio is 1, searched from two noises outwards.

    Raises
    ------
    ConfigError
        If it is above 1 at any noise.
    """

    def excess(logarithm: float) -> float:
        return math.log(min(max(ratio(math.exp(logarithm)), 1e-9), 1e9))

    first, last = math.log(low), math.log(high)
    width = last - first
    while excess(last) > 0:
        first, last = last, last + width
        if last > math.log(_MOST_NOISE):
            raise ConfigError(f"privacy.target_epsilon needs noise above {_MOST_NOISE:g} times the clip; raise it")
    while excess(first) < 0:
        first, last = first - width, first
        if first < math.log(_LEAST_NOISE):
            return _LEAST_NOISE
    return math.exp(_root(excess, first, last, xtol=_PRECISION, rtol=_PRECISION))


def affordable(release: Release, spent: Sequence[Release], most: float, delta: float) -> int:
    """Return how often a release can be repeated after what was spent, up to its `count`, within an epsilon.

    Examples
    --------
    >>> affordable(GaussianRelease(4.0, 100), [], 8.6, 1e-5)
    50
    """

    def fits(count: int) -> bool:
        return epsilon((*spent, replace(release, count=count)), delta) <= most

    if fits(release.count):
        return release.count
    low, high = 0, release.count
    if not fits(low):
        return 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _merged(releases: Iterable[Release]) -> tuple[Release, ...]:
    """Return the releases with those alike counted together, in an order of their own: fewer to compose."""
    counts: dict[Release, int] = {}
    for release in releases:
        alike = replace(release, count=1)
        counts[alike] = counts.get(alike, 0) + release.count
    return tuple(replace(alike, count=count) for alike, count in sorted(counts.items(), key=repr) if count)


@lru_cache(maxsize=256)
def _by_loss_distribution(releases: tuple[GaussianRelease, ...], delta: float) -> float:
    library = _library()
    gaussian, sampled = library.GaussianDpEvent, library.PoissonSampledDpEvent
    events = [
        library.SelfComposedDpEvent(
            gaussian(each.noise) if each.rate == 1 else sampled(each.rate, gaussian(each.noise)), each.count
        )
        for each in releases
    ]
    accountant = import_module("dp_accounting.pld").PLDAccountant(value_discretization_interval=_INTERVAL)
    return float(accountant.compose(library.ComposedDpEvent(events)).get_epsilon(delta))


def _library() -> Any:
    """Return the package that composes privacy losses.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        return import_module("dp_accounting")
    except ImportError as error:
        raise ConfigError(
            "differential privacy with sampled rows or machines needs the package dp-accounting, which is not "
            "installed; pip install 'werkbund[privacy]'"
        ) from error


def _sampled(rate: float, noise: float) -> Float64Array:
    """Return the Renyi divergence of one Gaussian sum over units drawn by coins, at each of `ORDERS`."""
    order, k = ORDERS[:, None], np.arange(ORDERS[-1] + 1)[None, :]
    left = np.maximum(order - k, 0)
    chosen = gammaln(order + 1) - gammaln(k + 1) - gammaln(left + 1)
    terms = chosen + left * math.log1p(-rate) + k * math.log(rate) + (k * k - k) / (2 * noise**2)
    return np.asarray(logsumexp(np.where(k <= order, terms, -np.inf), axis=1) / (ORDERS - 1))
