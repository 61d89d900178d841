from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from werkbund.core.errors import ConfigError
from werkbund.evaluation import DIRECTIONS, Metrics
from werkbund.evaluation.acceptance import Gate

ONE = Metrics(100, 5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 10.0, 0.1, 0.3, 0.05)
NAN: dict[str, Any] = {"average_precision": math.nan, "roc_auc": math.nan}


def _verdict(gate: Gate, present: Metrics | None, **offered: Any) -> tuple[bool, str]:
    return gate.verdict(replace(ONE, **offered), present, "the model in use")


@pytest.mark.parametrize("metric", DIRECTIONS)
@pytest.mark.parametrize("step", [-0.125, 0.0, 0.125])
def test_better_and_equal_is_taken_and_worse_is_not(metric: str, step: float) -> None:
    value = getattr(ONE, metric) + step
    accepted, _ = _verdict(Gate(metric), ONE, **{metric: value})
    assert accepted is (step * DIRECTIONS[metric] >= 0)


@pytest.mark.parametrize("metric", DIRECTIONS)
def test_worse_by_no_more_than_the_tolerance_is_taken(metric: str) -> None:
    gate, old = Gate(metric, 0.125), getattr(ONE, metric)
    for worse, taken in ((0.125, True), (0.25, False)):
        accepted, reason = _verdict(gate, ONE, **{metric: old - worse * DIRECTIONS[metric]})
        assert accepted is taken
        assert ("worse by more than the tolerance of 0.125" in reason) is not taken


def test_the_reason_says_both_figures_and_what_the_other_is() -> None:
    accepted, reason = _verdict(Gate("brier"), ONE, brier=0.25)
    assert not accepted
    assert "0.2500 against 0.1000 of the model in use" in reason


def test_a_plant_that_has_nothing_takes_what_it_gets() -> None:
    assert _verdict(Gate(), None)[0] is True


def test_without_held_out_rows_there_is_nothing_to_judge_by() -> None:
    accepted, reason = _verdict(Gate(), ONE, rows=0, log_loss=math.nan, average_precision=math.nan)
    assert accepted
    assert "no held-out rows" in reason


@pytest.mark.parametrize("who", ["offered", "present"])
@pytest.mark.parametrize(("log_loss", "taken"), [(0.2, True), (0.4, False)])
def test_where_the_rows_do_not_define_the_metric_log_loss_decides(who: str, log_loss: float, taken: bool) -> None:
    offered, present = replace(ONE, log_loss=log_loss), ONE
    if who == "offered":
        offered = replace(offered, **NAN)
    else:
        present = replace(present, **NAN)
    accepted, reason = Gate("average_precision").verdict(offered, present, "it")
    assert accepted is taken
    assert reason.replace(" ", "_").startswith("log_loss")


def test_a_model_without_any_figure_is_not_taken() -> None:
    assert _verdict(Gate(), ONE, log_loss=math.nan, **NAN)[0] is False
    assert _verdict(Gate("brier"), ONE, brier=math.inf, log_loss=math.inf)[0] is False


def test_a_metric_or_a_tolerance_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"acceptance\.metric must be one of"):
        Gate("accuracy")
    for tolerance in (-0.1, math.nan):
        with pytest.raises(ConfigError, match=r"acceptance\.tolerance must be at least 0"):
            Gate("brier", tolerance)
