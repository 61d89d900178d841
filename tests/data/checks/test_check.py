"""Each check finds its fault, and nothing in a table without one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from werkbund.data.checks import Finding, check
from werkbund.data.checks.labels import ranking_auc
from werkbund.data.schema import Column, Schema
from werkbund.data.table import Origin, Table
from werkbund.data.units import MISTAKEN

ROWS = 600
FEATURES = (
    Column("temperature", "number", "K", 280, 320),
    Column("speed", "number", "rpm"),
    Column("Type", "category"),
)


def clean() -> pl.DataFrame:
    """Return readings of three plants without any fault; the label depends on nothing."""
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "temperature": rng.normal(300, 2, ROWS),
            "speed": rng.normal(1500, 100, ROWS),
            "Type": rng.choice(["L", "M", "H"], ROWS),
            "site": np.repeat(["Ulm", "Jena", "Graz"], ROWS // 3),
            "machine": np.arange(ROWS) // 50,
            "y": (rng.random(ROWS) < 0.2).astype(int),
        }
    )


def findings(frame: pl.DataFrame, **changes: Any) -> dict[str, list[Finding]]:
    """Return the findings by rule."""
    arguments: dict[str, Any] = {"label": "y", "features": FEATURES, "client": "site", "machine": "machine"}
    by_rule: dict[str, list[Finding]] = {}
    for finding in check(Table(frame, Schema(**(arguments | changes)), Origin("generator"))):
        by_rule.setdefault(finding.rule, []).append(finding)
    return by_rule


def only(by_rule: dict[str, list[Finding]], rule: str) -> Finding:
    """Return the one finding, which must be the only one."""
    assert set(by_rule) == {rule}
    assert len(by_rule[rule]) == 1
    return by_rule[rule][0]


def where(column: str, rows: Any, value: Any) -> pl.DataFrame:
    """Return the clean table with another value in some rows."""
    mask = pl.int_range(pl.len()).is_in(list(rows))
    return clean().with_columns(pl.when(mask).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))


def test_a_clean_table_has_no_finding() -> None:
    assert findings(clean()) == {}


def test_a_finding_goes_through_json() -> None:
    finding = only(findings(where("speed", [3], None)), "missing")
    values = json.loads(json.dumps(finding.to_json()))
    assert Finding(**{**values, "clients": tuple(values["clients"])}) == finding


def test_errors_come_first() -> None:
    frame = where("speed", [3], None).with_columns(y=pl.lit(0), temperature=pl.lit(300.0))
    reported = check(Table(frame, Schema("y", FEATURES), Origin("generator")))
    assert [finding.level for finding in reported] == ["error", "warning", "note"]


@pytest.mark.parametrize("blank", [None, float("nan")])
@pytest.mark.parametrize(("rows", "level"), [(6, "note"), (60, "warning")])
def test_missing_values_are_counted(blank: float | None, rows: int, level: str) -> None:
    finding = only(findings(where("speed", range(0, 10 * rows, 10), blank)), "missing")
    assert (finding.level, finding.column, finding.rows) == (level, "speed", rows)
    assert f"{rows} of 600 rows ({rows / 6:.2g} %)" in finding.message


@pytest.mark.parametrize("blank", [None, float("nan")])
def test_a_column_without_values_is_empty(blank: float | None) -> None:
    finding = only(findings(clean().with_columns(speed=pl.lit(blank, dtype=pl.Float64))), "empty")
    assert (finding.level, finding.column, finding.rows) == ("warning", "speed", ROWS)


@pytest.mark.parametrize(("column", "value"), [("speed", 1500.0), ("Type", "L")])
def test_a_constant_is_found_also_among_missing_values(column: str, value: Any) -> None:
    frame = clean().with_columns(pl.lit(value).alias(column))
    assert only(findings(frame), "constant").column == column
    holes = frame.with_columns(pl.when(pl.int_range(pl.len()) > 3).then(pl.col(column)).alias(column))
    assert set(findings(holes)) == {"constant", "missing"}


def test_values_out_of_range_are_counted_with_the_worst() -> None:
    frame = clean()
    frame[0, "temperature"], frame[1, "temperature"], frame[2, "temperature"] = 321.0, 200.0, 320.0
    finding = only(findings(frame), "range")
    assert finding.rows == 2
    assert "280..320 K, the worst is 200;" in finding.message


def test_a_text_declared_a_number_is_an_error_with_examples() -> None:
    frame = clean().with_columns(pl.col("speed").cast(pl.String))
    mixed = frame.with_columns(speed=pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("off")).otherwise("speed"))
    finding = only(findings(mixed), "type")
    assert (finding.level, finding.column, finding.rows) == ("error", "speed", 3)
    assert "such as 'off'" in finding.message
    assert "stored as text" in only(findings(frame), "type").message


def test_a_time_declared_a_number_is_an_error() -> None:
    frame = clean().with_columns(speed=pl.datetime(2024, 1, 1) + pl.duration(hours=pl.int_range(pl.len())))
    assert only(findings(frame), "type").level == "error"


def test_a_measurement_declared_a_category_is_found() -> None:
    features = (*FEATURES[:1], Column("speed", "category"))
    assert {"type", "many-categories"} <= set(findings(clean(), features=features))


def test_a_list_can_be_neither_number_nor_category() -> None:
    frame = clean().with_columns(speed=pl.concat_list("speed", "temperature"))
    for kind in ("number", "category"):
        features = (*FEATURES[:1], Column("speed", kind))
        assert findings(frame, features=features)["type"][0].level == "error"


@pytest.mark.parametrize(("factor", "offset", "other"), [(1, -273.15, "°C"), (1.8, -459.67, "°F")])
def test_kelvin_that_look_like_another_unit_are_found(factor: float, offset: float, other: str) -> None:
    frame = clean().with_columns(pl.col("temperature") * factor + offset)
    by_rule = findings(frame)
    assert set(by_rule) == {"unit", "range"}
    assert len(by_rule["unit"]) == 1
    assert f"looks like {other}" in by_rule["unit"][0].message
    ranged = findings(frame, features=(Column("temperature", "number", "kelvin"), *FEATURES[1:]))
    assert f"looks like {other}" in only(ranged, "unit").message or other == "°F"


@pytest.mark.parametrize("divisor", [60.0, 30 / np.pi])
@pytest.mark.parametrize("unit", ["rpm", "1/min"])
def test_one_client_with_another_unit_is_named(divisor: float, unit: str) -> None:
    at_jena = pl.col("site") == "Jena"
    frame = clean().with_columns(speed=pl.when(at_jena).then(pl.col("speed") / divisor).otherwise("speed"))
    finding = only(findings(frame, features=(FEATURES[0], Column("speed", "number", unit), FEATURES[2])), "unit")
    assert "median at client Jena" in finding.message
    assert finding.rows == ROWS // 3


def test_one_client_in_celsius_is_named() -> None:
    at_ulm = pl.col("site") == "Ulm"
    cold = pl.when(at_ulm).then(pl.col("temperature") - 273.15).otherwise("temperature")
    features = (Column("temperature", "number", "K"), *FEATURES[1:])
    finding = only(findings(clean().with_columns(temperature=cold), features=features), "unit")
    assert "median at client Ulm" in finding.message


def test_plants_that_merely_differ_are_not_suspected() -> None:
    faster = pl.when(pl.col("site") == "Ulm").then(pl.col("speed") * 2.5).otherwise("speed")
    assert findings(clean().with_columns(speed=faster)) == {}


def test_a_conversion_and_its_reverse_cancel() -> None:
    for unit, conversions in MISTAKEN.items():
        for forward in conversions:
            for back in MISTAKEN.get(forward.other, ()):
                if back.other == unit:
                    assert back.apply(forward.apply(12.5)) == pytest.approx(12.5, rel=1e-5)


def test_duplicate_rows_are_counted() -> None:
    frame = clean()
    assert only(findings(pl.concat([frame, frame[:7], frame[:2]])), "duplicate-rows").rows == 9


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_is_an_error(value: int) -> None:
    by_rule = findings(clean().with_columns(y=pl.lit(value)))
    assert by_rule["one-class"][0].level == "error"


@pytest.mark.parametrize("labels", [pl.lit(None, dtype=pl.Int64), pl.lit("a"), pl.int_range(pl.len())])
def test_a_label_that_cannot_be_read_is_an_error(labels: pl.Expr) -> None:
    by_rule = findings(clean().with_columns(y=labels))
    assert by_rule["label"][0].level == "error"


def test_few_positives_are_found() -> None:
    frame = clean().with_columns(y=(pl.int_range(pl.len()) % 100 == 7).cast(pl.Int64))
    assert only(findings(frame), "few-positives").rows == 6


@pytest.mark.parametrize(
    "leak",
    [
        pl.col("y") * 5.0 + pl.col("speed") / 1e4,
        -pl.col("y") * 5.0 - pl.col("speed") / 1e4,
        pl.when(pl.col("y") == 1).then(2).otherwise(pl.int_range(pl.len()) % 2 * 4),
        pl.when(pl.col("y") == 1).then(None).otherwise(pl.col("speed")),
        pl.when((pl.col("y") == 1) & (pl.col("site") == "Ulm")).then(1).otherwise(0),
    ],
    ids=["rising", "falling", "middle value", "missing", "partial flag"],
)
def test_a_feature_that_gives_the_label_away_is_found(leak: pl.Expr) -> None:
    features = (*FEATURES, Column("leak", "number"))
    by_rule = findings(clean().with_columns(leak=leak), features=features)
    assert [finding.column for finding in by_rule["gives-label-away"]] == ["leak"]


def test_a_category_that_gives_the_label_away_is_found() -> None:
    repaired = pl.when(pl.col("y") == 1).then(pl.lit("repaired")).otherwise("Type")
    finding = only(findings(clean().with_columns(Type=repaired)), "gives-label-away")
    assert "Where it is 'repaired'" in finding.message


def test_a_strong_but_honest_feature_is_not_suspected() -> None:
    rng = np.random.default_rng(1)
    honest = pl.col("y") * 2.5 + pl.Series(rng.normal(size=ROWS))
    assert findings(clean().with_columns(speed=honest)) == {}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("category", [f"M{number}" for number in range(ROWS)]),
        ("category", list(range(ROWS))),
        ("number", list(range(5, ROWS + 5))),
        ("number", list(range(ROWS, 0, -1))),
    ],
)
def test_identifiers_are_found(kind: Any, values: list[Any]) -> None:
    features = (*FEATURES, Column("id", kind))
    by_rule = findings(clean().with_columns(id=pl.Series(values)), features=features)
    assert by_rule["identifier"][0].column == "id"


def test_distinct_measurements_are_no_identifiers() -> None:
    shuffled = np.random.default_rng(0).permutation(ROWS)
    assert findings(clean().with_columns(speed=pl.Series(shuffled))) == {}


def test_clients_without_failure_are_noted() -> None:
    frame = clean().with_columns(y=pl.when(pl.col("site") == "Graz").then(0).otherwise("y"))
    finding = only(findings(frame), "client-without-failure")
    assert (finding.level, finding.rows) == ("note", ROWS // 3)
    assert "1 of 3 clients have no failure (Graz)" in finding.message


def test_clients_with_hardly_a_row_are_found() -> None:
    finding = findings(where("site", [0], "Linz"))["tiny-client"][0]
    assert finding.rows == 1
    assert "Linz" in finding.message


def test_one_client_alone_is_found() -> None:
    assert only(findings(clean().with_columns(site=pl.lit("Ulm"))), "one-client").level == "warning"


def test_a_category_at_one_client_alone_is_noted() -> None:
    finding = only(findings(where("Type", range(10), "l")), "category-at-one-client")
    assert "'l' at Ulm" in finding.message
    assert finding.rows == 10


def test_a_client_that_never_measured_a_column_is_named() -> None:
    frame = clean().with_columns(speed=pl.when(pl.col("site") != "Jena").then("speed"))
    by_rule = findings(frame)
    assert set(by_rule) == {"missing", "client-without-column"}
    assert "Jena" in by_rule["client-without-column"][0].message


@pytest.mark.parametrize(("role", "level"), [("machine", "warning"), ("client", "error")])
def test_rows_without_machine_or_client_are_found(role: str, level: str) -> None:
    by_rule = findings(where({"client": "site"}.get(role, role), range(5), None))
    assert (by_rule[f"missing-{role}"][0].level, by_rule[f"missing-{role}"][0].rows) == (level, 5)


def test_the_ranking_area_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(300) < 0.3).astype(np.float32)
    scores = np.round(labels + rng.normal(size=300), 1)
    assert ranking_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
