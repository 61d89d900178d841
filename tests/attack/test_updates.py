"""Attacks on answers give the golden numbers of the reference, and do what they say on any updates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from werkbund.attack import ATTACKS, attack_options, build_attack
from werkbund.attack.backdoor import Backdoor
from werkbund.attack.contract import OnRows, OnUpdates, Scene
from werkbund.attack.updates import FreeRider, Gaussian, InnerProduct, LittleIsEnough, MinMax, MinSum, SignFlip
from werkbund.core.arrays import Float64Array
from werkbund.core.errors import ConfigError

BENIGN = np.array([(1, 2, 3), (1.2, 1.9, 3.1), (0.9, 2.3, 2.8), (1.15, 2.1, 3.25), (0.7, 1.8, 2.95)])
OWN = np.array([(10.0, -5, 0), (9, -6, 1)])


def scene(benign: Float64Array = BENIGN, own: Float64Array = OWN, round: int = 1) -> Scene:
    weight = np.arange(1.0, len(own) + 1)
    rngs = tuple(np.random.default_rng(client) for client in range(len(own)))
    moved = np.full(len(own), 0.5)
    return Scene(own, benign, weight, float(weight.sum()) + 10.0 * len(benign), round, moved, rngs)


def test_every_attack_says_what_it_does_and_declares_its_options() -> None:
    assert len(ATTACKS) == 12
    for kind, attack in ATTACKS.items():
        made = build_attack(kind, {})
        assert made == attack()
        assert made.what
        assert isinstance(made, OnRows | OnUpdates) == (kind != "reference")
        for name, declared in attack_options(kind).items():
            assert declared.what
            assert declared.admits(getattr(made, name))


def test_an_unknown_kind_or_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"attack.kind must be one of label-flip, .*did you mean sign-flip\?"):
        build_attack("signflip", {})
    with pytest.raises(ConfigError, match=r"attack of 'ipm' takes no option epsilo; did you mean epsilon\?"):
        build_attack("ipm", {"epsilo": 1.0})
    with pytest.raises(ConfigError, match=r"epsilon must be > 0, got -1"):
        build_attack("ipm", {"epsilon": -1.0})


@pytest.mark.parametrize(
    ("num_clients", "attackers", "z"),
    [
        (10, 3, 0.180012),
        (10, 4, 0.430727),
        (20, 4, 0.157311),
        (25, 5, 0.253347),
        (25, 11, 1.067571),
        (50, 5, 0.083652),
        (50, 10, 0.253347),
        (50, 12, 0.336038),
        (50, 24, 1.426077),
        (51, 12, 0.361202),
        (100, 20, 0.285841),
        (10, 2, 0.0),
    ],
)
def test_the_little_that_is_enough_follows_the_formula(num_clients: int, attackers: int, z: float) -> None:
    assert LittleIsEnough().strength(num_clients, attackers) == pytest.approx(z, abs=1e-6)
    supporters = num_clients // 2 + 1 - attackers
    honest = num_clients - attackers
    assert LittleIsEnough().strength(num_clients, attackers) == pytest.approx(
        norm.ppf((honest - supporters) / honest), abs=1e-9
    )


def test_the_little_that_is_enough_is_cut_where_attackers_own_the_median_and_never_negative() -> None:
    assert LittleIsEnough(most=2.0).strength(10, 6) == 2.0
    assert LittleIsEnough().strength(10, 1) == 0.0
    assert LittleIsEnough().strength(3, 3) == 3.0
    assert LittleIsEnough(z=1.5).strength(10, 2) == 1.5


def test_golden_rows_of_the_attacks_that_see_the_others() -> None:
    expected = {
        LittleIsEnough(): (0.944398, 1.976413, 2.981914),
        LittleIsEnough(z=1.0): (0.81, 1.847953, 2.869667),
        InnerProduct(0.5): (-0.495, -1.01, -1.51),
        InnerProduct(1.1): (-1.089, -2.222, -3.322),
        MinMax("unit"): (0.900877, 1.838153, 2.748130),
        MinMax("sign"): (0.794893, 1.824893, 2.824893),
        MinMax("std"): (0.778745, 1.818080, 2.843563),
    }
    for attack, row in expected.items():
        assert isinstance(attack, OnUpdates)
        np.testing.assert_allclose(attack.sent(scene()), np.array([row, row]), atol=2e-6)


@pytest.mark.parametrize(("direction", "gamma"), [("unit", 0.370675), ("sign", 0.214009), ("std", 1.274407)])
def test_golden_strength_of_min_sum(direction: str, gamma: float) -> None:
    mean, spread = BENIGN.mean(axis=0), BENIGN.std(axis=0)
    pushed = {"unit": -mean / np.linalg.norm(mean), "sign": -np.sign(mean), "std": -spread}[direction]
    np.testing.assert_allclose(_sent("min-sum", direction, BENIGN), mean + gamma * pushed, atol=2e-6)


def _sent(kind: str, direction: str, benign: Float64Array) -> Float64Array:
    attack = build_attack(kind, {"direction": direction})
    assert isinstance(attack, MinMax | MinSum)
    return np.asarray(attack.sent(scene(benign, benign[:2]))[0])


updates = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).normal(size=(6, 5)))


@settings(max_examples=30, deadline=None)
@given(updates, st.sampled_from(["unit", "sign", "std"]))
def test_min_max_and_min_sum_go_to_their_bounds_and_no_further(benign: Float64Array, direction: str) -> None:
    def squares(row: Float64Array) -> Float64Array:
        return np.asarray(((benign - row) ** 2).sum(axis=1))

    each = np.array([squares(row) for row in benign])
    assert squares(_sent("min-max", direction, benign)).max() == pytest.approx(each.max())
    assert squares(_sent("min-sum", direction, benign)).sum() == pytest.approx(each.sum(axis=1).max())


@settings(max_examples=30, deadline=None)
@given(updates, st.floats(0.1, 100))
def test_attacks_alone_are_multiples_of_honest_updates(own: Float64Array, factor: float) -> None:
    np.testing.assert_allclose(SignFlip(factor).sent(scene(own=own)), -factor * own)
    assert not FreeRider().sent(scene(own=own)).any()
    np.testing.assert_allclose(Backdoor(gamma=factor).sent(scene(own=own)), factor * own)


@settings(max_examples=30, deadline=None)
@given(updates, st.floats(0.1, 10))
def test_a_constrained_back_door_is_no_longer_than_it_may_be(own: Float64Array, longest: float) -> None:
    sent = Backdoor(longest=longest).sent(scene(own=own))
    most = longest * np.median(np.linalg.norm(BENIGN, axis=1))
    assert (np.linalg.norm(sent, axis=1) <= most * (1 + 1e-9)).all()
    cosines = (sent * own).sum(axis=1) / np.linalg.norm(sent, axis=1) / np.linalg.norm(own, axis=1)
    np.testing.assert_allclose(cosines, 1.0)


def test_a_scaled_back_door_replaces_the_mean_where_others_stand_still() -> None:
    known = scene(benign=np.zeros((4, 3)), own=np.array([OWN[0], OWN[0]]))
    sent = Backdoor().sent(known)
    np.testing.assert_allclose(known.weight @ sent / known.total, OWN[0])


def test_noise_is_as_long_as_it_says_and_drawn_by_its_stream() -> None:
    own = np.random.default_rng(1).normal(size=(2, 20_000))
    sent = Gaussian(3.0).sent(scene(own=own))
    np.testing.assert_allclose(np.linalg.norm(sent, axis=1), 3.0 * np.linalg.norm(own, axis=1), rtol=0.03)
    np.testing.assert_array_equal(sent, Gaussian(3.0).sent(scene(own=own)))
    assert abs(np.corrcoef(sent[0], sent[1])[0, 1]) < 0.05
    np.testing.assert_allclose(Gaussian(3.0, additive=True).sent(scene(own=own)), own + sent)


def test_a_disguised_free_rider_sends_noise_that_shrinks_with_the_rounds() -> None:
    own = np.ones((2, 20_000))
    first, later = (FreeRider(disguised=True).sent(scene(own=own, round=number)) for number in (1, 4))
    assert first.std() == pytest.approx(0.5, rel=0.03)
    np.testing.assert_allclose(later, first / 4)


def test_the_page_on_strategies_lists_every_attack_with_its_options() -> None:
    page = (Path(__file__).parents[2] / "docs" / "strategy.md").read_text(encoding="utf-8")
    for kind in ATTACKS:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{kind}` |"))
        assert row.rsplit("|", 2)[1].strip() == ", ".join(f"`{name}`" for name in attack_options(kind))


@pytest.mark.parametrize("kind", ["ipm", "alie", "min-max", "min-sum"])
def test_noise_of_their_own_keeps_attackers_from_sending_copies(kind: str) -> None:
    drawn = np.random.default_rng(3)
    benign, own = drawn.normal(size=(6, 400)), drawn.normal(size=(3, 400))
    same, apart = (_built(kind, noise).sent(scene(benign, own)) for noise in (0.0, 0.5))
    assert (same == same[0]).all()
    ways = np.linalg.norm(apart - same, axis=1)
    assert ways == pytest.approx(np.full(3, 0.5 * np.linalg.norm(same[0])), rel=0.15)
    assert len(np.unique(apart, axis=0)) == 3


def _built(kind: str, noise: float) -> OnUpdates:
    attack = build_attack(kind, {"noise": noise})
    assert isinstance(attack, OnUpdates)
    return attack
