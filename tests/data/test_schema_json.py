from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from werkbund.core.errors import DataError
from werkbund.data import AI4I_SCHEMA, Column, Derived, Schema
from werkbund.data.schema_json import differences, schema_fingerprint, schema_from_json, schema_to_json

WHOLE = Schema(
    label="failed",
    features=(Column("heat", "number", "K", 250.0, 400), Column("area", "category")),
    derived=(Derived("squared", "heat * heat", "K**2"),),
    positive="yes",
    machine="id",
    time="at",
    never=("note",),
    mode="mode",
    mode_none="none",
)


def _travelled(schema: Schema) -> Schema:
    return schema_from_json(json.loads(json.dumps(schema_to_json(schema))))


@pytest.mark.parametrize("schema", [WHOLE, AI4I_SCHEMA, replace(WHOLE, positive=1.5), replace(WHOLE, positive=True)])
def test_a_schema_comes_back_as_it_was(schema: Schema) -> None:
    assert _travelled(schema) == replace(schema, client=None)
    assert type(_travelled(schema).positive) is type(schema.positive)


def test_the_column_of_the_client_is_not_told() -> None:
    schema = replace(WHOLE, client="site")
    assert "site" not in json.dumps(schema_to_json(schema))
    assert schema_fingerprint(schema) == schema_fingerprint(WHOLE)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "label": ({"label": "broken"}, "label is 'broken', not 'failed'"),
    "positive": ({"positive": "no"}, "positive is 'no', not 'yes'"),
    "mode": ({"mode": "kind"}, "mode is 'kind'"),
    "mode_none": ({"mode_none": "-"}, "mode_none is '-'"),
    "modes": ({"mode": None, "mode_none": None, "modes": ("a",)}, "modes is ('a',)"),
    "derived": ({"derived": ()}, "derived features differ"),
    "fewer": ({"features": WHOLE.features[:1]}, "column 'area' is missing"),
    "more": ({"features": (*WHOLE.features, Column("load", "number"))}, "column 'load' is not among the others'"),
    "unit": ({"features": (replace(WHOLE.features[0], unit="C"), WHOLE.features[1])}, "is number [C] in 250.0..400"),
    "low": ({"features": (replace(WHOLE.features[0], low=0.0), WHOLE.features[1])}, "in 0.0..400, not number [K]"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_the_meaning_changes_the_fingerprint_and_is_told(name: str) -> None:
    changes, words = CHANGES[name]
    other = replace(WHOLE, **changes)
    assert schema_fingerprint(other) != schema_fingerprint(WHOLE)
    assert any(words in difference for difference in differences(other, WHOLE))
    assert differences(WHOLE, other)


@pytest.mark.parametrize("changes", [{"never": ()}, {"machine": "tool"}, {"time": None}, {"client": "site"}])
def test_what_is_a_plants_own_business_makes_no_difference(changes: dict[str, Any]) -> None:
    other = replace(WHOLE, **changes)
    assert schema_fingerprint(other) == schema_fingerprint(WHOLE)
    assert differences(other, WHOLE) == []


@pytest.mark.parametrize("name", sorted(schema_to_json(WHOLE)))
@pytest.mark.parametrize("value", [..., 7, ["a"], {"a": 1}, [[1]], "text", None, [None], float("inf")])
def test_whatever_is_written_is_a_schema_or_refused(name: str, value: Any) -> None:
    values = schema_to_json(WHOLE)
    values.pop(name)
    if value is not ...:
        values[name] = value
    try:
        schema = schema_from_json(values)
    except DataError:
        return
    assert schema_from_json(schema_to_json(schema)) == schema
    hash(schema)
    assert isinstance(differences(schema, WHOLE), list)


@pytest.mark.parametrize("values", [{}, {"label": "a"}])
def test_an_incomplete_description_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="incomplete or wrong"):
        schema_from_json(values)


def test_a_feature_that_is_the_label_is_refused_as_everywhere() -> None:
    values = schema_to_json(WHOLE) | {"label": "heat"}
    with pytest.raises(DataError, match="must not be a feature"):
        schema_from_json(values)
