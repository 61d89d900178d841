"""Single bad readings: far beyond all others, codes that stand for no reading, and a reading that no longer moves.

A reading is *far* if it is more than a million interquartile ranges from the median, and not by the column's own
spread over decades. A *code* is a number such as -999 or 65535 that stands apart from the rest of its column. A reading
is *stuck* where one value stands for many rows in a row, at a machine where it varies at other times and while other
readings go on varying.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from werkbund.core.arrays import BoolArray, Float64Array, Int64Array
from werkbund.core.errors import DataError
from werkbund.data.checks.finding import Finding, Level, listed, place, share
from werkbund.data.checks.lines import Lines
from werkbund.data.markers import Marker, without_marked
from werkbund.data.plausibility import LARGEST_SUM
from werkbund.data.table import Table
from werkbund.data.times import moments

FAR = 1e6
"""Interquartile ranges from the median, beyond which a reading is none."""

_DECADES = 4.0  # ranges of the sizes' own quartiles, in decades: leakage currents spread over many by themselves
_FEWEST = 10  # readings by which a column is known
_NINES = [10.0**digits - 1 for digits in range(3, 8)]
_WORDS = [2.0**15 - 1, 2.0**16 - 1, 2.0**31 - 1, 2.0**32 - 1]
_SCALED = [999.9, 999.99, 9999.9, 9999.99, 99999.9, 3276.7, 6553.5, 327.67, 655.35]
CODES = np.array(
    sorted(
        {*_NINES, *_WORDS, *_SCALED, *(-code for code in (*_NINES, *_SCALED, 99.0, 999.25))} | {-(2.0**15), -(2.0**31)}
    )
)
"""Numbers that controllers write where there is no reading."""

_APART, _APART_BELOW_ZERO = 0.5, 0.01  # of the span of all other readings; the second for a lone negative number
_LONG, _MANY_TIMES = 10, 10.0  # rows in a row, and times as many as is usual
_RARE = 0.05  # share of a value in other rows, above which it is a state of the machine
_HABIT = 2  # runs at one machine, above which they are its way of working
_MARKS = 5  # values that are listed one by one
_MOST_LEFT_OUT = 2  # clients that it is worth to go on without


def check_readings(table: Table, lines: Lines) -> Iterator[Finding]:
    """Yield columns with readings that cannot be, each with clients, rows and what to write."""
    series = _Series.of(table)
    columns = {feature.name: feature.missing for feature in table.schema.features if feature.kind == "number"}
    values = {name: own for name, marks in columns.items() if (own := _readings(table.frame[name], marks)) is not None}
    for name, own in values.items():
        codes = codes_among(own)
        beyond = _far(np.where(codes, np.nan, own))
        yield from _apart(name, own, beyond, series, lines)
        yield from _sentinels(name, own, codes, series, lines)
        others = [other for fellow, other in values.items() if fellow != name]
        yield from _stuck(name, np.where(codes | beyond, np.nan, own), others, series, lines)


def _readings(column: pl.Series, marks: Sequence[Marker]) -> Float64Array | None:
    """Return a column's readings, (rows,), NaN where there is none; None if it is known by too few."""
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        return None
    values = without_marked(column.cast(pl.Float64).fill_null(np.nan).to_numpy(), marks)
    return values if np.isfinite(values).sum() >= _FEWEST else None


