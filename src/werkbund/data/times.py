"""When each row is: a time column as numbers that rise with time, whatever it is written in."""

from __future__ import annotations

import numpy as np
import polars as pl

from werkbund.core.arrays import Float64Array
from werkbund.core.errors import DataError

_READABLE = r"^\s*(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}\.\d{1,2}\.\d{4})(?:[T ,]|\s*$)"
"""Year first, or day first with points: of 01/02/2024 nobody knows which is the month."""

_HOUR_US = 3.6e9


def moments(column: pl.Series) -> Float64Array:
    """Return when each row is: (rows,), NaN where that is missing.

    Parameters
    ----------
    column
        Dates and times, as such or as text, become hours; local times count as they stand, others in UTC. Numbers stay
        in the column's own unit.

    Raises
    ------
    DataError
        If it holds something else.

    Examples
    --------
    >>> moments(pl.Series(["31.01.2024 14:00", "2024-02-01T13:00:00Z", None])).tolist()
    [474086.0, 474109.0, nan]
    """
    if column.dtype.is_numeric():
        return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    if column.dtype == pl.String:
        numbers = column.cast(pl.Float64, strict=False)
        if numbers.null_count() == column.null_count():
            return numbers.fill_null(np.nan).to_numpy()
    return _hours(stamps(column))


def stamps(column: pl.Series) -> pl.Series:
    """Return the date and time of each row in UTC, (rows,), null where that is missing; see `moments`.

    Raises
    ------
    DataError
        If the column holds something else.
    """
    if column.dtype == pl.String:
        return _of_text(column)
    if column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
        moment = column.cast(pl.Datetime("us", getattr(column.dtype, "time_zone", None)))
        return moment.dt.convert_time_zone("UTC")
    raise DataError(f"time {column.name!r} must hold dates, times or numbers, got {column.dtype}; {_REMEDY}")


def _of_text(column: pl.Series) -> pl.Series:
    texts = column.str.strip_chars()
    left = texts.set(~texts.str.contains(_READABLE).fill_null(False), None)
    read = pl.Series(column.name, [None] * len(column), pl.Datetime("us", "UTC"))
    while left.null_count() < len(left):  # each pass reads by the form of the first text that is left
        found = left.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
        if found.null_count() == len(found):
            break
        read, left = read.fill_null(found), left.set(found.is_not_null(), None)
    _check_read(column, read)
    return read


def _check_read(column: pl.Series, stamps: pl.Series) -> None:
    """Refuse texts that are no dates or times."""
    odd = column.filter(column.is_not_null() & stamps.is_null())
    if len(odd):
        raise DataError(
            f"time {column.name!r} must hold dates, times or numbers, {len(odd)} of {len(column)} rows cannot be read, "
            f"such as {odd[0]!r}; {_REMEDY}"
        )


def _hours(stamps: pl.Series) -> Float64Array:
    ticks = stamps.dt.epoch("us").cast(pl.Float64)
    return (ticks / _HOUR_US).fill_null(np.nan).to_numpy()


_REMEDY = "write such as 2024-01-31 14:00:00, or leave data.time out, and rows go by their order in the file"
