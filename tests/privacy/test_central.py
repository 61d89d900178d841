"""Updates that are clipped at their plants, and noise that is added once to their sum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.errors import ConfigError
from werkbund.privacy import Departure, added
from werkbund.privacy.central import ClippedSum

COHORT = np.arange(6)
RNG = np.random.default_rng(0)
UPDATES = RNG.normal(size=(6, 40)).astype(np.float32) * np.array([0.01, 0.1, 0.3, 1, 3, 10], np.float32)[:, None]
ANSWERS = {"update": UPDATES, "weight": np.ones(6)}


def _departure(clients: np.ndarray = COHORT, round: int = 1) -> Departure:
    return Departure(round, clients, np.empty(0, np.uint64), COHORT, 40)


def test_a_bound_that_nothing_reaches_and_no_noise_give_the_sum() -> None:
    layer = ClippedSum(1e6, 0.0)
    left = layer.leave(ANSWERS, _departure())
    total = added({}, {**ANSWERS, **left})
    np.testing.assert_allclose(layer.unwind(total, _departure())["update"], UPDATES.sum(axis=0), rtol=1e-5)


@given(st.floats(0.01, 30.0), st.floats(0.1, 3.0))
def test_no_update_is_longer_than_the_clip_and_short_ones_stay(clip: float, weight: float) -> None:
    answers = {"update": UPDATES * np.float32(weight), "weight": np.full(6, weight)}
    left = ClippedSum(clip, 1.0).leave(answers, _departure())["update"]
    most = clip * min(weight, 1.0)
    assert (np.linalg.norm(left, axis=1) <= most * (1 + 1e-5)).all()
    short = np.linalg.norm(answers["update"], axis=1) <= most * (1 - 1e-6)
    np.testing.assert_allclose(left[short], answers["update"][short], rtol=1e-6)


def test_noise_has_the_deviation_that_the_accountant_assumes_once_whoever_answers() -> None:
    for answered in (COHORT, COHORT[:3]):
        layer, total = ClippedSum(0.5, 4.0), {"update": np.zeros(20_000, np.float32)}
        drawn = layer.unwind(total, _departure(answered))["update"] * (len(COHORT) / len(answered))
        assert drawn.std() == pytest.approx(0.5 * 4.0, rel=0.03)
        assert abs(drawn.mean()) < 0.08


def test_the_mean_is_over_all_that_were_asked_so_that_one_plant_weighs_no_more_where_others_are_missing() -> None:
    """What is divided by the weights that came is the sum over a fixed number: a plant moves it by clip / 6."""
    layer, answered = ClippedSum(1.0, 0.0), COHORT[3:]
    left = layer.leave({"update": UPDATES[3:], "weight": np.ones(3)}, _departure(answered))
    mean = layer.unwind(added({}, left), _departure(answered))["update"] / len(answered)
    np.testing.assert_allclose(mean, left["update"].sum(axis=0) / len(COHORT), rtol=1e-5)


def test_noise_does_not_follow_from_anything_unless_it_is_seeded() -> None:
    total = {"update": np.zeros(40, np.float32)}

    def drawn(seed: int | None, round: int = 1) -> list[float]:
        numbers: list[float] = ClippedSum(1.0, 1.0, seed).unwind(total, _departure(round=round))["update"].tolist()
        return numbers

    assert drawn(None) != drawn(None)
    assert drawn(3) == drawn(3) != drawn(3, round=2)


def test_values_that_are_none_are_refused() -> None:
    for clip, noise in ((0.0, 1.0), (1.0, -1.0), (np.nan, 1.0)):
        with pytest.raises(ConfigError, match=r"privacy\.clip must be > 0"):
            ClippedSum(clip, noise)