def _far(values: Float64Array) -> BoolArray:
    """Say which readings are no readings by their size: (rows,)."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return np.zeros(len(values), np.bool_)
    first, middle, third = np.quantile(known, (0.25, 0.5, 0.75))
    spread = third - first or _spread_of_most(known) or max(abs(middle), 1.0)
    sizes = np.log10(np.abs(known[known != 0])) if (known != 0).any() else np.zeros(1)
    low, usual, high = np.quantile(sizes, (0.25, 0.5, 0.75))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        beyond: BoolArray = np.abs(values / FAR - middle / FAR) > spread
        decades = np.log10(np.abs(values)) - usual
        beyond &= decades > _DECADES * (high - low)
    return beyond


def _spread_of_most(known: Float64Array) -> float:
    low, high = np.quantile(known, (0.01, 0.99), method="nearest")
    most = known[(known >= low) & (known <= high)]
    return float(np.quantile(np.abs(most[most != np.median(most)] - np.median(most)), 0.5)) if np.ptp(most) else 0.0


def _apart(name: str, values: Float64Array, beyond: BoolArray, series: _Series, lines: Lines) -> Iterator[Finding]:
    if not beyond.any():
        return
    distinct = np.unique(values[beyond]).tolist()
    largest = max(np.abs(values[beyond]).tolist())
    rest = values[np.isfinite(values) & ~beyond]
    marks = distinct if len(distinct) <= _MARKS else _bounds(distinct, rest)
    clients, rows = series.clients_of(beyond)
    level: Level = "error" if largest > LARGEST_SUM else "warning"
    message = (
        f"{share(int(beyond.sum()), len(values))}{place(clients, rows)} are more than {FAR:g} times the interquartile "
        f"range from the median, such as {listed((f'{value:g}' for value in distinct), 3)}; one makes the whole column "
        f"useless to a network{', and no run can add it up' if level == 'error' else ''}. {_advice(clients)}"
    )
    yield Finding(level, name, "far", message, int(beyond.sum()), clients, lines.missing(name, marks))


def _bounds(distinct: Sequence[float], rest: Float64Array) -> list[Marker]:
    """Return bounds that take all far readings and leave the rest, with room for ten times as much."""
    low, high = float(rest.min()), float(rest.max())
    marks: list[Marker] = []
    if max(distinct) > high:
        marks.append(f"> {high + 10 * (high - low or abs(high) or 1.0):.3g}")
    if min(distinct) < low:
        marks.append(f"< {low - 10 * (high - low or abs(low) or 1.0):.3g}")
    return marks


def _advice(clients: Sequence[str]) -> str:
    out = f", or leave out {listed(clients)} (data.without)" if 0 < len(clients) <= _MOST_LEFT_OUT else ""
    return f"Mend or empty these cells, say by these lines that they are no readings{out}:"


def codes_among(values: Float64Array) -> BoolArray:
    """Say which readings are codes that stand apart from the rest: (rows,), as are the values; NaN is none."""
    near = CODES[np.clip(np.searchsorted(CODES, values - np.abs(values) * 1e-7), 0, len(CODES) - 1)]
    with np.errstate(invalid="ignore"):
        candidates = np.abs(values - near) <= np.abs(near) * 1e-7
    rest = values[np.isfinite(values) & ~candidates]
    rest = rest[~_far(rest)]
    found = np.zeros(len(values), np.bool_)
    if not candidates.any() or len(rest) < _FEWEST or len(np.unique(rest)) < 3:
        return found
    low, high = float(rest.min()), float(rest.max())
    for code in np.unique(near[candidates]).tolist():
        gap, lone = max(low - code, code - high), code < 0 <= low
        if gap > (_APART_BELOW_ZERO if lone else _APART) * (high - low):
            found |= candidates & (near == code)
    return found


def _sentinels(name: str, values: Float64Array, codes: BoolArray, series: _Series, lines: Lines) -> Iterator[Finding]:
    if not codes.any():
        return
    marks = [plain_code(code) for code in np.unique(values[codes]).tolist()]
    rest = values[np.isfinite(values) & ~codes]
    clients, rows = series.clients_of(codes)
    message = (
        f"{share(int(codes.sum()), len(values))}{place(clients, rows)} hold {listed(marks)}, apart from all other "
        f"readings ({np.quantile(rest, 0.005):.4g} to {np.quantile(rest, 0.995):.4g}), as a controller writes where "
        f"there is none. {_advice(clients)}"
    )
    yield Finding("warning", name, "sentinel", message, int(codes.sum()), clients, lines.missing(name, marks))


def plain_code(number: float) -> float | int:
    """Return a code as it is written: a whole number without a decimal."""
    return int(number) if number == round(number) else number


def _stuck(
    name: str, values: Float64Array, others: Sequence[Float64Array], series: _Series, lines: Lines
) -> Iterator[Finding]:
    ordered = values[series.order]
    begins, lengths = _runs(ordered, series.groups)
    known = np.isfinite(ordered[begins])
    if known.sum() < 2:
        return
    least = max(_LONG, _MANY_TIMES * float(np.quantile(lengths[known], 0.99)))
    places = np.flatnonzero(known & (lengths >= least))
    machines = series.groups[begins[places]]
    habits = np.unique(machines, return_counts=True)
    rare = {machine for machine, runs in zip(*habits, strict=True) if runs <= _HABIT}
    if len(places) == 0 or len(habits[0]) > max(1, series.num_groups // 2):
        return
    moving = [other[series.order] for other in others]
    for begin, length, machine in zip(
        begins[places].tolist(), lengths[places].tolist(), machines.tolist(), strict=True
    ):
        run = slice(begin, begin + length)
        if machine in rare and _is_odd(ordered, run, series.groups == machine, moving):
            yield _stuck_finding(name, ordered, run, series, lines)


def _runs(ordered: Float64Array, groups: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return where runs of one value at one machine begin, and how long they are."""
    new = np.ones(len(ordered), np.bool_)
    new[1:] = (ordered[1:] != ordered[:-1]) | (groups[1:] != groups[:-1])
    begins = np.flatnonzero(new)
    return begins, np.diff(np.append(begins, len(ordered)))


