"""A plant's rows under the federation's column names and units, and nothing else of what the plant has."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from werkbund.config.reading import changed
from werkbund.config.rows import ColumnMapping, DataSection
from werkbund.config.sections import Config
from werkbund.core.errors import ConfigError
from werkbund.data import AI4I_SCHEMA, TWIN_SCHEMA, Origin, Schema, Source, Table, source_for
from werkbund.data.dialect import KEYS, dialect_of
from werkbund.data.mapping import in_units, own_column, own_name, quoted
from werkbund.data.postgres import PostgresSource
from werkbund.data.time.events import LogTable
from werkbund.data.time.readings import widened
from werkbund.federation.tables import made_table, table_of
from werkbund.plant.settings import PlantDataSection, PlantSettings


def read_plant_table(settings: PlantSettings, config: Config) -> Table:
    """Read a plant's rows.

    Parameters
    ----------
    settings
        The plant's own file: where rows lie, and which column is which.
    config
        The federation's: which columns it needs, in which units. A column that says which plant a row is from is
        ignored: all rows here are this plant's.

    Returns
    -------
    table
        Only with the columns that its schema uses.

    Raises
    ------
    ConfigError
        If the plant's columns do not fit; it says what to write into the plant's file.
    DataError
        If the rows cannot be read.
    """
    frame, origin = plant_source(settings.data).read()
    if config.data.windows.step is not None:
        return _made(frame, origin, settings, config)
    needed = _needed(config.data, _columns_of(settings.columns, frame.columns))
    _refuse_unknown(settings.columns, needed)
    said = {name for name, mapping in settings.columns.items() if mapping.unit is not None}
    unsaid = {own_name(name, settings.columns): unit for name, unit in needed.units.items() if name not in said}
    frame, origin = in_units(frame, origin, unsaid)
    frame = _taken(frame, settings.columns, needed)
    bare = changed(config, data={"path": None, "clients": {}, "client": None, "never": []})
    table = table_of(frame, origin, bare)
    never = table.schema.never if config.data.label is None else tuple(config.data.never)
    return replace(table, schema=replace(table.schema, client=None, never=never))


def _made(frame: pl.DataFrame, origin: Origin, settings: PlantSettings, config: Config) -> Table:
    """Return the rows that are made of a plant's readings and log."""
    data, columns = settings.data, settings.columns
    own = {role: own_name(str(getattr(config.data, role)), columns) for role in ("machine", "time")}
    if data.tag is not None:
        frame = widened(frame, list(own.values()), data.tag, str(data.value))
    needed = _needed(config.data, set())
    _refuse_unknown(columns, needed)
    frame = _taken(frame, columns, needed)
    log = _log(data, own["machine"])
    keys: dict[str, Any] = {"path": None, "clients": {}, "client": None, "never": [], "tag": None, "zone": data.zone}
    table = made_table(frame, origin, log, changed(config, data=keys))
    return replace(table, schema=replace(table.schema, never=tuple(config.data.never)))


def _log(data: PlantDataSection, machine: str) -> LogTable | None:
    """Read a plant's log of stops; None where it has none."""
    events = data.events
    if events.path is None and events.query is None:
        return None
    found_out = dict.fromkeys(KEYS) | {"separator": events.separator}
    source = data.model_copy(update={"path": events.path, "query": events.query, **found_out})
    return LogTable.of(plant_source(source).read()[0], events.model_dump(), machine, None)


def plant_source(data: PlantDataSection) -> Source:
    """Return where a plant's rows come from.

    Raises
    ------
    ConfigError
        If the variable that should hold the database's URL is not set.
    """
    if data.query is None:
        return source_for(Path(str(data.path)), dialect_of(data))
    if data.url_env is None:
        return PostgresSource(data.query)
    url = os.environ.get(data.url_env)
    if not url:
        raise ConfigError(
            f"data.url_env must name a variable that is set, got {data.url_env!r}; "
            "set it to postgresql://user:password@host:5432/database where the client is started"
        )
    return PostgresSource(data.query, url)


