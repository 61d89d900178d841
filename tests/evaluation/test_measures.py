"""Metrics of counts are scikit-learn's metrics of the rows."""

from __future__ import annotations

import json
import math
import timeit
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as oracle

from werkbund.core.errors import ConfigError, DataError
from werkbund.evaluation import DIRECTIONS, Costs, Counts, Gate, Metrics, Threshold, metrics

COSTS = Costs(10.0, 1.0)
MODES = ("heat", "power", "strain")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("place", [400, 450, 512])
def test_decision_metrics_are_those_of_scikit_learn(scored: Callable[..., Any], seed: int, place: int) -> None:
    rows = scored(seed, rows=1000)
    flagged = rows.bins >= place
    figures = metrics(rows.counts, Threshold.of_bin(place), COSTS, MODES)
    assert figures.f1 == pytest.approx(oracle.f1_score(rows.labels, flagged))
    assert figures.recall == pytest.approx(oracle.recall_score(rows.labels, flagged))
    assert figures.precision == pytest.approx(oracle.precision_score(rows.labels, flagged))
    for number, name in enumerate(MODES):
        of_mode = rows.modes[:, number] & (rows.labels > 0)
        assert figures.recall_by_mode[name] == pytest.approx(flagged[of_mode].mean())


@pytest.mark.parametrize("seed", range(4))
def test_probability_metrics_are_those_of_scikit_learn(scored: Callable[..., Any], seed: int) -> None:
    rows = scored(seed)
    probabilities = 1 / (1 + np.exp(-rows.logits))
    figures = metrics(rows.counts, Threshold.of_bin(512), COSTS, MODES)
    assert figures.brier == pytest.approx(oracle.brier_score_loss(rows.labels, probabilities))
    assert figures.log_loss == pytest.approx(oracle.log_loss(rows.labels, probabilities))
    assert (figures.rows, figures.positives) == (len(rows.labels), rows.labels.sum())


def test_cost_is_per_1000_rows_in_the_currency_of_the_costs(scored: Callable[..., Any]) -> None:
    rows = scored(3)
    missed = ((rows.labels > 0) & (rows.bins < 450)).sum()
    needless = ((rows.labels == 0) & (rows.bins >= 450)).sum()
    figures = metrics(rows.counts, Threshold.of_bin(450), COSTS, MODES)
    assert figures.cost == pytest.approx(1000 * (10 * missed + needless) / len(rows.labels))


def test_client_without_positives_has_undefined_ranking_and_a_cost(scored: Callable[..., Any]) -> None:
    rows = scored(0, rate=0.0)
    figures = metrics(rows.counts, Threshold.of_bin(400), COSTS, MODES)
    undefined = {name for name in DIRECTIONS if math.isnan(getattr(figures, name))}
    assert undefined == {"average_precision", "roc_auc", "f1", "recall", *OF_NUMBERS}
    assert figures.precision == 0.0
    assert figures.recall_by_mode == dict.fromkeys(MODES)


def test_no_row_leaves_every_metric_undefined() -> None:
    figures = metrics(Counts.empty(), Threshold.of_bin(512), COSTS)
    assert all(math.isnan(getattr(figures, name)) for name in DIRECTIONS)
    assert figures.rows == figures.positives == 0


def test_nothing_called_a_failure_has_recall_and_f1_0_and_no_precision(scored: Callable[..., Any]) -> None:
    figures = metrics(scored(0).counts, Threshold.of_bin(1023), COSTS, MODES)
    assert (figures.recall, figures.f1) == (0.0, 0.0)
    assert math.isnan(figures.precision)


def test_json_has_none_for_what_is_undefined_and_every_field() -> None:
    plain = metrics(Counts.empty(1), Threshold.of_bin(512), COSTS, ["heat"]).to_json()
    assert list(plain) == [field.name for field in fields(Metrics)]
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["f1"] is None
    assert plain["threshold"] == 0.5
    assert plain["recall_by_mode"] == {"heat": None}


