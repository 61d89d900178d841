"""Which columns are features, which must not be, and the range in which their values are plausible."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.draft.tables import ROWS, Drafted, machines, reason
from werkbund.config import load_config
from werkbund.core.errors import DataError
from werkbund.draft.columns import range_of
from werkbund.federation.tables import read_table


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("serial", [f"M{number}" for number in range(ROWS)], "identifier"),
        ("row", list(range(1, ROWS + 1)), "identifier"),
        ("order_id", [number // 2 * 7919 % 1000 for number in range(ROWS)], "named like an identifier"),
        ("firmware", ["v2"] * ROWS, "constant: every value is 'v2'"),
        ("empty", [None] * ROWS, "no row has a value"),
        ("note", [f"note {number % 150}" for number in range(ROWS)], "free text: 150 different"),
        ("clock", [f"{number % 24:02d}:00" for number in range(ROWS)], "a date or time"),
        (
            "spoiled",
            ["E7" if number == 5 else f"{number / 7:.3f}" for number in range(ROWS)],
            "1 of 400 values are texts",
        ),
        ("huge", [1e300 * number for number in range(ROWS)], "too large to scale"),
        ("probability", np.arange(ROWS) % 9 / 8, "the exported model gives this name"),
    ],
)
def test_a_column_that_must_not_be_a_feature_has_its_reason(drafted: Drafted, name: str, values: Any, why: str) -> None:
    text, config = drafted(machines(**{name: values}))
    assert why in reason(text, name)
    assert name in config.data.never
    assert list(config.data.columns) == ["load [kW]"]
    assert read_table(config).schema.features[0].name == "load [kW]"


def test_types_that_are_no_numbers_or_words_stay_out(drafted: Drafted) -> None:
    text, config = drafted(machines(wave=[[1.0, 2.0]] * ROWS), name="table.parquet")
    assert "List(Float64)" in reason(text, "wave")
    assert '#"wave"' not in text
    assert list(config.data.columns) == ["load [kW]"]


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("material", ["steel", "brass", None, "zinc"] * (ROWS // 4), "category"),
        ("error_code", [0, 3, 7, 9] * (ROWS // 4), "category"),
        ("pieces", [0, 3, 7, 9] * (ROWS // 4), "number"),
        ("warm", [True, False] * (ROWS // 2), "number"),
    ],
)
def test_kinds_follow_type_and_name(drafted: Drafted, name: str, values: list[Any], kind: str) -> None:
    _, config = drafted(machines(**{name: values}))
    assert config.data.columns[name].kind == kind


@pytest.mark.parametrize("kind", ["number", "flag", "word", "missing"])
def test_a_column_that_gives_the_label_away_is_listed_with_its_figure(drafted: Drafted, kind: str) -> None:
    failed = machines()["failed"].to_numpy()
    columns: Mapping[str, Any] = {
        "number": failed + np.random.default_rng(1).uniform(0, 0.9, ROWS),
        "flag": failed,
        "word": np.where(failed, "broken", "fine"),
        "missing": [3.5 * number if one else None for number, one in enumerate(failed)],
    }
    text, config = drafted(machines(after=columns[kind]))
    assert "suspected leak" in reason(text, "after")
    assert re.search(r"ROC AUC 1\.0000|40 of 40 rows are failures", reason(text, "after"))
    assert "after" not in config.data.columns


def test_a_suspected_leak_can_be_brought_back(drafted: Drafted, tmp_path: Path) -> None:
    failed = machines()["failed"].to_numpy()
    text, _ = drafted(machines(after=failed + np.random.default_rng(1).uniform(0, 0.9, ROWS)))
    text = re.sub(r'^  "after",.*\n', "", text, flags=re.MULTILINE).replace('\n#"after" =', '\n"after" =')
    (tmp_path / "federation.toml").write_text(text)
    table = read_table(load_config(tmp_path / "federation.toml"))
    assert [feature.name for feature in table.schema.features] == ["load [kW]", "after"]


def test_a_table_without_a_feature_is_refused_with_all_reasons(drafted: Drafted) -> None:
    with pytest.raises(DataError, match=r"has none\. 'a': constant.*'b': free text"):
        drafted(machines(a=1, b=[f"t{number % 99}" for number in range(ROWS)]).drop("load [kW]"))


@pytest.mark.parametrize("seed", range(5))
def test_a_range_is_the_percentiles_widened_by_their_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(rng.normal(0, 100), rng.uniform(0.01, 100), 500)
    first, last = np.quantile(values, (0.01, 0.99))
    ends = range_of(values)
    assert ends is not None
    floor = 0.0 if values.min() >= 0 else -np.inf
    for end, exact in ((ends[0], max(2 * first - last, floor)), (ends[1], 2 * last - first)):
        assert end == pytest.approx(exact, rel=0.01, abs=1e-9)
    assert ends[0] <= max(2 * first - last, floor)
    assert ends[1] >= 2 * last - first


def test_a_wild_reading_does_not_move_the_range() -> None:
    values = np.random.default_rng(0).normal(50, 5, 1000)
    assert range_of(np.append(values, -9999.0)) is not None
    assert range_of(np.append(values, -9999.0))[0] > 0  # type: ignore[index]


@pytest.mark.parametrize("values", [[5.0] * 9, [0.0, 1.0] * 9])
def test_one_or_two_values_have_no_range(values: list[float]) -> None:
    assert range_of(np.array(values)) is None
