"""What one client's counts say must be true together, whatever the scores; each way of lying about them is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.arrays import AnyArray, Arrays
from werkbund.learner.counts import MOST_LOG_LOSS, contradictions, count_scores

Lie = Callable[[AnyArray], AnyArray]


def _counts(seed: int, sizes: tuple[int, ...] = (40, 0, 25), spread: float = 8.0) -> Arrays:
    rng, rows = np.random.default_rng(seed), sum(sizes)
    logits = rng.normal(0, spread, rows)
    logits[rng.random(rows) < 0.1] = np.inf
    labels = (rng.random(rows) < 0.3).astype(np.float64)
    modes = (labels[:, None] > 0) & (rng.random((rows, 2)) < 0.5)
    return count_scores(logits, labels, modes, np.concatenate([[0], np.cumsum(sizes)]))


@given(st.integers(0, 10_000), st.floats(0.001, 1e6), st.lists(st.integers(0, 300), min_size=1, max_size=4))
def test_counts_of_rows_never_contradict_one_another(seed: int, spread: float, sizes: list[int]) -> None:
    counts = _counts(seed, tuple(sizes), spread)
    assert contradictions(counts) == {}
    assert contradictions({name: array.astype(np.float64) for name, array in counts.items()}) == {}


def test_nor_where_a_rare_mode_was_withheld() -> None:
    counts = _counts(1)
    assert contradictions({**counts, "modes": np.zeros_like(counts["modes"])}) == {}


def _at(place: tuple[int, ...], value: float) -> Lie:
    def lie(old: AnyArray) -> AnyArray:
        new = old.copy()
        new[(2, *place)] = value
        return new

    return lie


LIES: dict[str, tuple[str, Lie, str]] = {
    "many perfect rows": ("histogram", _at((0, 0), 10**9), "other rows in its deciles"),
    "half a row": ("histogram", lambda old: old + 0.25 * (np.arange(old.shape[-1]) == 3), "not whole"),
    "a Brier score of two a row": ("brier", _at((), 50.0), "squared errors"),
    "a log loss beyond what a row can have": ("log_loss", _at((), 25 * MOST_LOG_LOSS + 1), "log loss above"),
    "rows in a decile that are nowhere else": ("calibration", _at((4, 0), 1e6), "other rows"),
    "failures in a decile that are nowhere else": ("calibration", _at((4, 2), 1e6), "other failures"),
    "a decile of failures alone": ("calibration", lambda old: old[..., ::-1].copy(), "decile"),
    "scores above 1": ("calibration", _at((9, 1), 1e6), "scores above 1"),
    "a mode of more rows than failures": ("modes", _at((1, 7), 26), "failure mode"),
    "no rows at all": ("histogram", lambda old: old * np.array([1, 1, 0])[:, None, None], "other rows"),
}


@pytest.mark.parametrize("name", LIES)
def test_each_way_of_lying_is_found_at_the_client_that_lies(name: str) -> None:
    part, lie, said = LIES[name]
    counts = _counts(2)
    found = contradictions({**counts, part: lie(counts[part])})
    assert any(said in what for what in found)
    assert all(where[2] or "decile" in name for where in found.values())
    if "half" not in name and "alone" not in name:
        assert not any(where[0] for where in found.values())


def test_counts_of_another_form_are_compared_with_nothing() -> None:
    assert contradictions({"confusion": np.full((1, 3, 3), -1), "log_loss": np.array([1e9])}) == {}
