"""The verdict on tables whose truth is known, with seeds that no tuning saw; all of it: `benchmarks.verdicts`."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.verdicts import CASES, Case, is_right, try_case

UNSEEN = 7_001


@pytest.mark.parametrize("name", ["alike", "opposed", "noise"])
def test_the_verdict_is_right_where_the_truth_is_known(name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    said = try_case(case, UNSEEN)
    assert is_right(case, said), said


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_draw_has_failures_at_every_plant_or_is_one_of_rare_ones(case: Case) -> None:
    plants = case.draw(np.random.default_rng(UNSEEN))
    failures = [int(plant.failures.sum()) for plant in plants]
    assert min(failures) >= (1 if case.name == "rare" else 5)
