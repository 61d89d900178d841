"""A commented configuration for a table that nobody prepared: a first proposal that runs, and says why it is so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from werkbund.core.errors import ConfigError, DataError
from werkbund.data import ClientFiles, CsvSource, ParquetSource, recognise
from werkbund.data.names import nearest
from werkbund.data.targets import Value
from werkbund.draft.columns import sort_columns
from werkbund.draft.data import Draft, Origins
from werkbund.draft.dialect import PARQUET, Dialect, dialect_of
from werkbund.draft.label import label_of
from werkbund.draft.roles import roles_of
from werkbund.draft.sections import text_of
from werkbund.draft.sizes import sizes_of
from werkbund.federation.tables import CLIENT_COLUMN


def draft_config(
    path: Path | None = None,
    *,
    clients: Mapping[str, Path] | None = None,
    label: str,
    client: str | None = None,
    positive: Value | None = None,
    config_folder: Path,
) -> str:
    """Look at a table and write a configuration for it.

    Parameters
    ----------
    path
        A delimited file or a Parquet file with all rows.
    clients
        Or one file a client, by its name.
    label
        The column to foretell.
    client
        The column whose values are the clients; None if there is none, or one file a client.
    positive
        The label's value that means failure; None to guess it.
    config_folder
        Where the configuration will lie; files near it are named from there.

    Returns
    -------
    text
        TOML with comments, which `load_config` reads and `run` runs as it is.

    Raises
    ------
    ConfigError
        If a column or value that was named is not in the table.
    DataError
        If the table cannot be read or cannot be learnt from.
    """
    files = dict(clients or {})
    if (path is None) == (not files):
        raise ConfigError("give one table or one file a client, got " + ("both" if files else "neither"))
    if files and client is not None:
        raise ConfigError(f"client must be left out where every client has a file, got {client!r}; drop it")
    first = Path(path) if path is not None else next(iter(files.values()))
    origins = Origins(Path(path) if path else None, files, Path(config_folder), dialect_of(first))
    frame = _read(origins)
    column = CLIENT_COLUMN if files else client
    _check_client(frame, column, label)
    return text_of(_look(origins, frame, label, column, positive))


def _read(origins: Origins) -> pl.DataFrame:
    """Return the rows, read just as a run will read them."""
    if origins.path is None:
        separator = None if origins.dialect == Dialect() else origins.dialect.separator
        return ClientFiles(origins.files, CLIENT_COLUMN, separator, origins.dialect.decimal_comma).read()[0]
    if origins.path.suffix.lower() in PARQUET:
        return ParquetSource(origins.path).read()[0]
    return CsvSource(origins.path, origins.dialect.separator, origins.dialect.decimal_comma).read()[0]


def _check_client(frame: pl.DataFrame, client: str | None, label: str) -> None:
    if client is None:
        return
    if client == label:
        raise ConfigError(f"client and label must be two columns, got {client!r} for both; name the site's column")
    if client not in frame.columns:
        raise ConfigError(f"client must name a column of the table, got {client!r}{nearest(client, frame.columns)}")
    missing = frame[client].null_count()
    if missing:
        raise DataError(
            f"client {client!r} must have a value in every row, {missing} of {frame.height} are missing; fill them in "
            "or drop these rows"
        )


def _look(origins: Origins, frame: pl.DataFrame, label: str, client: str | None, positive: Value | None) -> Draft:
    meaning = label_of(frame, label, positive)
    roles = roles_of(frame, label, client)
    features, excluded = sort_columns(frame, meaning, roles)
    known = recognise(frame)
    return Draft(
        origins,
        meaning,
        roles,
        features,
        excluded,
        sizes_of(frame, meaning, roles, client),
        known is not None and known.label == label,
    )
