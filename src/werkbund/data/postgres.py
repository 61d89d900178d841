"""Rows of a PostgreSQL database: one query, asked in a session that cannot write, read in pieces.

The connection comes from a URL, or from the usual variables (PGHOST, PGUSER, PGPASSWORD, PGDATABASE, ...), a service
or a password file. The database itself refuses to write: the session is read-only. An account that may only read
the table in question guards against the rest, such as functions that read files of the database's machine.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from werkbund.core.errors import ConfigError, DataError
from werkbund.data.table import Origin
from werkbund.data.tidying import tidy

_TYPES: Mapping[str, pl.DataType] = {
    "bool": pl.Boolean(),
    "int2": pl.Int64(),
    "int4": pl.Int64(),
    "int8": pl.Int64(),
    "float4": pl.Float64(),
    "float8": pl.Float64(),
    "numeric": pl.Float64(),
    "date": pl.Date(),
    "time": pl.Time(),
    "timestamp": pl.Datetime("us"),
    "timestamptz": pl.Datetime("us", "UTC"),
}
"""The database's type -> ours. A column of any other type is read as the text that the database shows for it."""

_CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True)
class PostgresSource:
    """Read what one query returns.

    Parameters
    ----------
    query
        A single SELECT (or WITH, VALUES, TABLE). Order its rows where their order matters.
    url
        As libpq understands it, `postgresql://user:password@host/database` or `host=... dbname=...`; None for what
        the environment says. It is never shown.
    timeout_s
        Seconds that the database may work on one step of the query; None for its own limit.
    chunk_rows
        Rows that are fetched at a time: what bounds memory beside the table itself.
    """

    query: str
    url: str | None = field(default=None, repr=False)
    timeout_s: float | None = None
    chunk_rows: int = 10_000

    def __post_init__(self) -> None:
        if not self.query.strip(" \t\r\n;"):
            raise ConfigError("query must be a SELECT, got an empty text; write data.query")
        if self.timeout_s is not None and self.timeout_s <= 0:
            raise ConfigError(f"timeout_s must be above 0, got {self.timeout_s}; leave it out for no limit")
        if self.chunk_rows < 1:
            raise ConfigError(f"chunk_rows must be at least 1, got {self.chunk_rows}")

    def read(self) -> tuple[pl.DataFrame, Origin]:
        """Return the rows and their origin; see `Source`.

        Integers become Int64, other numbers Float64, times lose their zone for UTC, what has no type of ours becomes
        text. The origin's digest is that of the content: it differs as soon as a name, a type, a value or the order
        of rows does.

        Raises
        ------
        DataError
            If the database cannot be reached, refuses the query, or returns no row.
        """
        psycopg = _driver()
        with self._connected(psycopg) as connection:
            place = f"{connection.info.host or 'localhost'}/{connection.info.dbname}"
            try:
                _restrict(connection, self.timeout_s)
                frame = self._fetched(connection)
            except (psycopg.Error, UnicodeDecodeError) as error:
                raise DataError(_refusal(psycopg, error, place)) from None
        if frame.height == 0:
            raise DataError(f"the query to {place} must return rows, but returned none; check data.query")
        frame = tidy(frame)
        note = f"Real data from a query to the database {place}."
        return frame, Origin("postgresql", place, content_digest(frame), note=note)

    @contextmanager
    def _connected(self, psycopg: Any) -> Iterator[Any]:
        """Connect, and close the connection at the end; an error never shows the password."""
        try:
            parts = psycopg.conninfo.conninfo_to_dict(self.url or "")
        except psycopg.Error:  # its message may repeat a part of the password
            raise DataError(
                "the database's URL cannot be read; write postgresql://user:password@host:5432/database, "
                "with special characters in the password percent-encoded"
            ) from None
        settings = {"client_encoding": "utf8", "fallback_application_name": "werkbund"}
        if "connect_timeout" not in parts and "PGCONNECT_TIMEOUT" not in os.environ:
            settings["connect_timeout"] = str(_CONNECT_TIMEOUT_S)
        try:
            connection = psycopg.connect(self.url or "", **settings)
        except psycopg.Error as error:
            secrets = (parts.get("password"), os.environ.get("PGPASSWORD"))
            raise DataError(
                f"the database cannot be reached: {_without(str(error), secrets)}; check PGHOST, PGPORT, PGDATABASE, "
                "PGUSER and PGPASSWORD, or the URL"
            ) from None
        with connection:
            yield connection

    def _fetched(self, connection: Any) -> pl.DataFrame:
        """Return all rows of the query, fetched `chunk_rows` at a time."""
        with connection.cursor(name="werkbund") as cursor:
            cursor.execute(self.query.rstrip(" \t\r\n;").encode())
            schema = _schema(connection, cursor.description)
            pieces = [pl.DataFrame(schema=schema)]
            while rows := cursor.fetchmany(self.chunk_rows):
                pieces.append(pl.DataFrame(rows, schema=schema, orient="row"))
        return pl.concat(pieces)


