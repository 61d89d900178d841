"""From the data section of a configuration to a table with its schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import polars as pl

from werkbund.config.reading import changed
from werkbund.config.rows import ColumnSection, DataSection, EventsSection, FeaturesSection
from werkbund.config.sections import Config
from werkbund.core.defaults import NUM_CLIENTS
from werkbund.core.errors import ConfigError, DataError
from werkbund.core.target import FAILURE, NumberTarget, Target
from werkbund.data import ClientFiles, Column, Derived, Origin, Schema, Source, Table, source_for
from werkbund.data.ai4i import generated_table, load_ai4i, published, recognise
from werkbund.data.client_files import CLIENT_COLUMN
from werkbund.data.cmapss import cmapss_table, is_cmapss
from werkbund.data.conversion import in_declared_units
from werkbund.data.dialect import Dialect, dialect_of
from werkbund.data.fleet import FLEET_DATA, draw_fleet
from werkbund.data.mapping import in_units
from werkbund.data.targets import binary_labels, with_label
from werkbund.data.time.events import LogTable
from werkbund.data.time.rows import made
from werkbund.data.wear import FleetPlan


def read_table(config: Config) -> Table:
    """Read the rows and find out what their columns mean.

    Without a path this is AI4I 2020 if its file is found, else generated rows of the same kind.

    Raises
    ------
    ConfigError
        If the columns do not fit the configuration.
    DataError
        If the rows cannot be read.
    """
    data, plants = config.data, config.data.plants or config.clients.count or NUM_CLIENTS
    if data.source == "fleet" and data.path is None and not data.clients:
        return _fleet_table(config)
    if data.windows.step is not None:
        client = CLIENT_COLUMN if data.clients else data.client
        log = log_of(data.events, str(data.machine), client)
        return made_table(*_source(data).read(), log, config).without(data.without)
    if data.label is None and data.path is not None and is_cmapss(Path(data.path)):
        return cmapss_table(Path(data.path), plants, config.federation.seed)
    if data.path is not None or data.clients:
        table = table_of(*_source(data).read(), config)
        _check_positive(table.frame, data)
        return _mended(table, data)
    if data.source == "generator":
        table = generated_table(rows=data.rows, plants=plants, seed=config.federation.seed)
    else:
        table = load_ai4i(rows=data.rows, plants=plants, seed=config.federation.seed)
    return replace(table, schema=_with_features(table.schema, config.features))


def table_of(frame: pl.DataFrame, origin: Origin, config: Config) -> Table:
    """Say what the columns of rows mean that were read already.

    Parameters
    ----------
    frame
        (rows, columns), in the units that the configuration declares.
    origin
        Where the rows came from.
    config
        Its sections `data` and `features` are used.

    Raises
    ------
    ConfigError
        If the columns do not fit the configuration.
    """
    data = config.data
    frame, origin = (frame, origin) if data.clients else in_units(frame, origin, data.units_of_columns)
    if data.label in frame.columns and data.empty_label is not None:
        frame = with_label(frame, data.label, data.empty_label)
    schema = recognise(frame) if data.label is None else _schema_of(frame, data, origin.reading.units)
    if schema is None:
        raise ConfigError(
            f"data.label must name the column to foretell; {data.path or 'this table'} is not known by its header. "
            f"Its columns: {', '.join(frame.columns)}. `werkbund init` writes a configuration for it"
        )
    if data.label is None:
        origin = published(origin)
    if data.clients:
        schema = replace(schema, client=CLIENT_COLUMN)
    elif data.client is not None:
        schema = replace(schema, client=data.client)
    return Table(frame, _with_features(_with_marks(schema, data), config.features), origin)


def _fleet_table(config: Config) -> Table:
    """Return rows of the generated fleet, by its usual windows where the configuration has none."""
    data, seed = config.data, config.federation.seed
    plan = FleetPlan(plants=data.plants or config.clients.count or NUM_CLIENTS, **data.fleet.model_dump())
    fleet, given = draw_fleet(plan, seed), data.model_dump(exclude_unset=True)
    config = changed(config, data={**FLEET_DATA, **{key: given[key] for key in ("windows",) if key in given}})
    log = LogTable.of(fleet.log, config.data.events.model_dump(), "machine", "plant")
    note = f"Generated: a fleet of {plan.plants} plants, seed {seed}; not measured data."
    return made_table(fleet.readings, Origin("fleet", generated={**asdict(plan), "seed": seed}, note=note), log, config)


def made_table(frame: pl.DataFrame, origin: Origin, log: LogTable | None, config: Config) -> Table:
    """Return the table of rows that are made of readings in the units that the configuration declares; see `made`."""
    client = CLIENT_COLUMN if config.data.clients else config.data.client
    rows, telemetry, keys, counted = made(frame, log, config.data.model_dump(), client)
    table = table_of(rows, replace(origin, made=counted), changed(config, data={**keys, "windows": {}}))
    return replace(table, schema=replace(table.schema, telemetry=telemetry))


def _mended(table: Table, data: DataSection) -> Table:
    """Return a table in the declared units, without the clients that are left out."""
    if table.schema.client is None and (data.units or data.without):
        raise ConfigError("data.units and data.without need a column with the client; set data.client")
    return in_declared_units(table, data.units).without(data.without)


def log_of(events: EventsSection, machine: str, client: str | None) -> LogTable | None:
    """Read the log of failures and planned stops; None where there is none."""
    if events.path is None:
        return None
    frame, _ = source_for(Path(events.path), Dialect(events.separator)).read()
    return LogTable.of(frame, events.model_dump(), machine, client)


def _source(data: DataSection) -> Source:
    if data.clients and data.path is not None:
        raise ConfigError("set data.path or data.clients, not both")
    if data.clients:
        files = {name: Path(path) for name, path in data.clients.items()}
        return ClientFiles(files, CLIENT_COLUMN, dialect_of(data), data.map, data.units_of_columns)
    if data.map:
        raise ConfigError("data.map needs one file a client; name them under data.clients")
    return source_for(Path(str(data.path)), dialect_of(data))


def _schema_of(frame: pl.DataFrame, data: DataSection, units: Mapping[str, str]) -> Schema:
    roles = [data.label, data.machine, data.time, data.client, data.mode, *data.never, *data.modes]
    if data.clients:
        roles.append(CLIENT_COLUMN)
    _require(frame, [name for name in [*roles, data.machine_reset, *data.columns] if name is not None])
    names = list(data.columns) or [name for name in frame.columns if name not in roles]
    return Schema(
        label=str(data.label),
        features=tuple(_column(frame, name, data, units.get(name, "")) for name in names),
        positive=data.positives,
        machine=data.machine,
        machine_reset=data.machine_reset,
        time=data.time,
        client=data.client,
        never=tuple(data.never),
        modes=tuple(data.modes),
        mode=data.mode,
        mode_none=data.mode_none,
        target=_target(data),
    )


def _target(data: DataSection) -> Target:
    if data.target == "failure":
        unread = [f"data.{key}" for key in ("horizon", "cap") if getattr(data, key) is not None]
        if unread:
            raise ConfigError(f"{', '.join(unread)} is for data.target = 'number', got it without; drop it")
        return FAILURE
    if data.horizon is None or data.cap is None:
        raise ConfigError(
            "data.target = 'number' needs data.horizon, below which a number counts as a failure, and data.cap, above "
            "which none is told apart; set both"
        )
    return NumberTarget(float(data.horizon), float(data.cap))


def _check_positive(frame: pl.DataFrame, data: DataSection) -> None:
    """Refuse a positive value that no row has. One plant's rows are not checked so: it may have no failure."""
    if data.label is None or data.positive is None:
        return
    column = frame[data.label]
    if not binary_labels(column, data.positives).any():
        raise DataError(
            f"data.positive must be a value of label {data.label!r}, got {data.positive!r}; "
            f"it has {', '.join(map(repr, column.unique().head(10).to_list()))}"
        )


