"""Plants that fail where others are well: no way that is made for them leaves a plant clearly worse off than alone."""

from __future__ import annotations

from argparse import Namespace

import pytest

from benchmarks.kinds import WAYS, Ground, ground_of, worse_off

FRESH = (100, 101)
"""Seeds by which nothing was chosen."""


@pytest.fixture(scope="module", params=FRESH)
def ground(request: pytest.FixtureRequest) -> Ground:
    return ground_of(Namespace(config=None, case="opposed", model="mlp"), request.param)


@pytest.mark.parametrize("way", ["personal, fedper", "clusters, cfl"])
def test_no_plant_is_worse_off_than_alone_beyond_its_interval(way: str, ground: Ground) -> None:
    contest = ground.contest(WAYS[way])
    assert all(line.failures >= 5 for line in contest.plants)
    assert worse_off(contest) == []


def test_one_model_for_all_is_found_out_at_every_plant(ground: Ground) -> None:
    contest = ground.contest(WAYS["one model"])
    assert worse_off(contest) == [line.name for line in contest.plants]
