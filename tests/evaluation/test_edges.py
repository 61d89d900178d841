"""Edges of bins follow the scores, so that the figures of bins are those of the rows, wherever the scores crowd."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from werkbund.core.arrays import AnyArray, Float32Array, Float64Array
from werkbund.core.edges import STANDARD_EDGES, checked_edges
from werkbund.core.errors import DataError
from werkbund.evaluation import (
    LASTING_EDGES,
    POSSIBLE_ERROR,
    Costs,
    Counts,
    Threshold,
    asked_well,
    average_precision,
    average_precision_bounds,
    choose_threshold,
    edges_after,
    metrics,
    possible_error,
    refined_edges,
    roc_auc,
    with_edge,
)
from werkbund.learner.counts import count_scores, logits_of

ROUNDING = 1e-9
Generator = np.random.Generator


def _on(logits: Float64Array, labels: AnyArray, offsets: AnyArray | None = None) -> Callable[[Float32Array], Counts]:
    """Return what counts these rows of some clients on edges."""
    modes = np.zeros((len(labels), 0), np.bool_)
    parts = np.array([0, len(labels)]) if offsets is None else offsets
    return lambda edges: Counts.from_arrays(count_scores(logits, labels, modes, parts, edges), edges=edges)


def _counted(logits: Float64Array, labels: AnyArray, offsets: AnyArray | None = None) -> Counts:
    return asked_well(_on(logits, labels, offsets), lambda counts: [counts], STANDARD_EDGES)


def _crowded(rng: Generator, signal: Float64Array) -> Float64Array:
    return logits_of(10 ** rng.uniform(-3, -0.5) * (1 + 10 ** rng.uniform(-4, -1) * (signal - 0.5)))


def _tiny(rng: Generator, signal: Float64Array) -> Float64Array:
    return logits_of(10 ** rng.uniform(-14, -7) * (1 + 10 ** rng.uniform(-3, 1) * signal))


def _near_one(rng: Generator, signal: Float64Array) -> Float64Array:
    return -_tiny(rng, signal.max() - signal)


def _heavy_tailed(rng: Generator, signal: Float64Array) -> Float64Array:
    return np.asarray(rng.standard_cauchy(len(signal)) * 10 ** rng.uniform(-2, 2) + 3 * signal)


def _tied(rng: Generator, signal: Float64Array) -> Float64Array:
    return logits_of(np.round(signal / (signal.max() + 0.1), int(rng.integers(1, 3))) * 0.2 + 0.01)


def _usual(rng: Generator, signal: Float64Array) -> Float64Array:
    return np.asarray(rng.normal(-4.0 + 3.0 * signal, rng.uniform(0.5, 3.0)))


def _two_crowds(rng: Generator, signal: Float64Array) -> Float64Array:
    return np.where(rng.random(len(signal)) < 0.5, _crowded(rng, signal), _tiny(rng, signal))


FAMILIES = (_crowded, _tiny, _near_one, _heavy_tailed, _tied, _usual, _two_crowds)


@pytest.mark.parametrize("family", FAMILIES)
def test_figures_of_a_thousand_random_sets_of_scores_are_those_of_scikit_learn(
    family: Callable[[Generator, Float64Array], Float64Array],
) -> None:
    """A seventh of the sets each: 100 to 1,200 rows of 1 to 20 clients, 1 to 30 % failures, scores as networks give."""
    for seed in range(143):
        rng = np.random.default_rng([seed, FAMILIES.index(family)])
        rows = int(rng.integers(100, 1_200))
        labels = (rng.random(rows) < rng.uniform(0.01, 0.3)).astype(np.int64)
        labels[:2] = 0, 1
        logits = family(rng, rng.random(rows) + labels * rng.uniform(0, 1)).astype(np.float32).astype(np.float64)
        cuts = np.sort(rng.integers(0, rows + 1, rng.integers(0, 20)))
        counts = _counted(logits, labels, np.concatenate(([0], cuts, [rows])))
        figures = (average_precision(counts), roc_auc(counts))
        exact = (oracle.average_precision_score(labels, logits), oracle.roc_auc_score(labels, logits))
        assert figures == pytest.approx(exact, abs=POSSIBLE_ERROR), seed
        low, high = average_precision_bounds(counts)
        assert low - ROUNDING <= exact[0] <= high + ROUNDING, seed


@pytest.mark.parametrize("rows", [3_000, 60_000])
@pytest.mark.parametrize(
    "probabilities",
    [
        lambda signal: 0.03 * (0.95 + 0.1 * signal),
        lambda signal: 1e-9 * (1 + 0.01 * signal),
        lambda signal: 10 ** (-6 + signal),
        lambda signal: 1 - 1e-9 * (1 + 0.01 * (1 - signal)),
    ],
    ids=["within 5 % of .03", "about 1e-9", "1e-6 to 1e-5", "about 1 - 1e-9"],
)
def test_scores_that_standard_bins_cannot_tell_apart_are_told_apart(
    probabilities: Callable[[Float64Array], Float64Array], rows: int
) -> None:
    rng = np.random.default_rng(rows)
    labels = (rng.random(rows) < 0.03).astype(np.int64)
    logits = logits_of(probabilities((rng.random(rows) + 0.4 * labels) / 1.4))
    exact = oracle.average_precision_score(labels, logits)
    standard, counts = _on(logits, labels)(STANDARD_EDGES), _counted(logits, labels)
    assert abs(average_precision(standard) - exact) > 0.005
    assert possible_error(standard) > 0.005
    assert average_precision(counts) == pytest.approx(exact, abs=POSSIBLE_ERROR)
    assert possible_error(counts) <= POSSIBLE_ERROR


def test_scores_that_are_equal_leave_no_doubt_once_their_bin_holds_no_other() -> None:
    """Those of a forest of few trees: shares of it, many of them 0."""
    rng = np.random.default_rng(0)
    labels = (rng.random(2_500) < 0.03).astype(np.int64)
    shares = np.round(20 * rng.beta(0.3 + labels, 4)) / 20
    logits = logits_of(shares)
    counts = _counted(logits, labels)
    assert average_precision(counts) == pytest.approx(oracle.average_precision_score(labels, shares))
    assert roc_auc(counts) == pytest.approx(oracle.roc_auc_score(labels, shares))
    assert possible_error(counts) <= POSSIBLE_ERROR


@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(0, 3_000),
    width=st.sampled_from([0.0, 1e-6, 0.05, 3.0, 1e30]),
    middle=st.sampled_from([-700.0, -16.0, 0.0, 3.0, 15.99]),
    keep=st.lists(st.floats(-30, 30, width=32), max_size=3),
)
@settings(max_examples=80, deadline=None)
def test_refined_edges_are_such_and_hold_what_must_stay(
    seed: int, rows: int, width: float, middle: float, keep: list[float]
) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.2).astype(np.int64)
    logits = np.append(middle + width * rng.normal(size=max(rows - 2, 0)), [np.inf, -np.inf])[:rows]
    counts, edges = _on(logits, labels), STANDARD_EDGES
    for _ in range(3):
        edges = checked_edges(refined_edges([counts(edges), counts(edges)], keep))
        assert np.isin(LASTING_EDGES, edges).all()
        assert np.isin(np.asarray(keep, np.float32), edges).all()


def test_validation_and_test_rows_share_their_edges_and_each_has_little_doubt() -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random(4_000) < 0.05).astype(np.int64)
    logits = -20.0 + 1e-3 * rng.normal(labels, 1.0)
    first, second = (_on(logits[own], labels[own]) for own in (slice(0, 1500), slice(1500, None)))
    counted = asked_well(lambda edges: [first(edges), second(edges)], lambda both: both, STANDARD_EDGES)
    assert max(map(possible_error, counted)) <= POSSIBLE_ERROR
    threshold = choose_threshold(counted[0], Costs(10.0, 1.0))
    figures = metrics(counted[1], threshold, Costs(10.0, 1.0))
    flagged = logits[1500:] >= threshold.logit
    assert figures.recall == pytest.approx(flagged[labels[1500:] > 0].mean())
    assert 0 < figures.recall < 1
    assert threshold.probability == pytest.approx(1 / (1 + np.exp(-threshold.logit)))


def test_rounds_keep_their_edges_where_figures_are_near_enough_and_others_follow_the_scores() -> None:
    rng = np.random.default_rng(2)
    labels = (rng.random(2_000) < 0.05).astype(np.int64)
    modes, offsets = np.zeros((2_000, 0), np.bool_), np.array([0, 2_000])
    near = count_scores(rng.normal(-4 + 3 * labels, 2.0), labels, modes, offsets)
    far = count_scores(-20 + 0.1 * rng.normal(labels), labels, modes, offsets)
    assert edges_after({"validation": near}, STANDARD_EDGES) is STANDARD_EDGES
    assert not np.array_equal(edges_after({"validation": near, "test": far}, STANDARD_EDGES), STANDARD_EDGES)
    assert edges_after({"validation": {"confusion": np.zeros((1, 3, 3))}}, STANDARD_EDGES) is STANDARD_EDGES
    assert edges_after({}, STANDARD_EDGES) is STANDARD_EDGES


@pytest.mark.parametrize("logit", [-20.7, -16.0, 0.0001, 0.03125, 40.0])
def test_an_edge_can_be_put_anywhere(logit: float) -> None:
    edges = checked_edges(with_edge(STANDARD_EDGES, logit))
    assert np.float32(logit) in edges
    assert np.isin(LASTING_EDGES, edges).all()
    assert with_edge(edges, logit) is edges


def test_a_threshold_that_is_no_edge_is_refused() -> None:
    counts = _on(np.zeros(3), np.array([0, 1, 0]))(STANDARD_EDGES)
    with pytest.raises(DataError, match="a threshold must be an edge of the bins, got a logit of"):
        metrics(counts, Threshold(logit=0.01), Costs(1.0, 1.0))


def test_answers_of_fewer_rows_are_no_better() -> None:
    rng = np.random.default_rng(3)
    labels = (rng.random(1_000) < 0.1).astype(np.int64)
    logits = -20 + 0.1 * rng.normal(labels)
    whole, half = _on(logits, labels), _on(logits[:500], labels[:500])
    asked: list[Float32Array] = []

    def ask(edges: Float32Array) -> Counts:
        asked.append(edges)
        return (whole if len(asked) == 1 else half)(edges)

    assert asked_well(ask, lambda counts: [counts], STANDARD_EDGES).rows == 1_000
    assert len(asked) == 2
