"""Figures of each client are those of its rows alone; clients that define none are left out, never counted as 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from werkbund.core.errors import ConfigError, DataError
from werkbund.evaluation import (
    Costs,
    Counts,
    Metrics,
    Threshold,
    metrics,
    per_client,
    spread,
    values_of,
    worst_client,
)
from werkbund.learner.counts import count_scores

COSTS = Costs(10.0, 1.0)
MODES = ("heat", "power", "strain")
EMPTY = metrics(Counts.empty(), Threshold.of_bin(512), COSTS)


def having(metric: str, *values: float) -> tuple[Metrics, ...]:
    changes: list[dict[str, Any]] = [{metric: value} for value in values]
    return tuple(replace(EMPTY, **change) for change in changes)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_a_client_are_those_of_its_rows_alone(scored: Callable[..., Any], seed: int) -> None:
    rows = scored(seed)
    together = per_client(rows.arrays, Threshold.of_bin(440), COSTS, MODES)
    assert len(together) == len(rows.offsets) - 1
    for i, figures in enumerate(together):
        own = slice(rows.offsets[i], rows.offsets[i + 1])
        alone = count_scores(rows.logits[own], rows.labels[own], rows.modes[own], np.array([0, own.stop - own.start]))
        expected = metrics(Counts.from_arrays(alone), Threshold.of_bin(440), COSTS, MODES)
        assert figures.to_json() == expected.to_json()


def test_one_client_has_the_pooled_metrics(scored: Callable[..., Any]) -> None:
    rows = scored(0, clients=1)
    (alone,) = per_client(rows.arrays, Threshold.of_bin(440), COSTS, MODES)
    assert alone == metrics(rows.counts, Threshold.of_bin(440), COSTS, MODES)


def test_clients_without_rows_or_positives_survive(scored: Callable[..., Any]) -> None:
    rows = scored(0, rate=0.0)
    arrays = count_scores(rows.logits, rows.labels, rows.modes, np.array([0, 0, 400, 400]))
    figures = per_client(arrays, Threshold.of_bin(440), COSTS, MODES)
    assert [client.rows for client in figures] == [0, 400, 0]
    assert worst_client(figures, ["a", "b", "c"], "average_precision") is None
    worst = worst_client(figures, ["a", "b", "c"], "cost")
    assert worst is not None
    assert worst.name == "b"


def test_worst_client_is_lowest_where_more_is_better() -> None:
    worst = worst_client(having("f1", 0.8, math.nan, 0.3, 0.3), ["a", "b", "c", "d"], "f1")
    assert worst is not None
    assert (worst.metric, worst.name, worst.value) == ("f1", "c", 0.3)


def test_worst_client_is_highest_where_less_is_better() -> None:
    worst = worst_client(having("cost", math.nan, 12.0, 90.0, 3.0), ["a", "b", "c", "d"], "cost")
    assert worst is not None
    assert (worst.name, worst.value) == ("c", 90.0)


def test_no_client_has_no_worst() -> None:
    assert worst_client((), [], "f1") is None


def test_spread_is_that_of_the_clients_that_define_the_metric() -> None:
    values = np.random.default_rng(0).random(9)
    summary = spread(having("brier", *values, math.nan), "brier")
    quartiles = [summary.lowest, summary.lower_quartile, summary.median, summary.upper_quartile, summary.highest]
    np.testing.assert_allclose(quartiles, np.sort(values)[[0, 2, 4, 6, 8]])
    assert summary.num_clients == 9
    assert summary.mean == pytest.approx(values.mean())


def test_spread_over_no_client_is_undefined() -> None:
    summary = spread(having("brier", math.nan), "brier")
    assert summary.num_clients == 0
    assert math.isnan(summary.mean)
    assert math.isnan(summary.median)


def test_unknown_metric_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"one of average_precision, .* got 'accuracy'"):
        values_of((), "accuracy")


def test_names_must_be_one_a_client() -> None:
    with pytest.raises(DataError, match="one for each of 1 clients, got 2"):
        worst_client((EMPTY,), ["a", "b"], "f1")


def test_arrays_without_histogram_are_refused() -> None:
    with pytest.raises(DataError, match="must hold a histogram"):
        per_client({}, Threshold.of_bin(512), COSTS)