def _driver() -> Any:
    try:
        return importlib.import_module("psycopg")
    except ImportError as error:
        raise DataError(
            f"reading from PostgreSQL needs psycopg ({error}); install it with pip install 'werkbund[postgresql]'"
        ) from error


def _restrict(connection: Any, timeout_s: float | None) -> None:
    """Make the session unable to write and its texts independent of the server's settings, and set the loaders."""
    connection.read_only = True
    connection.autocommit = True  # what follows belongs to the session, not to one transaction
    connection.execute("SET default_transaction_read_only = on")
    connection.execute("SET TIME ZONE 'UTC'")
    if timeout_s is not None:
        connection.execute(f"SET statement_timeout = {max(round(timeout_s * 1000), 1)}")
    connection.autocommit = False
    numeric, string = (importlib.import_module(f"psycopg.types.{name}") for name in ("numeric", "string"))
    for known in connection.adapters.types:
        for oid in (known.oid, known.array_oid):
            if oid and (known.name not in _TYPES or oid == known.array_oid):
                connection.adapters.register_loader(oid, string.TextLoader)
    connection.adapters.register_loader("numeric", numeric.FloatLoader)


def _schema(connection: Any, description: Any) -> dict[str, pl.DataType]:
    """Return the types of the query's columns, by name."""
    names = [column.name for column in description]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        listed = ", ".join(map(repr, twice))
        raise DataError(f"the query's columns must have different names, got {listed} more than once; use AS")
    types = {connection.adapters.types[name].oid: ours for name, ours in _TYPES.items()}
    return {column.name: types.get(column.type_code, pl.String()) for column in description}


def _refusal(psycopg: Any, error: Exception, place: str) -> str:
    """Return in words why the database refused a query."""
    reason = " ".join(str(error).split())
    errors = psycopg.errors
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return f"the query to {place} must only read, but tried to write ({reason}); the session is read-only"
    if isinstance(error, errors.QueryCanceled):
        return f"the query to {place} was stopped ({reason}); narrow it or give it more time"
    if isinstance(error, errors.InsufficientPrivilege):
        return f"the query to {place} is not allowed to this account ({reason}); grant it SELECT on what it reads"
    return f"the query to {place} must be a single SELECT that the database understands: {reason}; check data.query"


def _without(text: str, secrets: tuple[object, ...]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(str(secret), "***")
    return " ".join(text.split())


def content_digest(frame: pl.DataFrame, piece_rows: int = 100_000) -> str:
    """Return the SHA-256 over a frame's names, types and values, hexadecimal, whatever the pieces.

    Examples
    --------
    >>> one, other = pl.DataFrame({"a": ["x", "yz"]}), pl.DataFrame({"a": ["xy", "z"]})
    >>> content_digest(one) == content_digest(other)
    False
    >>> content_digest(one, 1) == content_digest(one)
    True
    """
    total = hashlib.sha256()
    for column in frame.iter_columns():
        shape, content = hashlib.sha256(), hashlib.sha256()
        for first in range(0, len(column), piece_rows):
            piece = column.slice(first, piece_rows)
            if piece.dtype == pl.String:  # lengths too, or values could move over their borders
                shape.update(piece.str.len_bytes().cast(pl.Int64).fill_null(-1).to_numpy().tobytes())
                content.update("".join(piece.drop_nulls()).encode())
            else:
                shape.update(piece.is_null().to_numpy().tobytes())
                content.update(_as_numbers(piece).to_numpy().tobytes())
        total.update(f"{column.name}\n{column.dtype}\n{shape.hexdigest()}\n{content.hexdigest()}\n".encode())
    return total.hexdigest()


def _as_numbers(piece: pl.Series) -> pl.Series:
    numbers = piece if piece.dtype.is_numeric() else piece.to_physical()
    return numbers.fill_null(False) if numbers.dtype == pl.Boolean else numbers.fill_null(0)
