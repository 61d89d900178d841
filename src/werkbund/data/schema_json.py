"""A schema as plain values and back, for those who must know a table's columns without having the table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from werkbund.core.errors import ConfigError, DataError
from werkbund.data.schema import Column, Derived, Schema

_TUPLES = ("never", "modes")


def schema_to_json(schema: Schema) -> dict[str, Any]:
    """Return a schema as plain values, without the column of the client: that is not what a table means."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(schema)))
    del values["client"]
    return values


def schema_from_json(values: Mapping[str, Any]) -> Schema:
    """Return the schema that `schema_to_json` described.

    Raises
    ------
    DataError
        If an entry is missing or breaks a rule.
    """
    try:
        parts: dict[str, Any] = {**values, **{name: tuple(values[name]) for name in _TUPLES}}
        parts["features"] = tuple(Column(**feature) for feature in values["features"])
        parts["derived"] = tuple(Derived(**feature) for feature in values["derived"])
        return Schema(**parts)
    except (KeyError, TypeError, ConfigError) as error:
        raise DataError(f"a schema's description is incomplete or wrong: {error}") from error


def schema_fingerprint(schema: Schema) -> str:
    """Return sixteen hexadecimal digits that differ as soon as what is learnt from, or foretold, does.

    Which columns a table has beside these, and which are never used, makes no difference.
    """
    values = schema_to_json(schema)
    meant = {name: values[name] for name in ("label", "features", "derived", "positive", "modes", "mode", "mode_none")}
    return hashlib.sha256(json.dumps(meant, sort_keys=True).encode()).hexdigest()[:16]


def differences(one: Schema, other: Schema) -> list[str]:
    """Return in words what differs between two schemas, as far as fingerprints do."""
    found = []
    for name in ("label", "positive", "modes", "mode", "mode_none"):
        left, right = getattr(one, name), getattr(other, name)
        if left != right:
            found.append(f"{name} is {left!r}, not {right!r}")
    columns = {column.name: column for column in other.features}
    for column in one.features:
        fellow = columns.pop(column.name, None)
        if fellow is None:
            found.append(f"column {column.name!r} is not among the others' features")
        elif fellow != column:
            found.append(f"column {column.name!r} is {_shown(column)}, not {_shown(fellow)}")
    found += [f"column {name!r} is missing" for name in columns]
    if one.derived != other.derived:
        found.append("derived features differ")
    return found


def _shown(column: Column) -> str:
    limits = "" if column.low is None and column.high is None else f" in {column.low}..{column.high}"
    return f"{column.kind}{f' [{column.unit}]' if column.unit else ''}{limits}"
