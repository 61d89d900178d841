"""Labels, failure modes and machine numbers as arrays, read from a table's columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from werkbund.core.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from werkbund.core.errors import DataError
from werkbund.data.times import moments

Value = str | int | float | bool


def with_label(frame: pl.DataFrame, name: str, empty: Value) -> pl.DataFrame:
    """Return a table in which rows without a value of the label have this one.

    Examples
    --------
    >>> with_label(pl.DataFrame({"failed": ["x", None]}), "failed", "no")["failed"].to_list()
    ['x', 'no']
    """
    column = frame[name]
    if isinstance(empty, str):
        column = column.cast(pl.String)
    elif column.dtype == pl.Null:
        column = column.cast(pl.Int64)
    return frame.with_columns(column.fill_null(empty))


def binary_labels(column: pl.Series, positive: Value | tuple[Value, ...] | None) -> Float32Array:
    """Return 1 where the column has the positive value, or one of several, 0 elsewhere: (rows,).

    Parameters
    ----------
    column
        The label column.
    positive
        The value that means failure, all others being none; None if the column holds 0 and 1, or truths.
        Some rows need not have it: a client may have no failure.

    Raises
    ------
    DataError
        If values are missing, or more than two where it is not said which is the positive one.
    """
    missing = _num_missing(column)
    if missing:
        raise DataError(
            f"label {column.name!r} must have a value in every row, {missing} of {len(column)} are missing; "
            "drop these rows or fill them in"
        )
    values = column.unique().sort().to_list()
    if positive is not None:
        meant = positive if isinstance(positive, tuple) else (positive,)
        wanted = [_as_value_of(column, each, values) for each in meant]
        plain = column.cast(pl.Float64) if isinstance(wanted[0], float) else column.cast(pl.String)
        return plain.is_in(wanted).cast(pl.Float32).to_numpy()
    if len(values) > 2:
        raise DataError(
            f"label {column.name!r} must have two values, got {len(values)}: {_shown(values)}; "
            "say which of them mean failure (data.positive), or choose another label"
        )
    return _zero_one(column, values)


def _zero_one(column: pl.Series, values: Sequence[Value]) -> Float32Array:
    if column.dtype == pl.String or not set(values) <= {0, 1}:
        raise DataError(
            f"label {column.name!r} must hold 0 and 1 where no positive value is named, "
            f"found {_shown(values)}; set data.positive to the value that means failure"
        )
    return column.cast(pl.Float32).to_numpy()


def _as_value_of(column: pl.Series, positive: Value, values: Sequence[Value]) -> Value:
    """Return the positive value in the column's own type, of which the column has these values.

    Raises
    ------
    DataError
        If it cannot be one.
    """
    if column.dtype == pl.String or isinstance(column.dtype, (pl.Categorical, pl.Enum)):
        return positive if isinstance(positive, str) else str(positive)
    try:
        return float(positive)
    except ValueError as error:
        raise DataError(
            f"positive must be a value of label {column.name!r}, got {positive!r}, found {_shown(values)}"
        ) from error


def _num_missing(column: pl.Series) -> int:
    return column.null_count() + (int(column.is_nan().sum()) if column.dtype.is_float() else 0)


def _shown(values: Sequence[Value]) -> str:
    shown = ", ".join(repr(value) for value in values[:6])
    return f"{shown}, ..." if len(values) > 6 else shown


def numbers_of(column: pl.Series) -> Float64Array:
    """Return the numbers of a label column: (rows,), NaN where one is missing.

    Raises
    ------
    DataError
        If the column holds other things than numbers.
    """
    if not column.dtype.is_numeric():
        raise DataError(
            f"label {column.name!r} must hold numbers where data.target = 'number', got {column.dtype}; name another "
            "column, or drop data.target"
        )
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


def mode_flags_of_columns(frame: pl.DataFrame, names: tuple[str, ...]) -> tuple[BoolArray, tuple[str, ...]]:
    """Return the flags of 0/1 columns, (rows, modes), and their names; a missing flag is no flag."""
    flags = np.zeros((frame.height, len(names)), np.bool_)
    for index, name in enumerate(names):
        column = frame[name]
        if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
            raise DataError(f"failure mode {name!r} must be a 0/1 column, got {column.dtype}; use data.mode for texts")
        values = column.cast(pl.Float64).fill_nan(None).fill_null(0.0).to_numpy()
        if not np.isin(values, (0.0, 1.0)).all():
            raise DataError(f"failure mode {name!r} must hold 0 and 1, found {values[~np.isin(values, (0, 1))][0]}")
        flags[:, index] = values == 1.0
    return flags, names


def mode_flags_of_text(column: pl.Series, none: str | None) -> tuple[BoolArray, tuple[str, ...]]:
    """Return the flags of a text column, (rows, modes), and the modes that occur, sorted; missing is none."""
    texts = column.cast(pl.String)
    names = tuple(name for name in texts.drop_nulls().unique().sort().to_list() if name != none)
    flags = [texts.eq_missing(name).to_numpy() for name in names]
    stacked = np.stack(flags, axis=1) if flags else np.zeros((len(column), 0), np.bool_)
    return stacked, names


def machine_numbers(
    frame: pl.DataFrame, machine: str | None, reset: str | None, client: str | None, time: str | None
) -> Int64Array:
    """Return a machine number for each row, from 0 in order of appearance: (rows,).

    Parameters
    ----------
    machine
        Column with the id; rows without one count as one machine.
    reset
        Or: column that falls back where a new machine begins, in order of `time` within each client.
    client
        Column whose values separate machines of the same id.
    """
    if reset is not None:
        ids = _stretches(frame, reset, client, time)
    elif machine is not None:
        ids = frame[machine].alias("machine")
    else:
        return np.zeros(frame.height, np.int64)
    return _dense(pl.DataFrame([ids] if client is None else [ids, frame[client].alias("client")]))


def _stretches(frame: pl.DataFrame, reset: str, client: str | None, time: str | None) -> pl.Series:
    """Return how often the column has fallen back so far, within each client in order of time."""
    if not frame[reset].dtype.is_numeric():
        raise DataError(f"machine_reset {reset!r} must be a number column, got {frame[reset].dtype}")
    site = pl.lit(0) if client is None else pl.Series("client", frame[client])
    order = pl.int_range(pl.len()) if time is None else pl.Series("time", moments(frame[time]))
    work = pl.DataFrame({"wear": frame[reset].cast(pl.Float64).fill_nan(None)}).with_columns(
        site.alias("client"), order.alias("time"), pl.int_range(pl.len()).alias("row")
    )
    ordered = work.sort("time", maintain_order=True).with_columns(
        pl.col("wear").forward_fill().over("client").alias("known")
    )
    falls = (pl.col("known") < pl.col("known").shift(1)).fill_null(False).cast(pl.Int64)
    return ordered.with_columns(falls.cum_sum().over("client").alias("stretch")).sort("row")["stretch"]


def _dense(keys: pl.DataFrame) -> Int64Array:
    """Return the number of each row's combination of keys, in order of appearance."""
    names = keys.columns
    distinct = keys.unique(maintain_order=True).with_row_index("number")
    joined = keys.join(distinct, on=names, how="left", nulls_equal=True, maintain_order="left")
    return joined["number"].cast(pl.Int64).to_numpy()
