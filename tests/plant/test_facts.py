from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund._version import __version__
from werkbund.core.errors import ClientError
from werkbund.data import Column, Origin, Schema, Table
from werkbund.plant.facts import Facts

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=timezone(timedelta(hours=2)))
SCHEMA = Schema("failed", (Column("heat", "number", "K"),), mode="mode", mode_none="none")
MODES = ["none"] * 6 + ["wear"] * 3 + ["SECRET"]


def _table(schema: Schema = SCHEMA) -> Table:
    frame = pl.DataFrame({"failed": [0, 1] * 5, "heat": [1.0] * 10, "mode": MODES, "a": [0, 1] * 5})
    return Table(frame, schema, Origin("file"))


def _facts(tell_rows: bool = True, schema: Schema = SCHEMA, **policy: Any) -> Facts:
    return Facts.of("Hof", _table(schema), tell_rows, policy, NOON)


def test_facts_say_name_versions_columns_modes_rows_and_clock() -> None:
    facts = _facts(refused=["loss"])
    assert (facts.name, facts.rows, facts.schema) == ("Hof", 10, SCHEMA)
    assert facts.modes == ("SECRET", "wear")
    assert facts.versions["werkbund"] == __version__
    assert set(facts.versions) == {"werkbund", "python", "torch", "numpy"}
    assert facts.clock == "2026-05-04T10:00:00.000+00:00"
    assert facts.policy == {"refused": ["loss"]}


def test_facts_come_back_as_they_were() -> None:
    for facts in (_facts(), _facts(tell_rows=False)):
        assert Facts.from_json(json.loads(json.dumps(facts.to_json()))) == facts


def test_rows_are_told_only_where_that_is_allowed_and_they_are_enough() -> None:
    assert _facts(tell_rows=False).rows is None
    assert _facts(minimum_rows=10).rows == 10
    assert _facts(minimum_rows=11).rows is None


def test_modes_of_too_few_rows_are_not_told_where_they_are_values_of_rows() -> None:
    assert _facts(minimum_failures=2).modes == ("wear",)
    assert _facts(minimum_rows=2).modes == ("wear",)
    assert _facts(minimum_rows=2, minimum_failures=4).modes == _facts(minimum_rows=4, minimum_failures=2).modes == ()
    assert _facts(minimum_failures=4).modes == ()
    columns = Schema("failed", (Column("heat", "number"),), modes=("a",))
    assert _facts(schema=columns, minimum_rows=9, minimum_failures=9).modes == ("a",)


MODE_NAMES = st.text("abXYZ |<>*_\n", min_size=1, max_size=6)


@given(
    st.dictionaries(MODE_NAMES, st.integers(1, 30), max_size=6),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_a_value_of_few_rows_is_no_name_that_leaves(
    failures: dict[str, int], minimum_rows: int, minimum_failures: int
) -> None:
    modes = [mode for mode, rows in failures.items() for _ in range(rows)] + ["none"] * 3
    frame = pl.DataFrame({"failed": [0] * len(modes), "heat": [1.0] * len(modes), "mode": modes})
    policy = {"minimum_rows": minimum_rows, "minimum_failures": minimum_failures}
    facts = Facts.of("Hof", Table(frame, SCHEMA, Origin("file")), True, policy, NOON)
    _, names = SCHEMA.mode_flags(frame)
    rows = dict(zip(names, SCHEMA.mode_flags(frame)[0].sum(axis=0).tolist(), strict=True))
    assert facts.modes == tuple(n for n in names if rows[n] >= max(minimum_rows, minimum_failures))
    for mode in set(names) - set(facts.modes):
        assert mode not in facts.to_json()["modes"]


def test_a_clock_without_zone_and_one_elsewhere_are_read_as_utc() -> None:
    values = _facts().to_json()
    there = Facts.from_json(values | {"clock": "2026-05-04T15:00:00+05:00"})
    assert there.clock == "2026-05-04T10:00:00.000+00:00"
    assert datetime.fromisoformat(there.clock).tzinfo == UTC


@pytest.mark.parametrize("key", ["name", "versions", "schema", "modes", "rows", "clock", "policy"])
@pytest.mark.parametrize("value", [..., 1.5, "text", [1], {"a": 1}, float("inf"), float("nan"), {"refused": [1]}])
def test_whatever_is_written_is_facts_or_refused(key: str, value: Any) -> None:
    values = _facts().to_json()
    values.pop(key)
    if value is not ...:
        values[key] = value
    try:
        facts = Facts.from_json(values)
    except ClientError:
        return
    assert all(isinstance(mode, str) for mode in facts.modes)
    json.dumps(facts.to_json())


def test_versions_cannot_move_a_terminal() -> None:
    told = Facts.from_json(_facts().to_json() | {"versions": {"werkbund": "1\n\x1b[2J" + "x" * 999}})
    assert told.versions["werkbund"].isprintable()
    assert len(told.versions["werkbund"]) == 100
