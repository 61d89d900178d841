"""How a plant's rows are divided into training, validation and test rows, and that each keeps its part for good.

Rows are known by marks, hashes under the plant's own secret. A table may grow: a new row after a border of time belongs
behind it; others of a machine join that machine's part, and new machines are dealt by the plant. Answers about two
tables that differ in few rows would tell of these rows; so new rows wait until they are as many as the plant's minimum,
and any other small change is refused.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from werkbund.core.arrays import AnyArray, Int8Array, Int64Array, UInt64Array
from werkbund.core.errors import CheckpointError
from werkbund.core.files import make_private, write_privately
from werkbund.core.rng import generator, mix
from werkbund.data import Table
from werkbund.partition.split import LATER, PARTS, TRAIN, RowTraits
from werkbund.plant.agreed import RefusedError
from werkbund.plant.agreement import Agreement

_GOLDEN, _MISSING = np.uint64(0x9E3779B97F4A7C15), np.uint64(0x7FF8000000000000)
_MOST_VERSIONS = 16
_NOWHERE = -1


@dataclass(frozen=True)
class Dealt:
    """Hold which part each row of a table has.

    Parameters
    ----------
    part
        (rows,), by its number in `PARTS`; -1 for a row that waits, and `LEFT_OUT` for one that stays in no answer.
    version
        Names these rows with their parts; the same as long as they are.
    """

    part: Int8Array
    version: str

    @property
    def num_waiting(self) -> int:
        """Rows that are in no answer yet."""
        return int((self.part == _NOWHERE).sum())


@dataclass(frozen=True)
class KnownRows:
    """Hold the rows that answers were about.

    Parameters
    ----------
    marks
        (known,), ascending.
    parts
        (known, versions): the part of each row in each version of the table, the newest last; below 0 where it is in
        none.
    """

    marks: UInt64Array
    parts: Int8Array

    @classmethod
    def read(cls, file: Path) -> KnownRows:
        """Return what a file holds; nothing if there is none.

        Raises
        ------
        CheckpointError
            If it was damaged.
        """
        if not file.is_file():
            return cls(np.empty(0, np.uint64), np.empty((0, 0), np.int8))
        try:
            with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as stored:
                marks, parts = stored["marks"], stored["parts"]
        except Exception as error:  # zip and array readers each have their own errors for damaged bytes
            raise CheckpointError(f"{file} cannot be read: {error}; {_REMEDY}") from error
        if marks.dtype != np.uint64 or parts.dtype != np.int8 or parts.ndim != 2 or len(parts) != len(marks):
            raise CheckpointError(f"{file} must hold marks and parts of rows; {_REMEDY}")
        return cls(marks, parts)

    def write(self, file: Path) -> None:
        """Keep it."""
        make_private(file.parent)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, marks=self.marks, parts=self.parts)
        write_privately(file, buffer.getvalue())

    def last(self, marks: UInt64Array) -> Int8Array:
        """Return the part that each of these rows had when it was last in a version; -1 for one that never was."""
        part = np.full(len(marks), _NOWHERE, np.int8)
        places, known = self._places(marks)
        for version in range(self.parts.shape[1]):
            own = self.parts[places[known], version]
            part[np.flatnonzero(known)[own >= 0]] = own[own >= 0]
        return part

    def newest(self, marks: UInt64Array) -> Int8Array:
        """Return the part of each of these rows in the newest version; -1 for one that is not in it."""
        part = np.full(len(marks), _NOWHERE, np.int8)
        if self.parts.shape[1]:
            places, known = self._places(marks)
            part[known] = self.parts[places[known], -1]
        return part

    def fewest_between(self, marks: UInt64Array, part: Int8Array) -> int:
        """Return in how few rows, but not none, a part differs from the same part of an earlier version."""
        together = self.joined(marks, part)
        now, before = together.parts[:, -1:], together.parts[:, :-1]
        differing = [((now == number) != (before == number)).sum(axis=0) for number in range(len(PARTS))]
        numbers = np.concatenate(differing) if before.shape[1] else np.empty(0, np.int64)
        return int(numbers[numbers > 0].min(initial=np.iinfo(np.int64).max))

    def joined(self, marks: UInt64Array, part: Int8Array) -> KnownRows:
        """Return this with one more version, the newest."""
        every = np.union1d(self.marks, marks)
        parts = np.full((len(every), self.parts.shape[1] + 1), _NOWHERE, np.int8)
        parts[np.searchsorted(every, self.marks), :-1] = self.parts
        parts[np.searchsorted(every, marks), -1] = part
        return KnownRows(every, parts)

    def tidied(self) -> KnownRows:
        """Return this without its oldest versions where there are very many."""
        return replace(self, parts=self.parts[:, -_MOST_VERSIONS:])

    def _places(self, marks: UInt64Array) -> tuple[Int64Array, AnyArray]:
        places = np.searchsorted(self.marks, marks)
        inside = np.minimum(places, max(len(self.marks) - 1, 0))
        known = self.marks[inside] == marks if len(self.marks) else np.zeros(len(marks), np.bool_)
        return inside, known


def deal(table: Table, agreement: Agreement, division: KnownRows, minimum_rows: int) -> tuple[Dealt, KnownRows]:
    """Say which part each row of a table has.

    Parameters
    ----------
    table
        The plant's rows, in order of time.
    agreement
        Gives shares, seed and number of the first division, and the secret of the marks.
    division
        The rows that answers were about so far.
    minimum_rows
        Answers are about tables that are equal or differ in as many rows, part by part.

    Returns
    -------
    dealt, division
        What is to be remembered once an answer is about these rows.

    Raises
    ------
    RefusedError
        If the table differs from an earlier one in fewer rows, and not by new rows alone.
    """
    marks = row_marks(table, agreement.stream)
    part = _parts(table, division.last(marks), agreement, division.parts.shape[1])
    fewest = division.fewest_between(marks, part)
    if fewest < minimum_rows:
        part = division.newest(marks)  # new rows wait
        fewest = division.fewest_between(marks, part)
    if fewest < minimum_rows:
        raise RefusedError(
            f"its rows differ from those of earlier answers in {fewest} rows, fewer than policy.minimum_rows, "
            f"{minimum_rows}; both answers together would tell of these. Put the earlier rows back, wait for more new "
            "ones, or run `werkbund client agree --renew` there"
        )
    dealt = Dealt(part, _version(marks, part))
    is_known = dealt.version == _version(division.marks, division.newest(division.marks))
    return dealt, division if is_known else division.joined(marks, part).tidied()


def row_marks(table: Table, secret: int) -> UInt64Array:
    """Return a mark of each row, (rows,): equal rows are told apart by how many equal ones stand before."""
    hashed = np.full(table.num_rows, np.uint64(secret))
    for name in sorted(table.schema.used):
        salt = np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))
        hashed = mix((hashed ^ mix(_bits(table.frame[name], secret) + salt)) + _GOLDEN)
    order = np.argsort(hashed, kind="stable")
    ordered = hashed[order]
    begins = np.concatenate(([True], ordered[1:] != ordered[:-1])) if len(ordered) else np.empty(0, np.bool_)
    first = np.maximum.accumulate(np.where(begins, np.arange(len(ordered)), 0))
    repeated = np.empty(len(ordered), np.uint64)
    repeated[order] = (np.arange(len(ordered)) - first).astype(np.uint64)
    return mix(hashed + repeated * _GOLDEN)


_REMEDY = "restore it from a backup, or run `werkbund client agree --renew`"


def _bits(column: pl.Series, secret: int) -> UInt64Array:
    """Return 64 bits of each value of a column: (rows,)."""
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        values = column.cast(pl.Float64).to_numpy() + 0.0  # -0.0 + 0.0 is 0.0
        return np.where(np.isnan(values), _MISSING, values.view(np.uint64))
    texts = column.cast(pl.Int64 if column.dtype.is_temporal() else pl.String).cast(pl.String)
    distinct = texts.unique()
    known = {text: _digest(text, secret) for text in distinct.to_list()}
    return np.array([known[text] for text in texts.to_list()], np.uint64)


def _digest(text: str | None, secret: int) -> int:
    if text is None:
        return int(_MISSING)
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=secret.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little")


def _parts(table: Table, known: Int8Array, agreement: Agreement, version: int) -> Int8Array:
    """Return the part of each row: as it was, as its time or machine says, or dealt anew."""
    traits, split = RowTraits.of(table), agreement.split
    rng = generator(agreement.seed, "split", version, agreement.number)
    if not (known >= 0).any():
        return split.parts(traits, rng)
    part = np.where(known >= 0, known, split.periods(traits.when, known))
    open_yet = (known < 0) & (part == TRAIN)
    if split.by == "time" or not open_yet.any():
        return part
    part[open_yet] = _of_machines(traits.machines, np.where(known == LATER, _NOWHERE, known))[open_yet]
    new = np.flatnonzero(part == _NOWHERE)
    part[new] = split.deal(traits.machines[new], traits.failures[new], rng)
    return part


def _of_machines(machines: Int64Array, known: Int8Array) -> Int8Array:
    """Return the one part in which all known rows of a row's machine are; -1 where there is none such."""
    number = int(machines.max(initial=-1)) + 1
    lowest, highest = np.full(number, 127, np.int8), np.full(number, _NOWHERE, np.int8)
    old = known >= 0
    np.minimum.at(lowest, machines[old], known[old])
    np.maximum.at(highest, machines[old], known[old])
    return np.where(lowest == highest, highest, _NOWHERE)[machines].astype(np.int8)


def _version(marks: UInt64Array, part: Int8Array) -> str:
    """Return sixteen hexadecimal digits that name rows with their parts, in whatever order they stand."""
    used = part >= 0
    order = np.argsort(marks[used], kind="stable")
    digest = hashlib.sha256(marks[used][order].tobytes() + part[used][order].tobytes())
    return digest.hexdigest()[:16]
