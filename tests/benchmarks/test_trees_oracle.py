"""Federated trees against scikit-learn's, which share no code with ours, where readings crowd on some values."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.trees import oracle_table
from benchmarks.trees_grown import divided, grow
from benchmarks.trees_oracle import PLAN, PLANTS, compare_tables, crowded_table
from tests.benchmarks.test_trees_parts import shown


@pytest.mark.slow
def test_on_thirty_crowded_tables_trees_rank_as_scikit_learns() -> None:
    found = compare_tables(range(30))
    assert len(found["federated"]) == 30
    assert abs(found["difference"]) <= found["standard_error"]
    assert found["worst"] >= -0.03


def test_the_table_shows_each_table_and_the_mean_difference() -> None:
    result = {"seeds": [3, 4], "federated": [0.5, 0.75], "scikit_learn": [0.52, 0.73]}
    lines = shown(oracle_table({**result, "difference": 0.0, "standard_error": 0.02, "worst": -0.02}))
    assert [line.split() for line in lines[2:4]] == [
        ["3", "0.500", "0.520", "-0.020"],
        ["4", "0.750", "0.730", "+0.020"],
    ]
    assert lines[4].split()[-1] == "-0.020"


@pytest.mark.parametrize("share", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("band", [(5, 11), (70, 76), (138, 144)])
def test_a_band_of_a_crowded_reading_is_found_wherever_it_lies(share: float, band: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 150, 4000)
    x = np.column_stack([np.where(rng.random(4000) < share, whole + 0.5, whole), rng.normal(size=4000)])
    y = ((x[:, 0] >= band[0]) & (x[:, 0] < band[1])).astype(float)
    ensemble = grow(divided(x, y, rng.integers(0, 3, 4000), 3), PLAN, "logistic").ensemble
    cuts = ensemble.trees.threshold[ensemble.trees.feature == 0]
    assert np.abs(cuts - (band[0] - 0.25)).min() <= 0.26
    assert np.abs(cuts - (band[1] - 0.25)).min() <= 0.26


def test_a_least_number_of_one_row_changes_no_bit() -> None:
    for seed in (0, 7):
        x, y = crowded_table(1000, seed)
        table = divided(x, y, np.arange(1000) % PLANTS, PLANTS)
        none, one = (grow(table, PLAN, "logistic", min_rows=least).ensemble for least in (0, 1))
        assert none.digest == one.digest