def test_every_direction_is_that_of_a_metric() -> None:
    bounds = {f"{name}_{side}" for name in ("average_precision", "roc_auc") for side in ("low", "high")}
    beside = {"rows", "positives", "threshold", "recall_by_mode", "bias", "close"} | bounds
    assert set(DIRECTIONS) == {field.name for field in fields(Metrics)} - beside


def test_names_must_fit_the_modes_counted(scored: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r"must name 3 failure modes, got \['heat'\]"):
        metrics(scored(0).counts, Threshold.of_bin(512), COSTS, ["heat"])


def test_metrics_take_less_than_a_millisecond(scored: Callable[..., Any]) -> None:
    counts = scored(0).counts
    seconds = min(timeit.repeat(lambda: metrics(counts, Threshold.of_bin(450), COSTS, MODES), number=10, repeat=20))
    assert seconds / 10 < 1e-3


FIGURES = Metrics(100, 5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 10.0, 0.1, 0.3, 0.05, rmse=9.0, mae=7.0, nasa_score=50.0)
OF_NUMBERS = ("rmse", "mae", "nasa_score")
GATE = Gate("average_precision", 0.0)
NAN: dict[str, Any] = {"average_precision": math.nan, "roc_auc": math.nan}


def _offer(gate: Gate, present: Metrics | None, **offered: Any) -> tuple[bool, str]:
    return gate.verdict(replace(FIGURES, **offered), present, "the model in use")


@pytest.mark.parametrize("metric", DIRECTIONS)
@pytest.mark.parametrize("step", [-0.125, 0.0, 0.125])
def test_better_and_equal_is_taken_and_worse_is_not(metric: str, step: float) -> None:
    value = getattr(FIGURES, metric) + step
    accepted, _ = _offer(Gate(metric, 0.0), FIGURES, **{metric: value})
    assert accepted is (step * DIRECTIONS[metric] >= 0)


@pytest.mark.parametrize("metric", DIRECTIONS)
def test_worse_by_no_more_than_the_tolerance_is_taken(metric: str) -> None:
    gate, old = Gate(metric, 0.125), getattr(FIGURES, metric)
    for worse, taken in ((0.125, True), (0.25, False)):
        accepted, reason = _offer(gate, FIGURES, **{metric: old - worse * DIRECTIONS[metric]})
        assert accepted is taken
        assert ("worse by more than the tolerance of 0.125" in reason) is not taken


def test_the_reason_says_both_figures_and_what_the_other_is() -> None:
    accepted, reason = _offer(Gate("brier", 0.0), FIGURES, brier=0.25)
    assert not accepted
    assert "0.2500 against 0.1000 of the model in use" in reason


def test_a_plant_that_has_nothing_takes_what_it_gets() -> None:
    assert _offer(GATE, None)[0] is True


def test_without_held_out_rows_there_is_nothing_to_judge_by() -> None:
    accepted, reason = _offer(GATE, FIGURES, rows=0, log_loss=math.nan, average_precision=math.nan)
    assert accepted
    assert "no held-out rows" in reason


@pytest.mark.parametrize("who", ["offered", "present"])
@pytest.mark.parametrize(("log_loss", "taken"), [(0.2, True), (0.4, False)])
def test_where_the_rows_do_not_define_the_metric_log_loss_decides(who: str, log_loss: float, taken: bool) -> None:
    offered, present = replace(FIGURES, log_loss=log_loss), FIGURES
    if who == "offered":
        offered = replace(offered, **NAN)
    else:
        present = replace(present, **NAN)
    accepted, reason = GATE.verdict(offered, present, "it")
    assert accepted is taken
    assert reason.replace(" ", "_").startswith("log_loss")


def test_a_model_without_any_figure_is_not_taken() -> None:
    assert _offer(GATE, FIGURES, log_loss=math.nan, **NAN)[0] is False
    assert _offer(Gate("brier", 0.0), FIGURES, brier=math.inf, log_loss=math.inf)[0] is False


def test_a_metric_or_a_tolerance_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"acceptance\.metric must be one of"):
        Gate("accuracy", 0.0)
    for tolerance in (-0.1, math.nan):
        with pytest.raises(ConfigError, match=r"acceptance\.tolerance must be at least 0"):
            Gate("brier", tolerance)