@dataclass(frozen=True)
class _Needed:
    """Hold what the federation asks for: columns, each with its unit, and columns that it knows but never uses."""

    units: Mapping[str, str]
    unused: tuple[str, ...] = ()


def _needed(data: DataSection, columns: set[str]) -> _Needed:
    if data.label is None and data.windows.step is None:
        return _needed_by(min(AI4I_SCHEMA, TWIN_SCHEMA, key=lambda schema: len(set(schema.used) - columns)))
    if not data.columns:
        raise ConfigError(
            "data.columns of the federation's configuration must list the feature columns: else all that a plant has "
            "would become features, at each plant others; ask the operator to list them"
        )
    regime = data.windows.regime
    roles = (data.label, data.machine, data.machine_reset, data.time, *data.modes, data.mode, regime)
    units = {name: "" for name in roles if name is not None}
    units |= {name: section.unit for name, section in data.columns.items()}
    return _Needed(units, (*data.never, *([] if data.client is None else [data.client])))


def _needed_by(schema: Schema) -> _Needed:
    units = dict.fromkeys(schema.used, "") | {feature.name: feature.unit for feature in schema.features}
    return _Needed(units, (*schema.never, "plant"))


def _columns_of(columns: Mapping[str, ColumnMapping], names: Iterable[str]) -> set[str]:
    """Return the federation's names under which the plant has a column."""
    there = set(names)
    mapped = {name for name in columns if own_name(name, columns) in ("", *there)}
    return mapped | (there - set(columns))


def _refuse_unknown(columns: Mapping[str, ColumnMapping], needed: _Needed) -> None:
    known = {*needed.units, *needed.unused}
    for name in columns:
        if name not in known:
            like = _most_like(name, needed.units)
            hint = f"; did you mean {like!r}?" if like else f"; it uses {', '.join(map(repr, needed.units))}"
            raise ConfigError(f"columns.{quoted(name)} must be a column that the federation uses, got {name!r}{hint}")


def _taken(frame: pl.DataFrame, columns: Mapping[str, ColumnMapping], needed: _Needed) -> pl.DataFrame:
    """Return the columns that the federation needs, under its names and in its units, and no other."""
    lacking = [name for name in needed.units if own_name(name, columns) not in ("", *frame.columns)]
    if lacking:
        raise ConfigError(_what_to_map(lacking, columns, frame.columns, set(needed.units)))
    return pl.DataFrame(
        [own_column(frame, name, columns.get(name), declared) for name, declared in needed.units.items()]
    )


def _what_to_map(
    lacking: list[str], columns: Mapping[str, ColumnMapping], own: list[str], needed: Iterable[str] = ()
) -> str:
    """Return the lines that a plant should write into its file, with the names that are most like."""
    lines = []
    spoken_for = {*needed, *(own_name(name, columns) for name in columns)} - set(lacking)
    free = [name for name in own if name not in spoken_for]
    for name in lacking:
        given = own_name(name, columns)
        like = _most_like(given, free) or _most_like(name, free) or "..."
        line = f"  {quoted(name)} = {quoted(like)}"
        lines.append(line if given == name else f"{line}  # now {quoted(given)}, which the rows have not")
    listed = "\n".join(lines)
    return (
        "client.toml must say which of the plant's columns are the federation's, where names differ; "
        f"missing {', '.join(map(repr, lacking))}. Write under [columns]:\n{listed}\n"
        f"The plant's columns are {', '.join(map(repr, own))}"
    )


def _most_like(name: str, known: Iterable[str]) -> str | None:
    """Return the name most like this one but for case, blanks and signs; None if none is."""
    bare = {re.sub(r"[\W_]", "", column.lower()): column for column in known}
    close = difflib.get_close_matches(re.sub(r"[\W_]", "", name.lower()), list(bare), n=1, cutoff=0.5)
    return bare[close[0]] if close else None
