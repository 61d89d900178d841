"""A schema as plain values and back, for those who must know a table's columns without having the table."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from werkbund.core.errors import ConfigError, DataError
from werkbund.core.target import FAILURE, target_from_json
from werkbund.data.schema import Column, Derived, Schema
from werkbund.data.time.windows import Telemetry

_TUPLES = ("never", "modes")


def schema_to_json(schema: Schema) -> dict[str, Any]:
    """Return a schema as plain values, without the column of the client: that is not what a table means."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(replace(schema, target=FAILURE, telemetry=None))))
    for name in ("client", "part", "target", "telemetry"):
        del values[name]
    # A schema of rows with failures keeps the description that it had before there was anything else.
    if schema.target != FAILURE:
        values["target"] = schema.target.to_json()
    if schema.telemetry is not None:
        values["telemetry"] = schema.telemetry.to_json()
    return values


def schema_from_json(values: Mapping[str, Any]) -> Schema:
    """Return the schema that `schema_to_json` described.

    Raises
    ------
    DataError
        If an entry is missing or breaks a rule.
    """
    try:
        parts: dict[str, Any] = {**values, **{name: tuple(_listed(values, name)) for name in _TUPLES}}
        if isinstance(parts.get("positive"), list):
            parts["positive"] = tuple(parts["positive"])
        parts["target"] = target_from_json(values["target"]) if "target" in values else FAILURE
        parts["features"] = tuple(_column(feature) for feature in _listed(values, "features"))
        if "telemetry" in parts:
            parts["telemetry"] = Telemetry.from_json(parts["telemetry"])
        parts["derived"] = tuple(Derived(**_typed(feature, Derived)) for feature in _listed(values, "derived"))
        return Schema(**_typed(parts, Schema))
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise DataError(f"a schema's description is incomplete or wrong: {error}") from error


def _column(values: Any) -> Column:
    """Return a feature column; one that was described before there were marks has none."""
    known = {"missing": [], **values} if isinstance(values, Mapping) else values
    return Column(**{**_typed({**known, "missing": tuple(_listed(known, "missing"))}, Column)})


def _listed(values: Mapping[str, Any], name: str) -> list[Any]:
    listed = values[name]
    if not isinstance(listed, list):
        raise TypeError(f"{name} must be a list")
    return listed


def _typed(values: Any, kind: type) -> Mapping[str, Any]:
    """Return a description's values, each of which is of the type that its field has.

    Raises
    ------
    TypeError
        If one is not: whoever wrote it may run other code.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{kind.__name__} must be described by names and values")
    types = get_type_hints(kind)
    for name, value in values.items():
        if name in types and not _is_of(value, types[name]):
            raise TypeError(f"{name} must be {types[name]}")
    return values


def _is_of(value: Any, kind: Any) -> bool:
    """Say whether a value is of the type of a field: a plain one, a choice, a union, or a tuple of one type."""
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is_of(inner, get_args(kind)[0]) for inner in value)
    if get_args(kind):
        return any(_is_of(value, member) for member in get_args(kind))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return type(value) is kind


def schema_fingerprint(schema: Schema) -> str:
    """Return sixteen hexadecimal digits that differ as soon as what is learnt from, or foretold, does.

    Which columns a table has beside these, and which are never used, makes no difference.
    """
    values = schema_to_json(schema)
    decisive = ("label", "features", "derived", "positive", "modes", "mode", "mode_none", "target", "telemetry")
    meant = {name: values[name] for name in decisive if name in values}
    return hashlib.sha256(json.dumps(meant, sort_keys=True).encode()).hexdigest()[:16]


def differences(own: Schema, agreed: Schema) -> list[str]:
    """Return in words where a client's own schema differs from the agreed one, as far as fingerprints do."""
    faults = []
    for name in ("label", "positive", "modes", "mode", "mode_none", "target"):
        here, there = getattr(own, name), getattr(agreed, name)
        if here != there:
            faults.append(f"{name} is {here!r}, not {there!r}")
    columns = {column.name: column for column in agreed.features}
    for column in own.features:
        fellow = columns.pop(column.name, None)
        if fellow is None:
            faults.append(f"column {column.name!r} is not among the others' features")
        elif fellow != column:
            faults.append(f"column {column.name!r} is {_shown(column)}, not {_shown(fellow)}")
    faults += [f"column {name!r} is missing" for name in columns]
    if own.telemetry != agreed.telemetry:
        faults.append("windows of readings differ")
    if own.derived != agreed.derived:
        faults.append("derived features differ")
    return faults


def _shown(column: Column) -> str:
    limits = "" if column.low is None and column.high is None else f" in {column.low}..{column.high}"
    marks = f" without {', '.join(map(str, column.missing))}" if column.missing else ""
    return f"{column.kind}{f' [{column.unit}]' if column.unit else ''}{limits}{marks}"
