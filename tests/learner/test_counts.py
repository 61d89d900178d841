"""Counts of many clients at once are what each client counts alone, and what a plain loop over rows counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from werkbund.core.arrays import AnyArray, BoolArray, Float32Array, Int64Array
from werkbund.core.edges import BINS_PER_LOGIT, LOWEST_LOGIT, NUM_BINS
from werkbund.core.errors import ClientError, DataError
from werkbund.learner.counts import (
    bins_of,
    count_scores,
    edge,
    logits_of,
)

Rows = tuple[Float32Array, Float32Array, BoolArray, Int64Array]


def rows_of_clients(seed: int, sizes: list[int], num_modes: int = 3, spread: float = 6.0) -> Rows:
    rng = np.random.default_rng(seed)
    rows = sum(sizes)
    logits = rng.normal(-2.0, spread, rows).astype(np.float32)
    labels = (rng.random(rows) < 0.2).astype(np.float32)
    modes = rng.random((rows, num_modes)) < 0.4
    return logits, labels, modes, np.cumsum([0, *sizes])


def assert_same(left: dict[str, AnyArray], right: dict[str, AnyArray]) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name], err_msg=name)


ROUNDING = 2.0**-30
"""What is lost of each row's error, so that sums are the same in any grouping."""

SIZES = st.lists(st.integers(0, 30), min_size=1, max_size=8)
SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, SIZES)
@settings(max_examples=40, deadline=None)
def test_each_client_counts_the_same_bits_alone(seed: int, sizes: list[int]) -> None:
    logits, labels, modes, offsets = rows_of_clients(seed, sizes)
    together = count_scores(logits, labels, modes, offsets)
    for i in range(len(sizes)):
        own = slice(int(offsets[i]), int(offsets[i + 1]))
        alone = count_scores(logits[own], labels[own], modes[own], np.array([0, sizes[i]]))
        assert_same({name: array[i : i + 1] for name, array in together.items()}, alone)


@given(SEEDS, SIZES)
@settings(max_examples=40, deadline=None)
def test_counts_of_clients_add_up_to_counts_of_their_rows(seed: int, sizes: list[int]) -> None:
    logits, labels, modes, offsets = rows_of_clients(seed, sizes)
    parts = count_scores(logits, labels, modes, offsets)
    whole = count_scores(logits, labels, modes, offsets[[0, -1]])
    for name, array in parts.items():
        np.testing.assert_array_equal(array.sum(axis=0), whole[name][0], err_msg=name)  # to the last bit
    np.testing.assert_array_equal(parts["histogram"].sum(axis=0), whole["histogram"][0])


def test_histograms_are_those_of_a_plain_loop_over_rows() -> None:
    logits, labels, modes, offsets = rows_of_clients(3, [40, 0, 25, 1], spread=9.0)
    histogram, by_mode = np.zeros((4, 2, NUM_BINS), int), np.zeros((4, 3, NUM_BINS), int)
    for client in range(4):
        for row in range(offsets[client], offsets[client + 1]):
            place = math.floor((float(logits[row]) - LOWEST_LOGIT) * BINS_PER_LOGIT)
            place = min(max(place, 0), NUM_BINS - 1)
            histogram[client, int(labels[row]), place] += 1
            for mode in range(3):
                by_mode[client, mode, place] += bool(labels[row] == 1 and modes[row, mode])
    counts = count_scores(logits, labels, modes, offsets)
    np.testing.assert_array_equal(counts["histogram"], histogram)
    np.testing.assert_array_equal(counts["modes"], by_mode)


@pytest.mark.parametrize("seed", range(5))
def test_sums_of_errors_are_those_of_scikit_learn(seed: int) -> None:
    logits, labels, modes, offsets = rows_of_clients(seed, [300], spread=4.0)
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    counts = count_scores(logits, labels, modes, offsets)
    assert counts["brier"][0] == pytest.approx(300 * brier_score_loss(labels, probabilities), abs=300 * ROUNDING)
    assert counts["log_loss"][0] == pytest.approx(
        log_loss(labels, probabilities, normalize=False), rel=1e-9, abs=300 * ROUNDING
    )


