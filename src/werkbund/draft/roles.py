"""Which columns of a table that nobody described name the machine, order the rows, or name the site.

A guess needs a name that says so and values that behave so. What it was made from is kept, for people to judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from werkbund.core.errors import DataError
from werkbund.data.times import moments

MACHINE_WORDS = [
    "machine",
    "asset",
    "equipment",
    "engine",
    "turbine",
    "pump",
    "motor",
    "robot",
    "vehicle",
    "truck",
    "compressor",
    "press",
    "unit",
    "device",
    "maschine",
    "anlage",
    "aggregat",
    "spindle",
    "bearing",
    "tool",
    "werkzeug",
]
"""From the whole to its parts: rows of one machine resemble each other whatever its tool."""
SITE_WORDS = {
    "site",
    "plant",
    "factory",
    "location",
    "facility",
    "werk",
    "standort",
    "fab",
    "mill",
    "client",
    "customer",
    "branch",
    "hall",
}
ID_WORDS = {"id", "ids", "uid", "uuid", "guid", "serial", "no", "nr", "num", "number", "name", "code", "key", "tag"}
TIME_WORDS = {
    "time",
    "timestamp",
    "date",
    "datetime",
    "ts",
    "zeit",
    "datum",
    "zeitstempel",
    "epoch",
    "cycle",
    "cycles",
    "step",
    "tick",
    "recorded",
}
_TIME_COMPANIONS = ID_WORDS | {"utc", "local", "unix", "at", "on", "stamp", "s", "ms", "sec", "measured", "created"}
_WEAR_WORDS = {"wear", "verschleiss", "verschleiß", "usage", "runtime", "age"}

_ISO = r"^\d{4}[-/]\d{2}[-/]\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?(?:Z|\+00:00)?$"
_OTHER_MOMENTS = (
    r"^\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?:[ T,]+\d{1,2}:\d{2}\S*(?: [AaPp][Mm])?)?$|^\d{1,2}:\d{2}(?::\d{2})?$"
)
_MOST_SITES = 200
_FEWEST_FALLS, _MOST_FALLS = 5, 0.1  # number of machine changes, and their share of rows
_NEARLY_NEW, _MOSTLY = 0.1, 0.9  # of the longest life; share of the falls that end below


@dataclass(frozen=True)
class Roles:
    """Hold what columns are beside features and label; None where no column seems to have the role.

    Parameters
    ----------
    machine, machine_reset, time, client
        As in the data section; the client is the one that was given.
    sites
        Columns that could name the client.
    time_remark
        How the rows lie in time, or why no column orders them.
    num_times
        Different times of the rows; 0 without a time column.
    """

    machine: str | None
    machine_reset: str | None
    time: str | None
    client: str | None
    sites: tuple[str, ...]
    time_remark: str
    num_times: int = 0

    @property
    def taken(self) -> frozenset[str]:
        """Columns with a role that no feature can have."""
        return frozenset(name for name in (self.machine, self.time, self.client) if name is not None)


def roles_of(frame: pl.DataFrame, label: str, client: str | None) -> Roles:
    """Guess the roles of the columns.

    Parameters
    ----------
    frame
        The raw table.
    label
        The label's column, which has no other role.
    client
        The client column if it is known.
    """
    names = [name for name in frame.columns if name not in (label, client)]
    machine = machine_of(frame, names)
    time, remark = _time_of(frame, [name for name in names if name != machine], machine, client)
    ordered = frame if time is None else frame[np.argsort(moments(frame[time]), kind="stable")]
    reset = None if machine else _reset_of(ordered, names, client)
    sites = () if client else tuple(name for name in names if name != machine and _is_site(frame[name]))
    return Roles(machine, reset, time, client, sites, remark, 0 if time is None else frame[time].n_unique())


def words(header: str) -> list[str]:
    """Return the words of a header, in lower case.

    Examples
    --------
    >>> words("machineID"), words("Tool wear [min]")
    (['machine', 'id'], ['tool', 'wear', 'min'])
    """
    return re.findall(r"[^\W\d_]+|\d+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", header).lower())


def is_moment(column: pl.Series) -> bool:
    """Return whether a column holds dates or times, as such or as text."""
    if column.dtype.is_temporal():
        return True
    return _all_match(column, _ISO) or _all_match(column, _OTHER_MOMENTS)


def machine_of(frame: pl.DataFrame, names: Iterable[str]) -> str | None:
    """Return the column whose header is a word for a machine and whose values repeat."""
    machines: list[tuple[int, str]] = []
    for name in names:
        header = words(name)
        ranks = [MACHINE_WORDS.index(word) for word in header if word in MACHINE_WORDS]
        if ranks and set(header) <= {*MACHINE_WORDS, *ID_WORDS} and _repeats(frame[name]):
            machines.append((min(ranks), name))
    return min(machines)[1] if machines else None


def _repeats(column: pl.Series) -> bool:
    if column.dtype != pl.String and not column.dtype.is_integer():
        return False
    return 2 <= column.drop_nulls().n_unique() <= len(column) // 2


def _is_site(column: pl.Series) -> bool:
    header = set(words(column.name))
    named = bool(header & SITE_WORDS) and header <= SITE_WORDS | ID_WORDS
    return named and _repeats(column) and column.drop_nulls().n_unique() <= _MOST_SITES


def _time_of(frame: pl.DataFrame, names: list[str], machine: str | None, client: str | None) -> tuple[str | None, str]:
    """Return the column to order rows by, and a remark; text must be read as time for certain."""
    groups = [name for name in (client, machine) if name is not None]
    sortable = [name for name in names if _orders(frame[name]) or _counts_time(frame, name, groups)]
    if sortable:
        best = max(sortable, key=lambda name: (bool(TIME_WORDS & set(words(name))), frame[name].n_unique()))
        within = " within each machine" if machine else " within each client" if client else ""
        if _rises(frame, best, groups):
            return best, f"The rows of the file already rise in {best!r}{within}."
        return best, f"The rows of the file are not in the order of {best!r}; they are sorted by it."
    unread = [name for name in names if is_moment(frame[name])]
    if unread:
        example = frame[unread[0]].drop_nulls()[0]
        return None, (
            f"{unread[0]!r} is a time, but its values cannot be read for certain (such as {str(example)!r}), "
            "so the order of the file counts; write it as 2024-01-31 14:00:00 and name it in time to sort by it."
        )
    return None, "No column looks like a time, so the order of the file counts."


def _orders(column: pl.Series) -> bool:
    whole = isinstance(column.dtype, (pl.Datetime, pl.Date))
    return column.n_unique() > 1 and (whole or (is_moment(column) and _is_read(column)))


def _is_read(column: pl.Series) -> bool:
    try:
        moments(column)
    except DataError:
        return False
    return True


def _counts_time(frame: pl.DataFrame, name: str, groups: list[str]) -> bool:
    """Return whether a number column is named like a time and never falls within a machine."""
    header = set(words(name))
    named = bool(header & TIME_WORDS) and header <= TIME_WORDS | _TIME_COMPANIONS
    column = frame[name]
    return named and column.dtype.is_numeric() and column.n_unique() > 2 and _rises(frame, name, groups)


def _rises(frame: pl.DataFrame, name: str, groups: list[str]) -> bool:
    work = frame.select(pl.Series("time", moments(frame[name])).fill_nan(None), *groups)
    before = pl.col("time").shift(1)
    falls = pl.col("time") < (before.over(groups) if groups else before)
    return not work.select(falls.fill_null(False).any()).item()


def _reset_of(frame: pl.DataFrame, names: Iterable[str], client: str | None) -> str | None:
    """Return the number column that is named like wear, and falls back to nearly nothing now and then."""
    for name in names:
        if not (_WEAR_WORDS & set(words(name)) and frame[name].dtype.is_numeric()):
            continue
        known = frame.select(pl.col(name).cast(pl.Float64), *([client] if client else [])).drop_nulls()
        before = pl.col(name).shift(1)
        fallen = known.filter(pl.col(name) < (before.over(client) if client else before))[name]
        largest = known[name].max()
        if not (_FEWEST_FALLS <= len(fallen) <= _MOST_FALLS * len(known) and isinstance(largest, float)):
            continue
        if int((fallen <= _NEARLY_NEW * largest).sum()) >= _MOSTLY * len(fallen):
            return name
    return None


def _all_match(column: pl.Series, pattern: str) -> bool:
    if column.dtype != pl.String or column.null_count() == len(column):
        return False
    return bool(column.drop_nulls().str.contains(pattern).all())
