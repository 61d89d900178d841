"""The split search against one that tries every split of every feature in plain Python."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from werkbund.trees.arithmetic.splits import FeatureTraits, Histograms, Limits, best_splits

LIMITS = Limits(2.0**-10, 2.0**-10, 1.0, 0.5, 3, 0.0, 0.0)
FREE = (-np.inf, np.inf)


def _cells(rng: np.random.Generator, size: int, occupied: float = 0.8) -> Any:
    rows = rng.integers(1, 9, size) * (rng.random(size) < occupied)
    return np.column_stack([rng.integers(-3000, 3000, size) * (rows > 0), rows * rng.integers(100, 1500, size), rows])


def _histogram(seed: int, sizes: list[int], missing: bool) -> Any:
    """Return the cells of features that all hold the same rows."""
    rng = np.random.default_rng(seed)
    first = _cells(rng, sizes[0])
    if not missing:
        first[-1] = 0
    parts = [first]
    for size in sizes[1:]:
        part = np.zeros((size, 3), np.int64)
        for words in first[first[:, 2] > 0]:
            part[rng.integers(0, size if missing else size - 1)] += words
        parts.append(part)
    return np.concatenate(parts), first.sum(axis=0)


def _value(g: float, h: float, limits: Limits, bounds: tuple[float, float]) -> float:
    return min(max(-g / (h + limits.l2) if h + limits.l2 > 0 else 0.0, bounds[0]), bounds[1])


def _gain(left: Any, total: Any, limits: Limits, bounds: tuple[float, float], sign: int) -> float:
    worth, values = [], []
    for words in (left, total - left, total):
        g, h = words[0] * limits.gradient_step, words[1] * limits.hessian_step
        w = _value(g, h, limits, bounds)
        values.append(w)
        worth.append(-(2 * g * w + (h + limits.l2) * w * w))
        if words[2] < limits.min_rows or h < limits.min_weight:
            return 0.0
    if sign * (values[1] - values[0]) < 0:
        return 0.0
    gain = worth[0] + worth[1] - worth[2]
    return gain if gain > limits.min_gain else 0.0


def _brute(words: Any, total: Any, sizes: list[int], limits: Limits, bounds: Any = FREE, signs: Any = None) -> Any:
    """Return gain, feature, bin and side of missing values of the first best cut."""
    best, start = (0.0, -1, -1, False), 0
    for f, size in enumerate(sizes):
        own, missing = words[start : start + size - 1], words[start + size - 1]
        for b in np.flatnonzero(own[:, 2]).tolist():  # an empty bin makes no cut of its own
            for missing_left in (True, False):
                left = own[: b + 1].sum(axis=0) + (missing if missing_left else 0)
                gain = _gain(left, total, limits, bounds, signs[f] if signs else 0)
                if gain > best[0] + 1e-9:
                    best = (gain, f, b, missing_left)
        start += size
    return best


def _search(words: Any, total: Any, sizes: list[int], limits: Limits, bounds: Any = FREE, **how: Any) -> Any:
    starts = np.cumsum([0, *sizes[:-1]])[None]
    features = np.arange(len(sizes))[None]
    levels = np.array(how.get("levels", [0] * len(sizes)))
    signs = np.array(how.get("signs", [0] * len(sizes)))
    draws = how.get("draws", np.empty((0, 0), np.uint64))
    histograms = Histograms(words, features, starts, total[None], np.array([bounds]))
    return best_splits(histograms, FeatureTraits(np.array(sizes), levels, signs), limits, draws)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_the_best_cut_is_that_of_brute_force(seed: int, missing: bool) -> None:
    sizes = [9, 5, 14]
    words, total = _histogram(seed, sizes, missing)
    gain, feature, cut, missing_left = _brute(words, total, sizes, LIMITS)
    found = _search(words, total, sizes, LIMITS)
    assert found.gain[0] == pytest.approx(gain, rel=1e-12)
    assert gain > 0
    assert (found.feature[0], found.bin[0]) == (feature, cut)
    start = sum(sizes[:feature])
    side = words[start : start + cut + 1].sum(axis=0)
    beyond = words[start + sizes[feature] - 1]
    if beyond[2]:
        assert found.missing_left[0] == missing_left
    else:
        assert found.missing_left[0] == (2 * side[2] >= total[2])
    assert (found.left[0] == side + (beyond if found.missing_left[0] else 0)).all()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("sign", [1, -1])
def test_a_monotone_feature_only_cuts_its_way_and_values_keep_their_bounds(seed: int, sign: int) -> None:
    words, total = _histogram(seed, [9, 6], True)
    bounds, signs = (-0.3, 0.4), [sign, 0]
    gain, feature, cut, _ = _brute(words, total, [9, 6], LIMITS, bounds, signs)
    found = _search(words, total, [9, 6], LIMITS, bounds, signs=signs)
    assert found.gain[0] == pytest.approx(gain, rel=1e-9, abs=1e-12)
    if gain:
        assert (found.feature[0], found.bin[0]) == (feature, cut)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("seed", range(15))
def test_the_best_subset_of_levels_is_that_of_brute_force(seed: int, missing: bool) -> None:
    limits = LIMITS._replace(l2=0.0, min_rows=1, min_weight=0.0)
    words, total = _histogram(seed, [8], missing)
    used = [level for level in range(7) if words[level, 2]]
    best = 0.0
    for size in range(1, len(used) + 1):
        for subset in combinations(used, size):
            for with_missing in (0, 1):
                best = max(best, _gain(words[[*subset]].sum(axis=0) + with_missing * words[7], total, limits, FREE, 0))
    found = _search(words, total, [8], limits, levels=[7])
    assert found.bin[0] == -1
    assert found.gain[0] == pytest.approx(best, rel=1e-9)
    bits = np.unpackbits(found.subsets[0], bitorder="little")[:7].astype(bool)
    left = words[:7][bits].sum(axis=0) + (words[7] if found.missing_left[0] and words[7, 2] else 0)
    assert (left == found.left[0]).all()


def test_ties_go_to_the_lowest_feature_then_the_lowest_bin() -> None:
    one = np.array([[-900, 900, 5], [0, 0, 0], [900, 900, 5], [0, 0, 0]])
    found = _search(np.concatenate([one, one]), one.sum(axis=0), [4, 4], LIMITS)
    assert (found.feature[0], found.bin[0], found.missing_left[0]) == (0, 0, True)


def test_of_equal_sides_missing_values_go_left() -> None:
    one = np.array([[-900, 900, 5], [900, 900, 5], [0, 900, 5]])
    found = _search(one, one.sum(axis=0), [3], LIMITS._replace(l2=0.0))
    assert found.missing_left[0]
    assert found.left[0, 2] == 10


def test_a_node_that_nothing_divides_has_no_split() -> None:
    one = np.array([[300, 900, 5], [300, 900, 5], [0, 0, 0]])
    found = _search(one, one.sum(axis=0), [3], LIMITS._replace(l2=0.0))
    assert found.gain[0] == 0


@pytest.mark.parametrize("limit", [{"min_rows": 6}, {"min_weight": 3.0}, {"min_gain": 1e3}])
def test_limits_forbid_a_split(limit: dict[str, Any]) -> None:
    one = np.array([[-900, 900, 5], [900, 900, 5], [0, 0, 0]])
    assert _search(one, one.sum(axis=0), [3], LIMITS).gain[0] > 0
    assert _search(one, one.sum(axis=0), [3], LIMITS._replace(**limit)).gain[0] == 0


def test_a_random_cut_is_one_of_the_occupied_bins_and_all_come_up() -> None:
    words, total = _histogram(3, [20], False)
    words[:4] = words[16:] = 0
    total = words.sum(axis=0)
    limits = LIMITS._replace(min_rows=1, min_weight=0.0)
    seen = set()
    for draw in range(200):
        found = _search(words, total, [20], limits, draws=np.array([[draw * 2]], np.uint64))
        seen |= {int(found.bin[0])} if found.gain[0] else set()
    occupied = np.flatnonzero(words[:, 2])
    assert min(seen) >= occupied[0]
    assert max(seen) < occupied[-1]
    assert len(seen) > 5
