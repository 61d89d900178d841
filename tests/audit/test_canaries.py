from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from werkbund.audit.canaries import CanaryResult, Claim, play_canaries
from werkbund.learner import LocalObjective, NoisedUnits
from werkbund.learner.batches import Unit, UnitDraws

WHOLE = Claim(clip=1.0, noise=4.0, rate=1.0, steps=10, delta=1e-5)
SAMPLED = Claim(clip=0.5, noise=2.0, rate=0.1, steps=20, delta=1e-5)


def _always(noise: float) -> Callable[[int], float]:
    return lambda rows: noise


def _objective(claim: Claim, unit: Unit = "row", seeded: bool = False) -> LocalObjective:
    return LocalObjective(rule=NoisedUnits(claim.clip, _always(claim.noise), seeded), draws=UnitDraws(unit))


def _played(objective: LocalObjective, claim: Claim, canaries: int = 300, **how: int) -> CanaryResult:
    return play_canaries(objective, claim, canaries, **how)


@pytest.mark.parametrize("claim", [WHOLE, SAMPLED])
def test_of_what_is_as_claimed_nothing_is_found(claim: Claim) -> None:
    told = [_played(_objective(claim), claim, seed=seed) for seed in range(2)]
    assert sum(len(one.faults) for one in told) <= 1, "a fault of one play in a thousand"
    assert np.mean([one.noise for one in told]) == pytest.approx(claim.noise, rel=0.2)
    most = 5 * claim.noise * np.sqrt(4 / 300 / claim.steps / 2)
    assert np.mean([one.reach for one in told]) == pytest.approx(claim.rate, abs=most)


def test_a_machine_counts_once_however_many_rows_it_has() -> None:
    told = _played(_objective(WHOLE, "machine"), WHOLE, 200, rows_a_unit=5)
    assert not told.faults
    assert told.reach == pytest.approx(1.0, abs=1.0)


def test_what_is_proven_stays_below_the_accountants_bound_over_200_runs() -> None:
    claim = Claim(clip=1.0, noise=0.7, rate=1.0, steps=1, delta=1e-5)
    proven = [_played(_objective(claim), claim, 40, seed=seed).proven for seed in range(200)]
    assert np.mean(np.array(proven) <= claim.epsilon) >= 0.95
    assert np.max(proven) > 0, "an attack that finds nothing tests nothing"


@pytest.mark.parametrize("claim", [WHOLE, SAMPLED])
def test_noise_too_small_by_3_is_found(claim: Claim) -> None:
    weak = LocalObjective(rule=NoisedUnits(claim.clip, _always(claim.noise / 3)), draws=UnitDraws("row"))
    told = _played(weak, claim)
    assert told.noise == pytest.approx(claim.noise / 3, rel=0.3)
    assert any(fault.startswith("noise is") for fault in told.faults)
    assert claim.rate < 1 or told.proven > claim.epsilon


@pytest.mark.parametrize("claim", [WHOLE, SAMPLED])
def test_clipping_that_is_off_is_found(claim: Claim) -> None:
    noise = _always(claim.noise * claim.clip / 1e6)
    loose = LocalObjective(rule=NoisedUnits(1e6, noise), draws=UnitDraws("row"))
    told = _played(loose, claim)
    assert any("not clipped" in fault for fault in told.faults)
    assert told.proven > claim.epsilon


def test_units_that_are_in_every_step_are_found() -> None:
    claim = Claim(clip=1.0, noise=2.0, rate=0.1, steps=40, delta=1e-5)
    shuffled = LocalObjective(rule=NoisedUnits(1.0, _always(2.0)), draws=_Everybody("row"))
    told = _played(shuffled, claim)
    assert any("more steps" in fault for fault in told.faults)
    assert told.proven > claim.epsilon


class _Everybody(UnitDraws):
    """Let all units into each step, whatever the rate."""

    def _steps(self, table, client, key, plan):  # type: ignore[no-untyped-def]
        size = int(table.sizes[client])
        for _ in range(plan.steps):
            yield np.arange(size), np.arange(size)


def test_noise_that_the_server_can_compute_is_found() -> None:
    told = _played(_objective(WHOLE, seeded=True), WHOLE)
    assert told.is_known
    assert any("takes it off" in fault for fault in told.faults)
    assert told.proven > WHOLE.epsilon


def test_without_noise_all_is_told() -> None:
    bare = LocalObjective(rule=NoisedUnits(1.0, _always(0.0)), draws=UnitDraws("row"))
    assert _played(bare, WHOLE).proven > WHOLE.epsilon
