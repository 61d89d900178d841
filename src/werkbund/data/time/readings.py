"""Readings of machines in order, once each: what a logger wrote twice, out of order or at no possible time is told.

Columns are signals (wide form); a table with one reading a row (long form) is brought into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import polars as pl

from werkbund.core.errors import DataError
from werkbund.data.names import require
from werkbund.data.time.clock import HOUR, TICKS, Clock, is_counted
from werkbund.data.time.events import key_of

NEVER_SET = 631_152_000 * TICKS
"""The year 1990: what a clock that was never set shows lies before it."""

_DAY = 24 * HOUR
_GAP_STEPS, _SHORTEST_GAP = 5, HOUR // 2


@dataclass(frozen=True)
class Dirt:
    """Count what was wrong with the order of readings, in rows.

    Parameters
    ----------
    rows
        Read at all.
    nowhere
        Without a machine or a time, or at a local time that a clock skips: left out.
    impossible
        Before 1990, as of a clock that was never set, or later than tomorrow: left out.
    repeated, contradicted
        Of one machine and time with another row, with the same readings and with others: the last one counts.
    unordered
        Earlier than the row before it of the same machine: sorted.
    gaps
        Longer than five usual steps of the machine, and than half an hour where times are dates, after the row before.
    """

    rows: int
    nowhere: int = 0
    impossible: int = 0
    repeated: int = 0
    contradicted: int = 0
    unordered: int = 0
    gaps: int = 0

    def to_json(self) -> dict[str, int]:
        """Return the counts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Readings:
    """Hold readings sorted by machine and time, one row each.

    Parameters
    ----------
    frame
        `machine`: its key; `tick`; the signals, Float64, null where there is none; the other columns that were kept.
    counted
        Whether times count units instead of being dates.
    dirt
        What was wrong with them.
    """

    frame: pl.DataFrame
    counted: bool
    dirt: Dirt


def widened(frame: pl.DataFrame, keys: Sequence[str], tag: str, value: str) -> pl.DataFrame:
    """Return one column a signal of a table with one reading a row.

    Parameters
    ----------
    frame
        The readings.
    keys
        Columns that name machine and time, and the site if there is one.
    tag, value
        The columns with the signal's name and the reading; of two readings of one signal and time the last counts.
    """
    require(frame, (*keys, tag, value), "readings in long form")
    return frame.pivot(on=tag, index=list(keys), values=value, aggregate_function="last", maintain_order=True)


def read_readings(
    frame: pl.DataFrame,
    *,
    machine: str,
    time: str,
    client: str | None,
    signals: Sequence[str],
    kept: Sequence[str] = (),
    clock: Clock,
    now: int,
) -> Readings:
    """Bring readings in wide form into order.

    Parameters
    ----------
    frame
        In the order in which they came.
    machine, time, client
        Columns of the machine's id, the time and, where ids repeat, the site.
    signals
        Columns of numbers.
    kept
        Further columns to keep as they are.
    clock
        How times are written.
    now
        In ticks; dates later than a day after it are impossible.

    Raises
    ------
    DataError
        If a signal holds text, or no row is left.
    """
    require(frame, [machine, time, *signals, *kept, *([client] if client else [])], "readings")
    text = [name for name in signals if not (frame[name].dtype.is_numeric() or frame[name].dtype in _TRUTHS)]
    if text:
        raise DataError(f"signals must hold numbers, got text in {', '.join(text)}; list signals in data.columns")
    key, counted = key_of(frame, machine, client), is_counted(frame[time])
    columns = [pl.col(name).cast(pl.Float64).fill_nan(None) for name in signals]
    others = [name for name in dict.fromkeys((machine, *([client] if client else []), *kept)) if name not in signals]
    # ids stand under names that no column can have
    found = frame.select(
        key.alias("machine"), clock.ticks(frame[time], key).alias("tick"), *columns,
        *(pl.col(name).alias(f"{name}\x1f") for name in others),
    )  # fmt: skip
    return _in_order(found, signals, counted, now)


_TRUTHS = (pl.Boolean, pl.Null)


def _in_order(found: pl.DataFrame, signals: Sequence[str], counted: bool, now: int) -> Readings:
    dated = found.drop_nulls(["machine", "tick"])
    possible = dated if counted else dated.filter(pl.col("tick").is_between(NEVER_SET, now + _DAY))
    if possible.height == 0:
        raise DataError(f"readings must have rows with a machine and a possible time, got none of {found.height}")
    unordered = possible.select(((pl.col("tick") < pl.col("tick").shift(1)).over("machine")).sum()).item()
    ordered = possible.sort("machine", "tick", maintain_order=True)
    again = (pl.col("tick") == pl.col("tick").shift(-1)) & (pl.col("machine") == pl.col("machine").shift(-1))
    other = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in signals)
    again = again.fill_null(False)
    repeated, contradicted = ordered.select((again & ~other).sum().alias("same"), (again & other).sum()).row(0)
    once = ordered.filter(~again)
    dirt = Dirt(
        found.height,
        found.height - dated.height,
        dated.height - possible.height,
        repeated,
        contradicted,
        unordered,
        _gaps(once, counted),
    )
    return Readings(once, counted, dirt)


def _gaps(ordered: pl.DataFrame, counted: bool) -> int:
    step = pl.col("tick").diff().over("machine")
    usual = ordered.select("machine", step.alias("step"))
    longest = pl.max_horizontal(_GAP_STEPS * pl.col("step").median().over("machine"), 0 if counted else _SHORTEST_GAP)
    return int(usual.select((pl.col("step") > longest).sum()).item())
