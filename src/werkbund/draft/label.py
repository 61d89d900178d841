"""What the label of a table means that nobody described: which of its two values is the failure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from werkbund.core.arrays import Float32Array
from werkbund.core.errors import ConfigError, DataError
from werkbund.core.target import FAILURE, NumberTarget, Target
from werkbund.data.names import nearest
from werkbund.data.targets import Value, binary_labels, with_label
from werkbund.draft.roles import words

_SHOWN = 8
_MOST_KINDS = 12  # different values of a label that names kinds of failures
_MOSTLY = 0.5  # share of the value that means none


_FEWEST_NUMBERS = 20
"""Different values above which a label of numbers is one to be foretold."""
_WITHIN, _BELOW = 0.15, 0.75
"""Shares of the rows below the horizon, and below the cap, that are proposed."""


LABEL_WORDS = (
    ("failure", "failures", "failed", "fail", "fails", "breakdown", "ausfall", "ausgefallen", "stillstand"),
    ("fault", "defect", "anomaly", "störung", "stoerung", "defekt", "schaden", "bruch", "fehler"),
    ("rul", "restlaufzeit", "restlebensdauer"),
    ("label", "target", "outcome"),
    ("status", "zustand", "class", "klasse", "y"),
)
"""Words of headers that name what is foretold, the surest first; long ones also at the beginning of a word."""

_LONG = 5


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
    empty
        What rows without a value are taken for; None where all have one.
    target
        What is foretold: whether a failure comes, or the number that the label holds.
    """

    name: str
    positive: Value | tuple[Value, ...] | None
    values: Float32Array
    remark: str
    empty: Value | None = None
    target: Target = FAILURE

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

    def filled(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a table in which each row has a value of the label."""
        return frame if self.empty is None else with_label(frame, self.name, self.empty)


def find_label(frame: pl.DataFrame) -> str:
    """Return the column that the table foretells, by its header and its values.

    Raises
    ------
    ConfigError
        If no column, or more than one, is as likely as any other.
    DataError
        If the one that is called so cannot be learnt from.
    """
    for likely in LABEL_WORDS:
        named = [name for name in frame.columns if _is_called(name, likely) and _is_label(frame, name)]
        if len(named) == 1:
            return named[0]
        if named:
            raise ConfigError(
                f"--label must name the column to foretell: {', '.join(map(repr, named))} may all be it; choose one"
            )
    called = [name for likely in LABEL_WORDS for name in frame.columns if _is_called(name, likely)]
    if called:
        label_of(frame, called[0], None)  # says why it is none
    raise ConfigError(
        f"--label must name the column to foretell, or --events a log of failures: no header tells. The columns are "
        f"{', '.join(map(repr, frame.columns))}"
    )


def _is_called(header: str, likely: Sequence[str]) -> bool:
    beginnings = tuple(word for word in likely if len(word) >= _LONG)
    return any(word in likely or word.startswith(beginnings) for word in words(header) if beginnings or word in likely)


def _is_label(frame: pl.DataFrame, name: str) -> bool:
    """Say whether a column can be read as a label."""
    try:
        label_of(frame, name, None)
    except (ConfigError, DataError):
        return False
    return True


def label_of(frame: pl.DataFrame, name: str, positive: Value | Sequence[Value] | None) -> Label:
    """Find out how to read a label.

    Parameters
    ----------
    frame
        The raw table.
    name
        The label's column.
    positive
        The value that means failure, or several, if it is known; as text it stands for the value that is written
        like it.

    Raises
    ------
    ConfigError
        If there is no such column, or no such value.
    DataError
        If all rows have the same, or there are more different ones than kinds of failures.
    """
    if name not in frame.columns:
        raise ConfigError(f"label must name a column of the table, got {name!r}{nearest(name, frame.columns)}")
    if not (frame[name].dtype.is_numeric() or frame[name].dtype in (pl.String, pl.Boolean, pl.Null)):
        raise DataError(
            f"label {name!r} must hold numbers, words or truths, got {frame[name].dtype}; make a 0/1 column of it"
        )
    if positive is None and _is_number(frame[name]):
        return _number_label(frame[name])
    empty = _meaning_of_empty(frame[name])
    filled = frame if empty is None else with_label(frame, name, empty)
    counts = _counted(filled[name])
    if len(counts) == 1:
        raise DataError(
            f"label {name!r} must have two values, but all rows with a value have {next(iter(counts))!r}: there is "
            "nothing to learn; choose another label, or add rows of the other kind"
        )
    chosen, remark = _chosen(counts, positive, name)
    if empty is not None:
        remark += " It is marked where a failure was, and empty else."
    return Label(name, chosen, binary_labels(filled[name], chosen), remark, empty)


def _is_number(column: pl.Series) -> bool:
    """Say whether a label is a number to be foretold: many different ones, none negative."""
    return column.dtype.is_numeric() and column.n_unique() > _FEWEST_NUMBERS and not (column < 0).any()


def _number_label(column: pl.Series) -> Label:
    """Return the label of a remaining life: a horizon that some rows are within, a cap that some are beyond."""
    horizon, cap = (_rounded(float(column.quantile(share) or 0.0)) for share in (_WITHIN, _BELOW))
    if not 0 < horizon < cap:
        raise DataError(
            f"label {column.name!r} holds numbers, but {_WITHIN:.0%} of them are not above 0 and below the others; "
            "set data.target, data.horizon and data.cap by hand, or choose another label"
        )
    remark = (
        f"It holds {column.n_unique()} different numbers: a remaining life or the like, of which less is worse. If it "
        "is none, name the value that means failure."
    )
    values = (column.cast(pl.Float64).fill_null(math.inf) <= horizon).cast(pl.Float32).to_numpy()
    return Label(column.name, None, values, remark, target=NumberTarget(horizon, cap))


def _rounded(number: float) -> float:
    return float(f"{number:.2g}")


def _chosen(
    counts: dict[Value, int], positive: Value | Sequence[Value] | None, name: str
) -> tuple[Value | tuple[Value, ...] | None, str]:
    """Return the value or values that mean failure, None for 0/1 and truths, and why."""
    if isinstance(positive, str | int | float):
        return _written_like(positive, counts, name), "As asked for."
    if positive is not None:
        found = tuple(_written_like(each, counts, name) for each in positive)
        return (found[0] if len(found) == 1 else found), "As asked for."
    if len(counts) == 2:
        return _rarer(counts)
    usual = next(iter(counts))
    if len(counts) > _MOST_KINDS or counts[usual] < _MOSTLY * sum(counts.values()) or isinstance(usual, float):
        raise DataError(
            f"label {name!r} must have two values, or kinds of failures beside one that means none, got {len(counts)}: "
            f"{_listed(counts)}; choose another label, or say which of its values mean failure (--positive, once for "
            "each)"
        )
    kinds = tuple(value for value in counts if value != usual)
    return kinds, f"All but the commonest value, {usual!r}, are taken as failures ({_listed(counts)} rows)."


def _meaning_of_empty(column: pl.Series) -> Value | None:
    """Return what an empty cell means where a label is one mark in some rows and nothing in all others."""
    known = column.drop_nulls()
    if known.n_unique() != 1 or not 0 < len(known) < len(column):
        return None
    if column.dtype == pl.String:
        return "no" if str(known[0]).lower() != "no" else None
    return 0 if known[0] == 1 else None


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