@pytest.mark.parametrize("seed", range(5))
def test_calibration_is_that_of_a_plain_loop_over_rows(seed: int) -> None:
    logits, labels, modes, offsets = rows_of_clients(seed, [50, 7], spread=2.0)
    expected = np.zeros((2, 10, 3))
    for row, logit in enumerate(logits.astype(float)):
        probability = 1 / (1 + math.exp(-logit))
        expected[int(row >= 50), min(int(probability * 10), 9)] += [1, probability, labels[row]]
    actual = count_scores(logits, labels, modes, offsets)["calibration"]
    np.testing.assert_allclose(actual, expected, atol=200 * ROUNDING)


def test_client_without_rows_counts_zeros() -> None:
    logits, labels, modes, offsets = rows_of_clients(0, [0, 5, 0])
    counts = count_scores(logits, labels, modes, offsets)
    assert all((array[[0, 2]] == 0).all() for array in counts.values())
    assert counts["histogram"][1].sum() == 5


def test_no_client_and_no_mode_give_empty_counts() -> None:
    logits, labels, modes, offsets = rows_of_clients(0, [], num_modes=0)
    shapes = {name: array.shape for name, array in count_scores(logits, labels, modes, offsets).items()}
    assert shapes == {
        "histogram": (0, 2, NUM_BINS),
        "modes": (0, 0, NUM_BINS),
        "brier": (0,),
        "log_loss": (0,),
        "calibration": (0, 10, 3),
        "spread": (0,),
    }


def test_types_are_integers_for_counts_and_doubles_for_sums() -> None:
    kinds = {name: array.dtype for name, array in count_scores(*rows_of_clients(1, [4, 2])).items()}
    whole = dict.fromkeys(("histogram", "modes", "spread"), np.dtype(np.int64))
    assert kinds == whole | dict.fromkeys(("brier", "log_loss", "calibration"), np.dtype(np.float64))


@given(st.integers(1, NUM_BINS - 1))
def test_bin_holds_its_lower_edge_and_nothing_below(bin_number: int) -> None:
    lower = float(edge(bin_number))
    assert bins_of([lower, np.nextafter(lower, -np.inf)]).tolist() == [bin_number, bin_number - 1]


@given(st.floats(allow_nan=False), st.integers(1, NUM_BINS - 1))
def test_logit_is_in_a_bin_or_above_exactly_if_at_least_its_edge(logit: float, bin_number: int) -> None:
    assert (bins_of(logit) >= bin_number) == (logit >= edge(bin_number))


def test_infinite_scores_are_counted_with_finite_sums() -> None:
    logits = np.array([np.inf, -np.inf, np.inf, -np.inf])
    labels = np.array([1.0, 0.0, 0.0, 1.0])
    counts = count_scores(logits, labels, np.zeros((4, 0), bool), np.array([0, 2, 4]))
    np.testing.assert_allclose(counts["brier"], [0, 2], atol=1e-12)
    np.testing.assert_allclose(counts["log_loss"], [0, -2 * np.log(np.finfo(float).eps)], atol=2 * ROUNDING)
    assert counts["histogram"][0, 1, NUM_BINS - 1] == counts["histogram"][1, 1, 0] == 1


@given(st.floats(-30, 16))
def test_logits_of_undoes_the_logistic_function(logit: float) -> None:
    assert logits_of(1 / (1 + math.exp(-logit))) == pytest.approx(logit, abs=1e-8)


def test_score_that_is_not_a_number_names_the_clients() -> None:
    logits, labels, modes, offsets = rows_of_clients(0, [2, 3, 1])
    logits[[2, 5]] = np.nan
    with pytest.raises(ClientError, match=r"got 2 that are not .* \[1, 2\] .*learning rate"):
        count_scores(logits, labels, modes, offsets)


def test_scores_of_another_shape_are_refused() -> None:
    logits, labels, modes, offsets = rows_of_clients(0, [4])
    with pytest.raises(DataError, match=r"\(4, 1\).*flatten"):
        count_scores(logits[:, None], labels, modes, offsets)


@pytest.mark.parametrize("offsets", [[0, 3], [1, 4], [0, 3, 2, 4], []])
def test_offsets_that_do_not_rise_to_the_rows_are_refused(offsets: list[int]) -> None:
    logits, labels, modes, _ = rows_of_clients(0, [4])
    with pytest.raises(DataError, match="offsets must rise from 0 to the number of rows, 4"):
        count_scores(logits, labels, modes, np.array(offsets))
