from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from werkbund.report.folder import Result, read_run
from werkbund.report.sections.alarms import NUM_GROUPS, grouped, logit, precision_recall, score_panels
from werkbund.report.values import Curves


@pytest.mark.parametrize("seed", range(5))
def test_the_curve_is_scikit_learns_on_the_binned_scores(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.random(400) < 0.2
    bins = np.clip(rng.normal(30, 8, 400) + 12 * labels, 0, 63).astype(int)
    rows = tuple(tuple(np.bincount(bins[labels == k], minlength=64).tolist()) for k in (False, True))
    recall, precision = precision_recall(Curves((rows[0], rows[1])))
    wanted_precision, wanted_recall, _ = metrics.precision_recall_curve(labels, bins)
    assert recall == pytest.approx(wanted_recall[:-1][::-1])
    assert precision == pytest.approx(wanted_precision[:-1][::-1])


def test_a_split_without_a_failure_has_no_curve() -> None:
    assert precision_recall(Curves(((3.0, 1.0), (0.0, 0.0)))) == ([], [])


@pytest.mark.parametrize("length", [1, 63, 64, 65, 1000, 1024])
def test_grouping_keeps_the_sum_and_the_limit(length: int) -> None:
    counts = tuple(float(k < length) * (k + 1) for k in range(1024))
    starts, width, (without, with_failure) = grouped(Curves((counts, counts[::-1])))
    assert len(starts) == len(without) == len(with_failure) <= NUM_GROUPS
    assert sum(without) == sum(with_failure) == sum(counts)
    assert np.diff(starts) == pytest.approx(width)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 1000, 1024])
def test_bins_of_any_edges_are_grouped_by_their_scores(length: int) -> None:
    edges = -3.5 + np.sort(np.random.default_rng(length).normal(0.0, 1e-3, 1023))
    counts = tuple(float(k < length) for k in range(1024))
    starts, width, (rows, _) = grouped(Curves((counts, counts), edges=tuple(edges.tolist())))
    assert len(starts) <= NUM_GROUPS
    assert sum(rows) == length
    middles = (edges[1:] + edges[:-1])[: max(length - 1, 0)] / 2
    inside = (middles >= starts[0]) & (middles < starts[-1] + width)
    assert inside[1:-1].all()


def test_logit_undoes_the_logistic_function() -> None:
    for probability in (0.001, 0.3, 0.5, 0.99):
        assert 1 / (1 + math.exp(-logit(probability))) == pytest.approx(probability)


def test_all_four_panels_are_drawn(finished: Path) -> None:
    result = read_run(finished).result
    assert result is not None
    keys = [panel.key for panel in score_panels(result)]
    assert keys == ["score-distribution", "score-precision", "score-calibration", "score-cost"]


def test_the_bars_hold_every_test_row(finished: Path) -> None:
    result = read_run(finished).result
    assert result is not None
    drawn = score_panels(result)[0].figure.data
    rows = sum(height for trace in drawn for height in trace.y if height)
    assert rows == result.scores["federated"]["rows"]


def test_without_counts_there_is_nothing_to_draw() -> None:
    assert score_panels(Result(None, "", math.nan, math.nan, {}, (), {}, {})) == ()
    empty = {"test": Curves(((0.0, 0.0), (0.0, 0.0)))}
    assert score_panels(Result(None, "", math.nan, 0.5, {}, (), empty, {})) == ()


def test_a_cost_curve_alone_is_drawn() -> None:
    curve = {"threshold": (0.0, 0.5, 1.0), "federated": (900.0, math.nan, 30.0)}
    assert score_panels(Result(None, "", math.nan, 0.5, {}, (), {}, curve)) == ()
    curve = {"threshold": (0.1, 0.5, 0.9), "federated": (900.0, 10.0, 30.0)}
    (panel,) = score_panels(Result(None, "", math.nan, 0.5, {}, (), {}, curve))
    assert list(panel.figure.data[0].y) == [900.0, 10.0, 30.0]


def test_a_single_score_is_drawn_in_its_own_bin() -> None:
    counts = tuple(float(k == 600) for k in range(1024))
    panel = score_panels(Result(None, "", math.nan, 0.5, {}, (), {"test": Curves((counts, (0.0,) * 1024))}, {}))[0]
    bar = panel.figure.data[0]
    assert (bar.x[0] - bar.width / 2, bar.x[0] + bar.width / 2) == (600 / 32 - 16, 601 / 32 - 16)
