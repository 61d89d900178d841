"""A bound that follows the lengths of updates: the paper's noise, its rule, and bits that are clipped with updates."""

from __future__ import annotations

import numpy as np
import pytest

from werkbund.core.arrays import AnyArray
from werkbund.core.errors import ClientError, ConfigError
from werkbund.privacy import Departure, added
from werkbund.privacy.accounting import ORDERS, GaussianRelease, epsilon
from werkbund.privacy.adaptive import BIT_NOISE, CLIP, WITHIN, adapted, bound_of, update_noise
from werkbund.privacy.central import ClippedSum
from werkbund.privacy.shares import UNITS, NoiseShare, RoundedUpdates

COHORT, BOUND = np.arange(8), 0.6
UPDATES = np.zeros((8, 5000), np.float32)
UPDATES[:, 0] = [0.1, 0.2, 0.3, 0.59, 0.61, 1.0, 2.0, 9.0]
ANSWERS: dict[str, AnyArray] = {"update": UPDATES, "weight": np.ones(8), WITHIN: np.zeros(8)}


def _departure(bound: float = BOUND) -> Departure:
    return Departure(1, COHORT, np.empty(0, np.uint64), COHORT, 5000, {CLIP: np.array([bound], np.float32)})


@pytest.mark.parametrize(("noise", "bits", "golden"), [(1, 5, 1.0050), (4, 5, 4.3644), (1, 0.55, 2.4004)])
def test_golden_noise_on_updates(noise: float, bits: float, golden: float) -> None:
    assert update_noise(noise, bits) == pytest.approx(golden, abs=5e-5)
    both = [GaussianRelease(update_noise(noise, bits)), GaussianRelease(2 * bits)]
    assert epsilon(both, 1e-5) == pytest.approx(epsilon([GaussianRelease(noise)], 1e-5), rel=1e-6)


def test_bits_that_alone_cost_more_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"above half of the promised noise, 2, got 0\.5"):
        update_noise(4.0, 0.5)


def test_a_bound_far_below_all_lengths_comes_to_them_and_stays() -> None:
    """The golden number of the reference: all lengths 1, first bound .1, 30 rounds."""
    clip = 0.1
    for _ in range(30):
        clip = adapted(clip, 1.0 if clip >= 1 else 0.0)
    assert clip == pytest.approx(1.1023, abs=5e-5)
    assert adapted(1.0, 7.0) == adapted(1.0, 1.0)  # a share out of all reason, by noise, moves it no further


def _noised(layer: ClippedSum | RoundedUpdates, share: NoiseShare | None = None) -> dict[str, AnyArray]:
    total = added({}, layer.leave(ANSWERS, _departure()))
    if share is not None:
        total |= {name: total[name] + part.drawn(total[name].shape, 1) for name, part in share.parts.items()}
    return dict(layer.unwind(total, _departure()))


@pytest.mark.parametrize("shared", [False, True])
def test_bits_say_whose_update_is_within_the_bound_that_came_along(shared: bool) -> None:
    layer = RoundedUpdates(50.0, adaptive=True) if shared else ClippedSum(50.0, 0.0, adaptive=True)
    told = _noised(layer)
    assert float(told[WITHIN]) == 0.0  # four within, four not
    assert float(told["update"][0]) == pytest.approx(0.1 + 0.2 + 0.3 + 0.59 + 4 * BOUND, abs=8 * BOUND / UNITS)


@pytest.mark.parametrize("shared", [False, True])
def test_both_sums_have_the_noise_that_together_costs_what_was_promised(shared: bool) -> None:
    noise = 3.0
    layer = RoundedUpdates(50.0, adaptive=True) if shared else ClippedSum(50.0, noise, adaptive=True)
    told = [_noised(layer, NoiseShare(noise, adaptive=True) if shared else None) for _ in range(60)]
    deviation = update_noise(noise, BIT_NOISE * noise) * BOUND
    assert told[0]["update"][1:].std() == pytest.approx(deviation, rel=0.05)
    bits = np.array([float(one[WITHIN]) for one in told])
    assert bits.std() == pytest.approx(BIT_NOISE * noise, rel=0.4)


def test_two_sums_of_whole_numbers_cost_no_more_than_the_promised_one() -> None:
    for noise in (0.7, 3.0, 40.0):
        parts = NoiseShare(noise, adaptive=True).parts
        bits = (parts[WITHIN].noise * UNITS) ** 2  # of the variance, where a bit is half the units long
        length = UNITS / 2
        near = ((2 * ORDERS - 1) * length**2 + 6 * length) / (4 * bits**2)
        of_bits = ORDERS * length**2 / (2 * bits) + np.minimum(near, 3 * length / (2 * bits))
        spent = parts["update"].release(1).renyi() + of_bits
        assert (spent <= NoiseShare(noise).release(1).renyi()).all()


def test_a_bound_that_is_none_is_refused() -> None:
    for bound in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ClientError, match="the bound of an update must be above 0"):
            bound_of({CLIP: np.array([bound])}, 1.0)
    assert bound_of({}, 0.3) == 0.3
