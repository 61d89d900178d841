"""Moments and spans as whole numbers: a millionth of a second, or of the unit in which a record counts its time.

Moments are read as they are written. Local times without an offset need the zone of the clock; the hour that a clock
shows twice is told apart by the order of the rows, the hour that it skips has no moment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from werkbund.core.errors import ConfigError, DataError
from werkbund.data.times import stamps

TICKS = 1_000_000
"""Ticks a second, or a unit of a record that counts."""

HOUR = 3600 * TICKS

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|)")
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "": 1}
_OFFSET = r"(?:[Zz]|[+-]\d{2}:?\d{2})\s*$"


def span(text: str) -> int:
    """Return a span in ticks: "90s", "30m", "6h", "3d", or a bare number in a record's own unit.

    Raises
    ------
    ConfigError
        If the text is no span.

    Examples
    --------
    >>> span("6h") == 6 * HOUR, span("30") == 30 * TICKS
    (True, True)
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"a span must be a number, alone or with s, m, h or d, got {text!r}; write such as 6h")
    return round(float(match[1]) * _UNITS[match[2]] * TICKS)


def counts_units(text: str) -> bool:
    """Say whether a span is a bare number, in the unit of a record that counts."""
    return text.strip()[-1:].isdigit()


@dataclass(frozen=True)
class Clock:
    """Say how moments are written.

    Parameters
    ----------
    zone
        Of local times without an offset, such as "Europe/Berlin"; empty where times are in UTC.
    """

    zone: str = ""

    def __post_init__(self) -> None:
        if self.zone:
            try:
                pl.Series([0]).cast(pl.Datetime("us")).dt.replace_time_zone(self.zone)
            except pl.exceptions.PolarsError as error:
                raise ConfigError(f"a zone must be a name such as Europe/Berlin, got {self.zone!r}: {error}") from error

    def ticks(self, column: pl.Series, machine: pl.Series) -> pl.Series:
        """Return the moment of each row in ticks, Int64, null where there is none.

        Parameters
        ----------
        column
            Dates, times or numbers, (rows,), in the order in which they were noted.
        machine
            (rows,), whose clock it is: the order of its rows tells the two passes of an hour apart.

        Raises
        ------
        DataError
            If it holds something else.
        """
        if column.null_count() == len(column):
            return pl.repeat(None, len(column), dtype=pl.Int64, eager=True)
        numbers = column.cast(pl.Float64, strict=False) if column.dtype == pl.String else column
        if numbers.dtype.is_numeric() and numbers.null_count() == column.null_count():
            return _scaled(numbers)
        local = _local(column)
        moments = stamps(column)
        if not (self.zone and local.any()):
            return moments.dt.epoch("us")
        zoned = _zoned(moments.dt.replace_time_zone(None), machine, self.zone)
        return moments.set(local, None).fill_null(zoned.set(~local, None)).dt.epoch("us")


def is_counted(column: pl.Series) -> bool:
    """Say whether a time column counts units instead of holding dates."""
    return column.dtype.is_numeric() or (
        column.dtype == pl.String and column.cast(pl.Float64, strict=False).null_count() == column.null_count()
    )


def _scaled(numbers: pl.Series) -> pl.Series:
    values = numbers.cast(pl.Float64)
    values = values.set(~values.is_finite().fill_null(False), None)
    return (values * TICKS).round().cast(pl.Int64)


def _local(column: pl.Series) -> pl.Series:
    """Return whether each row is a local time, (rows,): one without an offset."""
    if column.dtype == pl.String:
        return ~column.str.contains(_OFFSET).fill_null(True)
    if column.dtype != pl.Date and not isinstance(column.dtype, pl.Datetime):
        raise DataError(f"time {column.name!r} must hold dates, times or numbers, got {column.dtype}; convert it")
    aware = isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None
    return pl.repeat(not aware, len(column), eager=True)


def _zoned(local: pl.Series, machine: pl.Series, zone: str) -> pl.Series:
    """Return local times in UTC: of an hour shown twice the first pass is the earlier; a skipped one is null."""
    work = pl.DataFrame({"local": local, "machine": machine}).with_columns(
        pl.col("local").dt.replace_time_zone(zone, ambiguous=which, non_existent="null").alias(which)
        for which in ("earliest", "latest")
    )
    twice = (pl.col("earliest") != pl.col("latest")).fill_null(False)
    back = (pl.col("local") < pl.col("local").shift(1)).fill_null(False)
    second = twice & (back.cum_sum() > 0).over(pl.col("machine"), pl.col("local").dt.date(), twice)
    moment = pl.when(second).then("latest").otherwise("earliest").dt.convert_time_zone("UTC")
    return work.select(moment.alias("moment"))["moment"]


def when_of(tick: pl.Series, counted: bool) -> pl.Series:
    """Return moments as they are written in a table: dates in UTC, or numbers of units."""
    return tick / TICKS if counted else pl.select(pl.from_epoch(tick, "us").dt.replace_time_zone("UTC")).to_series()