def _column(frame: pl.DataFrame, name: str, data: DataSection, unit: str) -> Column:
    section = data.columns.get(name, ColumnSection())
    kind = section.kind or ("number" if frame[name].dtype.is_numeric() else "category")
    return Column(name, kind, section.unit or (unit if kind == "number" else ""), section.low, section.high)


def _with_marks(schema: Schema, data: DataSection) -> Schema:
    unknown = [name for name in data.missing if name not in [column.name for column in schema.features]]
    if unknown:
        raise ConfigError(f"data.missing must name feature columns, got {', '.join(unknown)}; correct or drop them")
    marks = (tuple(data.missing.get(column.name, ())) for column in schema.features)
    marked = (replace(column, missing=own) for column, own in zip(schema.features, marks, strict=True))
    return replace(schema, features=tuple(marked))


def _with_features(schema: Schema, features: FeaturesSection) -> Schema:
    added = tuple(
        Derived(name, value) if isinstance(value, str) else Derived(name, value.expression, value.unit)
        for name, value in features.derived.items()
    )
    return replace(schema, derived=(*(schema.derived if features.preset else ()), *added))


def _require(frame: pl.DataFrame, names: Iterable[str]) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ConfigError(
            f"the data section names columns that the table has not: {', '.join(missing)}; "
            f"it has {', '.join(frame.columns)}"
        )
