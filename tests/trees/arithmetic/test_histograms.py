from __future__ import annotations

import numpy as np
import pytest

from werkbund.trees.arithmetic import WORDS, accumulate, add_value, divide

RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 6, (500, 3)).astype(np.uint8)
PAIRS = RNG.integers(-(2**30), 2**30, (500, 2)).astype(np.int32)


@pytest.mark.parametrize("drawn", [False, True])
def test_a_histogram_holds_exact_sums(drawn: bool) -> None:
    draws = RNG.integers(0, 4, 500).astype(np.uint8) if drawn else np.empty(0, np.uint8)
    index = np.sort(RNG.choice(500, 200, replace=False)).astype(np.int32)
    features, starts = np.array([2, 0]), np.array([0, 6])
    words = np.zeros(12 * WORDS, np.int64)
    accumulate(CODES, PAIRS, draws, index, features, starts, words)
    right = np.zeros((12, WORDS), np.int64)
    for i in index.tolist():
        times = int(draws[i]) if drawn else 1
        for feature, start in ((2, 0), (0, 6)):
            right[start + CODES[i, feature], :3] += [int(PAIRS[i, 0]) * times, int(PAIRS[i, 1]) * times, times]
    assert (words.reshape(-1, WORDS) == right).all()


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_rows_are_sorted_to_both_sides_in_their_old_order(share: float) -> None:
    index, room = np.arange(0, 500, 2, dtype=np.int32), np.empty(300, np.int32)
    goes_left = (RNG.random(256) < share).astype(np.uint8)
    left = divide(np.ascontiguousarray(CODES[:, 1]), index, goes_left, room)
    old = np.arange(0, 500, 2)
    goes = goes_left[CODES[old, 1]] == 1
    assert index[:left].tolist() == old[goes].tolist()
    assert index[left:].tolist() == old[~goes].tolist()


def test_a_value_is_added_to_the_rows_named() -> None:
    sums = np.zeros((5, 2))
    add_value(sums, 1, np.array([0, 3], np.int32), 0.5)
    assert sums.tolist() == [[0, 0.5], [0, 0], [0, 0], [0, 0.5], [0, 0]]
