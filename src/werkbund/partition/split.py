"""The rows of one client in parts: to train on, for validation, for tests, and a later period than all these.

Whole machines are held out, or the last rows in time. Rows of a machine that lie just before such a border may carry a
label that looks beyond it; these can be left out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, Int8Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.data import Table
from werkbund.data.times import moments

SPLITS = ("train", "validation", "test")
PARTS = (*SPLITS, "later")
TRAIN, VALIDATION, TEST, LATER = range(4)
"""Numbers of the parts, as a split gives them."""

LEFT_OUT = -2
"""The number of a row that is in no part, since its label may look beyond a border or nobody knows when it is."""

FEWEST_FAILURES = 5
"""A client holds out a later period where as many failures lie before it, and one in it."""


OUTER_SHARE = 0.3
"""About this share of all machines is outer."""


def is_outer(machine: str) -> bool:
    """Say whether a machine is kept from all tuning, by a hash of its id alone: in every table, division and seed.

    Examples
    --------
    >>> [name for name in ("0", "1", "2", "3", "4", "5") if is_outer(name)]
    ['4']
    """
    digest = hashlib.blake2b(f"werkbund outer {machine}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") < OUTER_SHARE * 2**64


@dataclass(frozen=True)
class RowTraits:
    """Hold what a split goes by.

    Parameters
    ----------
    machines
        (rows,), each row's machine.
    failures
        (rows,), whether its label is a failure.
    when
        (rows,), when it is, see `data.times.moments`; None where the table has no time column.
    """

    machines: Int64Array
    failures: BoolArray
    when: Float64Array | None

    @classmethod
    def of(cls, table: Table) -> RowTraits:
        """Return those of a table."""
        schema, frame = table.schema, table.frame
        when = None if schema.time is None else moments(frame[schema.time])
        return cls(schema.machines(frame), schema.labels(frame) > 0, when)

    def take(self, rows: Int64Array) -> RowTraits:
        """Return those of some rows."""
        return RowTraits(self.machines[rows], self.failures[rows], None if self.when is None else self.when[rows])


@dataclass(frozen=True)
class Split:
    """Say how the rows of one client are split.

    Parameters
    ----------
    by
        Whole machines are held out, or the last rows in time.
    test, validation
        Wanted shares of rows; with a later period of those before it.
    later
        Share of the rows, the last ones in time, that is held out from all these; 0 for none. Of a split by time the
        test rows are such a period already, and there is no other.
    gap
        Rows of so long before a border of time are left out: in hours where the time column holds dates, else in its
        own unit.
    after
        Rows of so long after such a border are left out too, as they look back over it.
    whole
        Whether no machine is cut that others stand beside, and those with failures are held out in the same shares as
        the others, as rows need that look back and ahead; one alone with failures stays to train on.
    """

    by: Literal["machines", "time"] = "machines"
    test: float = 0.25
    validation: float = 0.15
    later: float = 0.0
    gap: float = 0.0
    after: float = 0.0
    whole: bool = False

    def parts(self, rows: RowTraits, rng: np.random.Generator) -> Int8Array:
        """Return the part of each row of one client, in order of time: (rows,), see `PARTS` and `LEFT_OUT`.

        Raises
        ------
        ConfigError
            If it goes by time and the rows have none, or a share is out of range.
        """
        if self.by == "time":
            return split_times(_known(rows.when), self.test, self.validation, self.gap, self.after)
        begins = {} if rows.when is None else self._begin_of_later(rows.when, rows.failures)
        part = _after(rows.when, begins, (self.gap, self.after), len(rows.machines))
        earlier = np.flatnonzero(part == TRAIN)
        machines = rows.machines[earlier]
        if rows.when is not None and len(np.unique(machines)) == 1:  # it is cut in time
            part[earlier] = split_times(rows.when[earlier], self.test, self.validation, self.gap, self.after)
        else:
            part[earlier] = self.deal(machines, rows.failures[earlier], rng)
        return part

    def deal(self, machines: Int64Array, failures: BoolArray, rng: np.random.Generator) -> Int8Array:
        """Return the part of rows of several machines, (rows,), by their machine alone."""
        if self.whole:
            return split_machines(machines, failures, self.test, self.validation, rng)
        return split_rows(machines, self.test, self.validation, rng)

    def periods(self, when: Float64Array | None, known: Int8Array) -> Int8Array:
        """Return the part of each row that its time says, where rows of the client are dealt already.

        Parameters
        ----------
        when
            (rows,), when each row is.
        known
            (rows,), the parts of those that are dealt; below 0 for the others.

        Returns
        -------
        part
            (rows,). Train is also that of a row of which its time alone does not say it.
        """
        by_time = (VALIDATION, TEST) if self.by == "time" else (LATER,)
        first = {part: float(np.nanmin(_known(when)[known == part])) for part in by_time if (known == part).any()}
        begins = {part: begin - self.after for part, begin in first.items()}
        part = _after(when, begins, (self.gap, self.after), len(known))
        if self.by == "time":
            part[np.isnan(_known(when))] = LEFT_OUT
        return part

    def _begin_of_later(self, when: Float64Array, failures: BoolArray) -> dict[int, float]:
        """Return when the later period begins; nothing where failures do not allow for one."""
        if not self.later:
            return {}
        begin = _begin(when, self.later * np.isfinite(when).sum(), 1)
        earlier = int(failures[~(when >= begin - self.gap)].sum())
        return {LATER: begin} if earlier >= FEWEST_FAILURES and failures[when >= begin + self.after].any() else {}


def _known(when: Float64Array | None) -> Float64Array:
    if when is None:
        raise ConfigError("clients.split must be machines where the table has no time column, got time; set data.time")
    return when


def split_times(when: Float64Array, test: float, validation: float, gap: float = 0.0, after: float = 0.0) -> Int8Array:
    """Say which part each row of one client belongs to, by time: train before validation before test.

    Parameters
    ----------
    when
        (rows,), when each row is; of rows without a time, NaN, nobody knows where they belong, and they are left out.
    test, validation
        Wanted shares of rows, at least 0, together below 1. Rows of one time stay together.
    gap, after
        Rows of so long before a border, and after it, are left out.

    Returns
    -------
    part
        (rows,): 0 train, 1 validation, 2 test, `LEFT_OUT`. Each part that is wanted has a row where the gap leaves one,
        unless there are fewer than 3 different times: then all is train.

    Examples
    --------
    >>> split_times(np.array([1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.0]), test=0.3, validation=0.2).tolist()
    [0, 0, 0, 0, 1, 2, 2]
    """
    _check_shares(test, validation)
    known = int(np.isfinite(when).sum())
    begins: dict[int, float] = {}
    if len(np.unique(when[np.isfinite(when)])) >= 3:
        if test > 0.0:
            begins[TEST] = _begin(when, test * known, 1 + (validation > 0.0))
        if validation > 0.0:
            before = when[when < begins.get(TEST, np.inf) - gap]
            begins[VALIDATION] = _begin(before, validation * known, 1)
    part = _after(when, dict(sorted(begins.items())), (gap, after), len(when))
    part[~np.isfinite(when)] = LEFT_OUT
    return part


def _begin(when: Float64Array, wanted: float, keep: int) -> float:
    """Return the time from which on about `wanted` rows lie, leaving at least `keep` earlier times; else infinity."""
    times, sizes = np.unique(when[np.isfinite(when)], return_counts=True)
    from_here = np.cumsum(sizes[::-1])[::-1][keep:]  # rows from each time on
    return float(times[keep:][np.argmin(np.abs(from_here - wanted))]) if len(from_here) else np.inf


def _after(when: Float64Array | None, begins: dict[int, float], gaps: tuple[float, float], rows: int) -> Int8Array:
    """Return the part of each row, (rows,): train before all that begin, those in the gaps around borders left out."""
    part = np.full(rows, TRAIN, np.int8)
    if when is not None:
        for number, begin in begins.items():
            part[when >= begin - gaps[0]] = LEFT_OUT
            part[when >= begin + gaps[1]] = number
    return part


def split_rows(machines: Int64Array, test: float, validation: float, rng: np.random.Generator) -> Int8Array:
    """Say which part each row of one client belongs to.

    Whole machines are held out at random until they hold about the wanted share of rows, test before
    validation. Where no machine can be spared the last rows are held out. So one machine alone gives train,
    validation and test rows in this order.

    Parameters
    ----------
    machines
        (rows,), each row's machine; rows in order of time.
    test, validation
        Wanted shares of rows, at least 0, together below 1.
    rng
        Chooses the machines.

    Returns
    -------
    part
        (rows,): 0 train, 1 validation, 2 test. Each part that is wanted has at least one row, and train
        always has, unless the client has fewer than 3 rows: these are all train.

    Examples
    --------
    >>> split_rows(np.zeros(10, np.int64), test=0.3, validation=0.2, rng=np.random.default_rng(0)).tolist()
    [0, 0, 0, 0, 0, 1, 1, 2, 2, 2]
    """
    _check_shares(test, validation)
    rows = len(machines)
    part = np.zeros(rows, dtype=np.int8)
    if rows < 3:
        return part
    keep = 1 + (validation > 0.0)  # rows that must be left for the parts that come after
    for number, share in ((TEST, test), (VALIDATION, validation)):
        left = np.flatnonzero(part == TRAIN)
        if share > 0.0:
            part[left[_held_out(machines[left], share * rows, keep, rng)]] = number
        keep = 1
    return part


def split_machines(
    machines: Int64Array, failures: BoolArray, test: float, validation: float, rng: np.random.Generator
) -> Int8Array:
    """Say which part each row of one client belongs to, where no machine may be cut.

    Machines with failures and others are held out apart, each in about the wanted shares of their number, so that test
    rows have failures where two machines do, and validation rows too where three do.

    Parameters
    ----------
    machines, failures
        (rows,), each row's machine, and whether its label is a failure.
    test, validation
        Wanted shares of machines, at least 0, together below 1.
    rng
        Chooses the machines.

    Returns
    -------
    part
        (rows,): 0 train, 1 validation, 2 test. Train has a machine, with failures where any has.

    Examples
    --------
    >>> machines = np.repeat(np.arange(6), 2)
    >>> part = split_machines(machines, machines < 3, test=0.3, validation=0.2, rng=np.random.default_rng(0))
    >>> sorted(part[machines < 3].tolist())
    [0, 0, 1, 1, 2, 2]
    """
    _check_shares(test, validation)
    known, number = np.unique(machines, return_inverse=True)
    failing = np.zeros(len(known), np.bool_)
    np.logical_or.at(failing, number, failures)
    part = np.full(len(known), TRAIN, np.int8)
    for alike in (np.flatnonzero(failing), np.flatnonzero(~failing)):
        kept = 0 if failing.any() and not failing[alike].any() else 1
        order, first = rng.permutation(alike), 0
        for which, share in ((TEST, test), (VALIDATION, validation)):
            wanted = min(max(round(share * len(alike)), int(share > 0.0)), max(len(alike) - first - kept, 0))
            part[order[first : first + wanted]] = which
            first += wanted
    return part[number]


def _check_shares(test: float, validation: float) -> None:
    """Refuse shares that leave no rows to train on."""
    for name, share in (("test", test), ("validation", validation)):
        if not 0.0 <= share < 1.0:
            raise ConfigError(f"{name} must be in [0, 1), a share of rows, got {share}; choose such as 0.2")
    if test + validation >= 1.0:
        raise ConfigError(f"test + validation must be below 1, got {test} + {validation}; leave rows to train on")


def _held_out(machines: Int64Array, wanted: float, keep: int, rng: np.random.Generator) -> BoolArray:
    """Choose about `wanted` of these rows, at least one, and leave at least `keep`: (rows,)."""
    rows = len(machines)
    known, number, sizes = np.unique(machines, return_inverse=True, return_counts=True)
    order = rng.permutation(len(known))
    reached = np.cumsum(sizes[order])  # rows of the first 1, 2, ... machines
    reached = reached[reached <= rows - keep]
    if len(reached) == 0:
        cut = rows - min(max(round(wanted), 1), rows - keep)
        return np.arange(rows) >= cut
    num_machines = int(np.argmin(np.abs(reached - wanted))) + 1
    return np.isin(number, order[:num_machines])
