"""What a schema refuses, and the arrays that it reads from a table."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import polars as pl
import pytest

from werkbund.core import ConfigError, DataError
from werkbund.data.schema import Column, Derived, Schema

WEAR = Column("wear", "number", "min", 0, 250)
KIND = Column("Type", "category")


def schema(**changes: Any) -> Schema:
    return Schema(**({"label": "y", "features": (WEAR, KIND)} | changes))


def frame(**columns: Any) -> pl.DataFrame:
    rows = len(next(iter(columns.values())))
    return pl.DataFrame({"wear": list(range(rows)), "Type": ["L"] * rows} | columns)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "wear"}, "'wear' must not be a feature: it is the label"),
        ({"client": "Type"}, "'Type' must not be a feature: it is the client column"),
        ({"machine": "Type"}, "'Type' must not be a feature: it is the machine's id"),
        ({"never": ("Type",)}, "'Type' must not be a feature: it is listed in never"),
        ({"modes": ("wear",)}, "'wear' must not be a feature: it is a failure mode"),
        ({"mode": "Type"}, "'Type' must not be a feature: it is the failure mode"),
        ({"features": (WEAR, WEAR)}, "must differ, got wear more than once"),
        ({"derived": (Derived("wear", "wear * 2"),)}, "must differ, got wear"),
        ({"derived": (Derived("y", "wear * 2"),)}, "'y' must not be a feature"),
        ({"derived": (Derived("d", "waer * 2"),)}, "got 'waer'; did you mean 'wear'"),
        ({"derived": (Derived("d", "y * 2"),)}, "must not read 'y': it is the label"),
        ({"derived": (Derived("d", "id * 2"),), "never": ("id",)}, "must not read 'id': it is listed in never"),
        ({"derived": (Derived("d", "m * 2"),), "modes": ("m",)}, "must not read 'm': it is a failure mode"),
        ({"derived": (Derived("d", "Type * 2"),)}, "computes with 'Type', which is a category"),
        ({"derived": (Derived("d", "wear = 'L'"),)}, "compares 'wear' with a text, but it is a number"),
        ({"label": ""}, "label must name a column"),
        ({"features": ()}, "at least one feature"),
        ({"machine": "m", "machine_reset": "wear"}, "machine or machine_reset, not both"),
        ({"mode": "m", "modes": ("a",)}, "mode or modes, not both"),
    ],
)
def test_a_wrong_schema_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        schema(**changes)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"name": "", "kind": "number"}, "must have a name"),
        ({"name": "x", "kind": "text"}, "'number' or 'category', got 'text'"),
        ({"name": "x", "kind": "number", "low": 3.0, "high": 2.0}, "low of 'x' must not be above high"),
        ({"name": "x", "kind": "number", "low": float("nan"), "high": 2.0}, "low of 'x'"),
        ({"name": "x", "kind": "category", "low": 3.0}, "can have no range"),
        ({"name": "*", "kind": "number"}, "must not be a pattern"),
        ({"name": "^a.*$", "kind": "number"}, "must not be a pattern"),
    ],
)
def test_a_wrong_column_is_refused(column: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Column(**column)
    assert message in str(caught.value)


def test_a_derived_feature_must_read_a_column() -> None:
    with pytest.raises(ConfigError, match="must read a column"):
        Derived("d", "1 + 1")


def test_a_derived_feature_is_read_when_it_is_made() -> None:
    with pytest.raises(ConfigError, match="outside the subset"):
        Derived("d", "(select 1)")


def test_the_reset_and_the_time_column_may_be_features() -> None:
    assert schema(machine_reset="wear", time="wear").machine_reset == "wear"


def test_schemas_are_values() -> None:
    one = schema(derived=(Derived("d", "wear * 2"),))
    assert one == dataclasses.replace(one)
    assert hash(one) == hash(dataclasses.replace(one))


def test_used_names_each_column_once() -> None:
    full = schema(machine_reset="wear", time="t", client="site", modes=("a", "b"))
    assert full.used == ("wear", "Type", "y", "t", "site", "a", "b")


@pytest.mark.parametrize(
    ("values", "positive", "expected"),
    [
        ([0, 1, 0], None, [0, 1, 0]),
        ([False, True, True], None, [0, 1, 1]),
        ([0.0, 1.0, 1.0], None, [0, 1, 1]),
        ([0, 0, 0], None, [0, 0, 0]),
        ([1, 1, 1], None, [1, 1, 1]),
        (["ok", "bad", "ok"], "bad", [0, 1, 0]),
        (["ok", "ok", "ok"], "bad", [0, 0, 0]),
        (["bad", "bad", "bad"], "bad", [1, 1, 1]),
        ([2, 5, 2], 5, [0, 1, 0]),
        ([2, 5, 2], "5", [0, 1, 0]),
        ([2.0, 5.0, 2.0], 2, [1, 0, 1]),
        ([True, False, True], False, [0, 1, 0]),
        ([0, 1, 0], 0, [1, 0, 1]),
        (["1", "0", "0"], 1, [1, 0, 0]),
        ([], None, []),
    ],
)
def test_labels_are_one_where_the_positive_value_is(values: list[Any], positive: Any, expected: list[int]) -> None:
    labels = schema(positive=positive).labels(pl.DataFrame({"y": values}))
    assert labels.dtype == np.float32
    assert labels.tolist() == expected


@pytest.mark.parametrize(
    ("values", "positive", "message"),
    [
        ([0, 1, None], None, "1 of 3 are missing"),
        ([0.0, 1.0, float("nan")], None, "1 of 3 are missing"),
        ([0, 1, 2], None, "must have two values, got 3: 0, 1, 2"),
        (["a", "b", "c"], None, "say which of them mean failure"),
        (["a", "b"], None, "set data.positive"),
        (["0", "1"], None, "set data.positive"),
        ([1, 2], None, "set data.positive"),
        ([0, 1], "yes", "positive must be a value of label 'y', got 'yes'"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(values: list[Any], positive: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        schema(positive=positive).labels(pl.DataFrame({"y": values}))
    assert message in str(caught.value)


def test_one_value_of_many_may_be_the_failure_and_a_client_may_have_none() -> None:
    labels = schema(positive="broken").labels
    assert labels(pl.DataFrame({"y": ["fine", "broken", "paused"]})).tolist() == [0.0, 1.0, 0.0]
    assert labels(pl.DataFrame({"y": ["fine", "paused", "paused"]})).tolist() == [0.0, 0.0, 0.0]


def test_a_missing_label_column_is_named_with_its_nearest() -> None:
    with pytest.raises(DataError, match=r"missing 'failure'; did you mean 'Failures'\?"):
        Schema("failure", (WEAR,)).labels(pl.DataFrame({"Failures": [0, 1]}))


def test_mode_columns_become_flags() -> None:
    table = frame(a=[0, 1, None], b=[True, False, True], c=[0.0, float("nan"), 1.0])
    flags, names = schema(modes=("b", "a", "c")).mode_flags(table)
    assert names == ("b", "a", "c")
    assert flags.dtype == np.bool_
    assert flags.tolist() == [[True, False, False], [False, True, False], [True, False, True]]


def test_a_mode_text_becomes_flags_without_none() -> None:
    table = frame(mode=["none", "wear", None, "heat"])
    flags, names = schema(mode="mode", mode_none="none").mode_flags(table)
    assert names == ("heat", "wear")
    assert flags.tolist() == [[False, False], [False, True], [False, False], [True, False]]


def test_no_modes_give_no_columns() -> None:
    flags, names = schema().mode_flags(frame(y=[0, 1]))
    assert flags.shape == (2, 0)
    assert names == ()
    only_none = schema(mode="mode", mode_none="none").mode_flags(frame(mode=["none", "none"]))
    assert only_none[0].shape == (2, 0)


@pytest.mark.parametrize(("values", "message"), [([0, 2], "must hold 0 and 1"), (["a", "b"], "must be a 0/1 column")])
def test_mode_columns_that_are_no_flags_are_refused(values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        schema(modes=("a",)).mode_flags(frame(a=values))


def test_machines_are_numbered_as_they_appear() -> None:
    machines = schema(machine="id").machines(frame(id=["z", "a", "z", None, "b", None]))
    assert machines.dtype == np.int64
    assert machines.tolist() == [0, 1, 0, 2, 3, 2]


def test_the_same_id_at_two_clients_is_two_machines() -> None:
    table = frame(id=[7, 7, 7, 8], site=["a", "b", "a", "a"])
    assert schema(machine="id", client="site").machines(table).tolist() == [0, 1, 0, 2]


def test_a_new_machine_begins_where_the_column_falls_back() -> None:
    table = frame(wear=[0.0, 3.0, 3.0, 5.0, 0.0, 2.0, 1.0, None, 4.0, float("nan"), 0.0])
    assert schema(machine_reset="wear").machines(table).tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 3]


def test_a_fall_across_clients_is_not_one_machine() -> None:
    table = frame(wear=[1, 9, 2, 10, 0, 11], site=["a", "b", "a", "b", "a", "b"])
    assert schema(machine_reset="wear", client="site").machines(table).tolist() == [0, 1, 0, 1, 2, 1]


def test_falls_are_looked_for_in_order_of_time() -> None:
    table = frame(wear=[5, 0, 2, 3], t=[3, 4, 1, 2])
    assert schema(machine_reset="wear", time="t").machines(table).tolist() == [0, 1, 0, 0]


def test_without_machines_all_rows_are_one() -> None:
    assert schema(client="site").machines(frame(site=["a", "b"])).tolist() == [0, 0]
    assert schema().machines(frame(y=[0, 1])).tolist() == [0, 0]


def test_a_text_cannot_fall_back() -> None:
    with pytest.raises(DataError, match="machine_reset 'Type' must be a number column"):
        schema(machine_reset="Type").machines(frame(y=[1]))