def _is_odd(ordered: Float64Array, run: slice, own: BoolArray, moving: Sequence[Float64Array]) -> bool:
    """Say whether a run is none of the machine's states: its value is rare elsewhere, and other readings go on."""
    value, outside = ordered[run.start], np.ones(len(ordered), np.bool_)
    outside[run] = False
    elsewhere, at_machine = ordered[outside], ordered[own]
    steps = np.diff(at_machine[np.isfinite(at_machine)])
    counts_up = steps.any() and ((steps >= 0).all() or (steps <= 0).all())
    if len(elsewhere) == 0 or np.mean(elsewhere == value) > _RARE or counts_up:
        return False
    varied = [len(np.unique(other[run][np.isfinite(other[run])])) > 2 for other in moving]
    return not varied or any(varied)


def _stuck_finding(name: str, ordered: Float64Array, run: slice, series: _Series, lines: Lines) -> Finding:
    value, rows = float(ordered[run.start]), run.stop - run.start
    mark = np.zeros(len(ordered), np.bool_)
    mark[series.order[run]] = True
    clients, counts = series.clients_of(mark)
    also = int((ordered == value).sum()) - rows
    besides = f" (which takes {also} other rows too)" if also else ""
    message = (
        f"{rows} rows in a row{series.where(run)}{place(clients, counts)} are {value:g}, while other readings there go "
        f"on: the sensor may be stuck. Empty these cells, or say by these lines that they are no readings{besides}:"
    )
    return Finding("warning", name, "stuck", message, rows, clients, lines.missing(name, [plain_code(value)]))


def _times(table: Table) -> Float64Array:
    """Return when each row is, (rows,), by its place in the file where the time is not known or cannot be read."""
    in_file = np.arange(table.num_rows, dtype=np.float64)
    try:
        return in_file if table.schema.time is None else moments(table.frame[table.schema.time])
    except DataError:  # another check reports it
        return in_file


@dataclass(frozen=True)
class _Series:
    """Hold the rows of a table by machine and in order of time.

    Parameters
    ----------
    clients
        (rows,), client of each row; None where none is known.
    order
        (rows,), places of the rows by machine and time.
    groups
        (rows,), in that order: the number of the machine.
    machines, times
        (rows,), in that order: the machine's name and the time; None where none is known.
    """

    clients: pl.Series | None
    order: Int64Array
    groups: Int64Array
    machines: pl.Series | None
    times: pl.Series | None

    @classmethod
    def of(cls, table: Table) -> _Series:
        """Return the rows of a table in order."""
        frame, schema = table.frame, table.schema
        keys = [frame[name].cast(pl.String) for name in (schema.client, schema.machine) if name is not None]
        groups = np.zeros(table.num_rows, np.int64)
        if keys:
            named = pl.DataFrame({str(place): key for place, key in enumerate(keys)})
            groups = named.select(pl.struct(pl.all()).rank("dense").cast(pl.Int64)).to_series().to_numpy()
        order = np.lexsort((_times(table), groups))
        machine = None if schema.machine is None else frame[schema.machine][order].cast(pl.String)
        client = None if schema.client is None else frame[schema.client].cast(pl.String).fill_null("(no client)")
        return cls(client, order, groups[order], machine, None if schema.time is None else frame[schema.time][order])

    @property
    def num_groups(self) -> int:
        """Number of machines."""
        return len(np.unique(self.groups))

    def clients_of(self, rows: BoolArray) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Return the clients of some rows, and how many each has of them; nothing where clients are not known."""
        if self.clients is None:
            return (), ()
        counts = self.clients.filter(pl.Series(rows)).value_counts().sort(self.clients.name)
        return tuple(counts[self.clients.name].to_list()), tuple(counts["count"].to_list())

    def where(self, run: slice) -> str:
        """Return at which machine a run of ordered rows is, and from when to when."""
        machine = "" if self.machines is None else f" of machine {self.machines[run.start]}"
        between = "" if self.times is None else f", from {self.times[run.start]} to {self.times[run.stop - 1]}"
        return machine + between
