"""What the label of a table means that nobody described: which of its two values is the failure."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from werkbund.core.arrays import Float32Array
from werkbund.core.errors import ConfigError, DataError
from werkbund.data.names import nearest
from werkbund.data.targets import Value, binary_labels

_SHOWN = 8


@dataclass(frozen=True)
class Label:
    """Hold a label and how to read it.

    Parameters
    ----------
    name
        Its column.
    positive
        The value that means failure, to be written down; None for 0/1 and truths.
    values
        (rows,), 1 for a failure and 0 for none.
    remark
        Why the positive value was chosen, for people.
    """

    name: str
    positive: Value | None
    values: Float32Array
    remark: str

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.values)

    @property
    def positives(self) -> int:
        """Number of failures."""
        return int(self.values.sum())

    @property
    def prevalence(self) -> float:
        """Share of failures."""
        return self.positives / self.rows


def label_of(frame: pl.DataFrame, name: str, positive: Value | None) -> Label:
    """Find out how to read a label.

    Parameters
    ----------
    frame
        The raw table.
    name
        The label's column.
    positive
        The value that means failure, if it is known; as text it stands for the value that is written like it.

    Raises
    ------
    ConfigError
        If there is no such column, or no such value.
    DataError
        If a row has no label, all rows have the same, or there are more than two different ones.
    """
    if name not in frame.columns:
        raise ConfigError(f"label must name a column of the table, got {name!r}{nearest(name, frame.columns)}")
    if not (frame[name].dtype.is_numeric() or frame[name].dtype in (pl.String, pl.Boolean, pl.Null)):
        raise DataError(
            f"label {name!r} must hold numbers, words or truths, got {frame[name].dtype}; make a 0/1 column of it"
        )
    counts = _counted(frame[name])
    if len(counts) == 1:
        raise DataError(
            f"label {name!r} must have two values, but all rows with a value have {next(iter(counts))!r}: there is "
            "nothing to learn; choose another label, or add rows of the other kind"
        )
    if len(counts) > 2:
        raise DataError(
            f"label {name!r} must have two values, got {len(counts)}: {_listed(counts)}; choose a label with two, or "
            "make a 0/1 column with 1 where the value means failure. With two, positive says which is the failure"
        )
    chosen, remark = _rarer(counts) if positive is None else (_written_like(positive, counts, name), "As asked for.")
    return Label(name, chosen, binary_labels(frame[name], chosen), remark)


def _counted(column: pl.Series) -> dict[Value, int]:
    """Return each value with its number of rows, the most frequent first; ties in order of the values."""
    known = column.fill_nan(None) if column.dtype.is_float() else column
    counts = known.drop_nulls().alias("value").value_counts(name="rows")
    return dict(counts.sort(["rows", "value"], descending=[True, False]).iter_rows())


def _rarer(counts: dict[Value, int]) -> tuple[Value | None, str]:
    """Return the value that means failure, None for 0/1 and truths, and why."""
    if set(counts) <= {0, 1}:
        if counts.get(1, 0) > counts.get(0, 0):
            return None, (
                "1 is taken as failure although it is the commoner value; if 0 is the failure, set positive to it."
            )
        return None, "1 (or true) is taken as failure."
    return list(counts)[
        -1
    ], f"The rarer value is taken as failure ({_listed(counts)} rows); name the other one if it is not."


def _written_like(positive: Value, counts: dict[Value, int], name: str) -> Value:
    matches = [value for value in counts if value == positive or str(value).lower() == str(positive).lower()]
    if not matches:
        raise ConfigError(f"positive must be a value of label {name!r}, got {positive!r}; it has {_listed(counts)}")
    return matches[0]


def _listed(counts: dict[Value, int]) -> str:
    shown = ", ".join(f"{value!r}: {rows}" for value, rows in list(counts.items())[:_SHOWN])
    return f"{shown}, ..." if len(counts) > _SHOWN else shown
