from __future__ import annotations

import math

import numpy as np

from werkbund.trees.arithmetic import draw_rows, row_hashes
from werkbund.trees.arithmetic.sampling import draw_features

X = np.random.default_rng(0).normal(size=(20_000, 3))
HASHES = row_hashes(X, np.zeros(len(X)))


def test_a_rows_draw_does_not_depend_on_its_place() -> None:
    order = np.random.default_rng(1).permutation(len(X))
    shuffled = row_hashes(X[order], np.zeros(len(X)))
    assert (shuffled == HASHES[order]).all()
    for poisson in (False, True):
        assert (draw_rows(shuffled, 5, 0.4, poisson) == draw_rows(HASHES, 5, 0.4, poisson)[order]).all()


def test_equal_rows_share_their_draw_and_another_target_is_another_row() -> None:
    same = row_hashes(np.zeros((3, 2)), np.array([0.0, 0.0, 1.0]))
    assert same[0] == same[1] != same[2]


def test_a_share_of_the_rows_is_drawn() -> None:
    for share in (0.01, 0.4, 0.9):
        drawn = draw_rows(HASHES, 3, share, False)
        assert set(np.unique(drawn)) == {0, 1}
        assert abs(drawn.mean() - share) < 5 * math.sqrt(share * (1 - share) / len(X))


def test_all_rows_need_no_draw() -> None:
    assert len(draw_rows(HASHES, 3, 1.0, False)) == 0


def test_bootstrap_numbers_follow_poisson() -> None:
    drawn = draw_rows(HASHES, 3, 1.0, True)
    for k in range(5):
        chance = math.exp(-1) / math.factorial(k)
        assert abs((drawn == k).mean() - chance) < 5 * math.sqrt(chance * (1 - chance) / len(X))


def test_trees_draw_independently() -> None:
    a, b = (draw_rows(HASHES, key, 0.5, False) for key in (1, 2))
    assert abs((a == b).mean() - 0.5) < 0.02


def test_features_are_distinct_and_each_is_drawn_alike() -> None:
    drawn = draw_features(np.arange(4000, dtype=np.uint64), 8, 3)
    assert drawn.shape == (4000, 3)
    assert (np.diff(drawn, axis=1) > 0).all()
    assert abs(np.bincount(drawn.ravel(), minlength=8) / 4000 - 3 / 8).max() < 0.05
