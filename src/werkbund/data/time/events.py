"""What happened to machines: failures and planned stops, each from its start until the machine is back.

Rows about one stop become one; a stop without an end lasts until the machine's next reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from werkbund.core.errors import ConfigError, DataError
from werkbund.data.names import require
from werkbund.data.time.clock import TICKS, Clock, counts_units, span

DAY = 86_400 * TICKS


@dataclass(frozen=True)
class LogColumns:
    """Say which column of a log is which.

    Parameters
    ----------
    machine, start
        The machine's id, as in the readings, and when a stop began.
    back
        When the machine was back; None if nobody noted it.
    client
        The site, where machines of two sites have one id.
    kind, planned
        The column that tells a planned stop from a failure, and its values for planned ones; without them every row is
        a failure.
    mode
        What failed.
    """

    machine: str
    start: str
    back: str | None = None
    client: str | None = None
    kind: str | None = None
    planned: tuple[str, ...] = ()
    mode: str | None = None

    def __post_init__(self) -> None:
        if (self.kind is None) != (not self.planned):
            raise ConfigError(
                "set data.events.kind and data.events.planned, or neither: the column and its values for planned stops"
            )

    @property
    def used(self) -> tuple[str, ...]:
        """Columns that a log must have."""
        names = (self.machine, self.start, self.back, self.client, self.kind, self.mode)
        return tuple(dict.fromkeys(name for name in names if name is not None))


@dataclass(frozen=True)
class EventLog:
    """Hold stops that do not overlap, sorted by machine and start.

    Parameters
    ----------
    frame
        `machine`: its key, a text; `start`, `back` in ticks, `back` null where nobody noted it; `planned`; `mode`, null
        where nobody named it.
    resolution
        How exactly starts are noted, in ticks: a day where the log holds days alone, else 0.
    merged
        Rows that told of a stop which another row told of.
    undated
        Rows without a machine or a start, which tell nothing.
    """

    frame: pl.DataFrame
    resolution: int = 0
    merged: int = 0
    undated: int = 0

    def closed(self, readings: pl.DataFrame) -> EventLog:
        """Return the log with an end for every stop.

        Parameters
        ----------
        readings
            `machine` and `tick`, sorted by both: a stop without an end lasts until the first reading after its start,
            or for good.
        """
        rows = readings.select("machine", pl.col("tick").alias("next"))
        found = self.frame.sort("start").join_asof(
            rows.sort("next"), left_on="start", right_on="next", by="machine", strategy="forward",
            allow_exact_matches=False, check_sortedness=False,
        )  # fmt: skip
        end = pl.coalesce("back", "next", pl.lit(_FOR_GOOD))
        frame = found.with_columns(end.alias("back")).drop("next").sort("machine", "start")
        return replace(self, frame=frame)

    def at_sites(self, keys: pl.Series) -> EventLog:
        """Return the log of a federation, whose rows name machines without their site, by the keys of the readings.

        Raises
        ------
        DataError
            If an id is that of machines at two sites.
        """
        known = keys.unique().sort()
        places = pl.DataFrame({"key": known, "machine": known.str.split("\x1f").list.last()})
        own = places.filter(pl.col("machine").is_in(self.frame["machine"].implode()))
        if own["machine"].is_duplicated().any():
            twice = own.filter(pl.col("machine").is_duplicated())["machine"][0]
            raise DataError(
                f"the log must say at which site machine {twice!r} is, as two have one of that name; "
                "add a column with the site and name it in data.events.client"
            )
        found = self.frame.join(own, on="machine", how="left")
        frame = found.with_columns(pl.coalesce("key", "machine").alias("machine")).drop("key")
        return replace(self, frame=frame.sort("machine", "start"))


_FOR_GOOD = 2**62


def read_events(frame: pl.DataFrame, columns: LogColumns, clock: Clock, merge: str = "4h") -> EventLog:
    """Read a log of failures and planned stops.

    Parameters
    ----------
    frame
        One row a stop, in any order.
    columns
        Which column is which.
    clock
        How its moments are written. A date without a time is that day's start, in local time.
    merge
        Stops of one kind whose starts lie no further apart are one, as are those that overlap. It lasts from the first
        start to the last end, is of the kind that began it, and has the modes of all.

    Raises
    ------
    ConfigError
        If a column is not there, or a machine is back before it stopped.
    """
    require(frame, columns.used, "the log of events")
    machine = key_of(frame, columns.machine, columns.client)
    start = clock.ticks(frame[columns.start], machine)
    noted = pl.Series([None] * frame.height) if columns.back is None else frame[columns.back]
    back = clock.ticks(noted, machine)
    planned = pl.repeat(False, frame.height, eager=True)
    if columns.kind is not None:
        planned = frame[columns.kind].cast(pl.String).is_in(list(columns.planned)).fill_null(False)
    mode = pl.repeat(None, frame.height, dtype=pl.String, eager=True)
    if columns.mode is not None:
        mode = frame[columns.mode].cast(pl.String)
    work = pl.DataFrame({"machine": machine, "start": start, "back": back, "planned": planned, "mode": mode})
    known = work.drop_nulls(["machine", "start"])
    _check_order(known)
    apart = 0 if counts_units(merge) != (frame[columns.start].dtype.is_numeric()) else span(merge)
    stops = _merged(known, apart)
    return EventLog(stops, _resolution(frame[columns.start]), known.height - stops.height, work.height - known.height)


@dataclass(frozen=True)
class LogTable:
    """Hold a log as it was read, and what its columns mean.

    Parameters
    ----------
    frame
        One row a stop.
    columns
        Which column is which.
    merge
        See `read_events`.
    until
        Until when the log was kept, as a date or a number; None for as long as there are readings.
    """

    frame: pl.DataFrame
    columns: LogColumns
    merge: str = "4h"
    until: str | None = None

    def stops(self, clock: Clock) -> EventLog:
        """Return the stops in order."""
        return read_events(self.frame, self.columns, clock, self.merge)

    def end(self, clock: Clock) -> int | None:
        """Return until when the log was kept, in ticks."""
        return None if self.until is None else clock.ticks(pl.Series("until", [self.until]), pl.Series([""])).item()

    @classmethod
    def of(cls, frame: pl.DataFrame, values: Mapping[str, Any], machine: str, client: str | None) -> LogTable:
        """Return a log by the values of a section `data.events`.

        Raises
        ------
        ConfigError
            If it does not say which column holds the start.
        """
        if values["start"] is None:
            raise ConfigError(
                f"data.events.start must name the column with the start of a stop, got none; "
                f"the log has {', '.join(frame.columns)}"
            )
        site = client if client in frame.columns else None
        columns = LogColumns(
            machine=values["machine"] or machine,
            start=values["start"],
            back=values["back"],
            client=values["client"] or site,
            kind=values["kind"],
            planned=tuple(values["planned"]),
            mode=values["mode"],
        )
        return cls(frame, columns, values["merge"], values["until"])


def key_of(frame: pl.DataFrame, machine: str, client: str | None) -> pl.Series:
    """Return each row's key of a machine, a text: the same id at two clients means two machines."""
    name = pl.col(machine).cast(pl.String).str.strip_chars()
    key = name if client is None else pl.concat_str(pl.col(client).cast(pl.String), name, separator="\x1f")
    return frame.select(key.alias("machine"))["machine"]


