"""Rows of several files below one another, whatever the order of their columns, and how these files were read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import polars as pl

from werkbund.core.errors import DataError
from werkbund.data.dialect import Dialect, Reading, Remark


def stacked(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return all rows, one frame below another; a column that is text in one is text in all.

    A column that a frame has not is empty there, as is one without a value, which fits any type.
    """
    order = list(dict.fromkeys(name for frame in frames.values() for name in frame.columns))
    parts = []
    for frame in frames.values():
        empty = [
            pl.lit(None).alias(c) for c in order if c not in frame.columns or frame[c].null_count() == frame.height
        ]
        parts.append(frame.with_columns(empty).select(order))
    return pl.concat(parts, how="vertical_relaxed")


def joined(frames: Mapping[str, pl.DataFrame], readings: Mapping[str, Reading]) -> Reading:
    """Return how several files were read: in one dialect where all are alike, with the columns that some have not.

    Raises
    ------
    DataError
        If two files have not a single column in common.
    """
    first = next(iter(readings.values()))
    order = list(dict.fromkeys(name for frame in frames.values() for name in frame.columns))
    common = {name: [file for file, frame in frames.items() if name not in frame.columns] for name in order}
    if all(common.values()):
        raise DataError(
            f"files that belong together must have columns in common, but none is in all: {', '.join(frames)}; "
            "leave out those of another kind, or map their names (data.map)"
        )
    remarks = [
        Remark(name, f"{len(lacking)} of {len(frames)} files have no such column ({_some(lacking)}): empty there.")
        for name, lacking in common.items()
        if lacking
    ]
    others = [name for name, reading in readings.items() if reading.dialect != first.dialect]
    if others:
        remarks.append(Remark("", f"Written otherwise than the first: {_some(others)}, each read as it is."))
    units = {name: unit for reading in reversed(list(readings.values())) for name, unit in reading.units.items()}
    dialect = reduce(Dialect.common, (reading.dialect for reading in readings.values()))
    return Reading(dialect, units, (*remarks, *_added(readings)))


def _added(readings: Mapping[str, Reading]) -> list[Remark]:
    """Return the remarks of all files, those that only differ by the file as one."""
    said: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for name, reading in readings.items():
        for remark in reading.remarks:
            said.setdefault((remark.column, remark.message), []).append((name, remark.rows))
    return [
        Remark(column, f"{_some([name for name, _ in files])}: {message}", sum(rows for _, rows in files))
        for (column, message), files in said.items()
    ]


def _some(names: Sequence[str], limit: int = 3) -> str:
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")
