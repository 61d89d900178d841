"""Reasons name what the model went by: the quantity that a failure follows from, in words that can be checked."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.causes import count
from werkbund.config import load_config
from werkbund.core.arrays import Float64Array
from werkbund.data import rules
from werkbund.federation import Run
from werkbund.inference import Reasons, Scorer, sentence
from werkbund.model import Explanation


def test_parts_add_up_to_the_score(done: Run, rows: pl.DataFrame) -> None:
    explanation = done.model.explain(rows)
    assert explanation.additive
    total = explanation.parts.sum(axis=1) + explanation.expected
    np.testing.assert_allclose(total, done.model.logits(rows), atol=1e-4)


def test_the_first_reasons_name_the_cause_of_what_is_announced(done: Run) -> None:
    """Of generated rows, whose modes the model does not see; `benchmarks/causes.py` counts on the real file."""
    counted = count(done.model, load_config(done.folder / "config.toml"))["all"]
    assert counted["rows"] >= 15
    assert counted["first three"] >= 0.9 * counted["rows"]
    assert counted["others, first"] <= 0.2 * counted["rows"]


def _reasons(scorer: Scorer, frame: pl.DataFrame, parts: dict[str, float]) -> str:
    names = scorer.preparation.raw_names
    given: Float64Array = np.array([[parts.get(name, 0.0) for name in names]])
    (told,) = Reasons(scorer.preparation).of(frame, Explanation(names, given, 0.0, "logit", True), np.ones(1, np.bool_))
    return sentence(told, "failure", True)


@pytest.fixture
def overloaded(rows: pl.DataFrame) -> pl.DataFrame:
    return rows[:1].with_columns(
        pl.lit(70.0).alias(rules.TORQUE), pl.lit(200).alias(rules.WEAR), pl.lit(1300).alias(rules.SPEED)
    )


def test_a_derived_feature_and_its_parts_are_one_reason(scorer: Scorer, overloaded: pl.DataFrame) -> None:
    told = _reasons(scorer, overloaded, {"overstrain": 2.0, rules.TORQUE: 1.0, rules.WEAR: 1.0, rules.AIR: -1.0})
    assert told.startswith("for failure: overstrain 14,000 min Nm (usual ")
    assert told.endswith("; from Tool wear 200 min, Torque 70 Nm): 100%")


def test_a_number_goes_to_one_reason_alone(scorer: Scorer, overloaded: pl.DataFrame) -> None:
    told = _reasons(scorer, overloaded, {"overstrain": 3.0, rules.TORQUE: 1.0, "power": 4.0})
    assert [each.split(": ")[-1] for each in told.split("%; ")] == ["62", "38%"]
    assert told.index("power") < told.index("overstrain")


def test_a_number_that_is_left_goes_to_the_quantity_that_is_unusual(scorer: Scorer, overloaded: pl.DataFrame) -> None:
    told = _reasons(scorer, overloaded, {rules.TORQUE: 1.0, "power": -0.1, "overstrain": -0.1})
    assert told.startswith("for failure: overstrain 14,000 min Nm")  # 3.4 standard deviations; power is at 3
    fresh = overloaded.with_columns(pl.lit(1).alias(rules.WEAR), pl.lit(860).alias(rules.SPEED))
    assert _reasons(scorer, fresh, {rules.TORQUE: 1.0, "power": -0.1}).startswith("for failure: Torque 70 Nm")


def test_small_parts_are_no_reasons_and_none_speaks_against_the_decision(
    scorer: Scorer, overloaded: pl.DataFrame
) -> None:
    told = _reasons(scorer, overloaded, {rules.AIR: 1.0, rules.TYPE: 0.01, rules.WEAR: -3.0})
    assert told.count("%") == 1
    assert _reasons(scorer, overloaded, {rules.AIR: -1.0}) == ""