def _check_order(work: pl.DataFrame) -> None:
    wrong = work.filter(pl.col("back") < pl.col("start"))
    if wrong.height:
        name = str(wrong["machine"][0]).replace("\x1f", " ")
        raise ConfigError(
            f"a log must say that a machine is back after it stopped, {wrong.height} rows say before, such as one of "
            f"{name!r}; correct data.events.start and back, or the rows"
        )


def _resolution(start: pl.Series) -> int:
    """Return a day where a log holds days alone."""
    if start.dtype == pl.Date:
        return DAY
    if start.dtype != pl.String or not len(start):
        return 0
    return 0 if start.str.contains(r"\d[T ,]+\d|^\s*\d+(?:\.\d+)?\s*$").fill_null(False).any() else DAY


def _merged(work: pl.DataFrame, apart: int) -> pl.DataFrame:
    """Return one row a stop; of rows that begin together a failure comes first."""
    ordered = work.sort("machine", "start", "planned", "back", "mode", maintain_order=True)
    last = pl.coalesce("back", "start")
    reached = last.cum_max().shift(1).over("machine")
    near = (pl.col("start") - pl.col("start").shift(1)).over("machine") <= apart
    alike = (pl.col("planned") == pl.col("planned").shift(1)).over("machine")
    same_start = (pl.col("start") == pl.col("start").shift(1)).over("machine")
    joined = (pl.col("start") < reached) | (near & alike) | same_start
    stop = (~joined.fill_null(False)).cum_sum().alias("stop")
    modes = pl.col("mode").drop_nulls().unique(maintain_order=True).str.join(", ")
    told = ordered.with_columns(stop).group_by("machine", "stop", maintain_order=True).agg(
        pl.col("start").first(), pl.col("back").max(), pl.col("planned").first(), modes
    )  # fmt: skip
    empty = pl.when(pl.col("mode") == "").then(None).otherwise("mode").alias("mode")
    return told.select("machine", "start", "back", "planned", empty)


_NO_STOPS = pl.DataFrame(
    schema={"machine": pl.String, "start": pl.Int64, "back": pl.Int64, "planned": pl.Boolean, "mode": pl.String}
)


def stops_of(log: LogTable | None, readings: pl.DataFrame, clock: Clock, client: str | None) -> EventLog:
    """Return the stops of a log under the keys of the readings, each with an end; none where there is no log."""
    if log is None:
        return EventLog(_NO_STOPS)
    stops = log.stops(clock)
    if client is not None and log.columns.client is None:
        stops = stops.at_sites(readings["machine"])
    return stops.closed(readings)
