"""Which columns of a table that nobody described can be features, and which must not be, each with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from werkbund.core.arrays import Float64Array
from werkbund.core.errors import DataError
from werkbund.data import Column, Origin, Schema, Table
from werkbund.data.checks.labels import check_label
from werkbund.data.checks.readings import codes_among, plain_code
from werkbund.data.names import is_pattern, is_reserved
from werkbund.data.units import unit_of
from werkbund.draft.label import Label
from werkbund.draft.roles import Roles, is_moment, words

MAX_LEVELS = 50
"""Each level of a category becomes a feature; a text with more is taken for free text."""

_CODE_WORDS = {
    "code",
    "type",
    "class",
    "status",
    "state",
    "mode",
    "variant",
    "kind",
    "program",
    "recipe",
    "grade",
    "shift",
    "error",
    "alarm",
}
_IDENTIFIER_WORDS = {"id", "uid", "uuid", "guid", "udi", "serial"}
_FEWEST_ROWS = 20  # below, values may all differ by chance
_FEWEST_FAILURES = 5  # below, some column sorts them from the rest by chance
_LARGEST = 1e100  # squares of larger values, summed, leave float64
_LOW, _HIGH = 0.01, 0.99  # quantiles between which a column's values are usual
_DIGITS = 3  # of the ends of a plausible range
_SPOILED = 0.9  # share of a text column that must be numbers for the rest to count as spoiled


@dataclass(frozen=True)
class Feature:
    """Hold a feature column and a remark for people."""

    column: Column
    remark: str


@dataclass(frozen=True)
class Excluded:
    """Hold a column that is no feature.

    Parameters
    ----------
    name
        As in the header.
    reason
        Why not.
    column
        How to describe it if it is to be a feature after all; None if it cannot be one.
    """

    name: str
    reason: str
    column: Column | None = None


def sort_columns(
    frame: pl.DataFrame, label: Label, roles: Roles, units: Mapping[str, str]
) -> tuple[tuple[Feature, ...], tuple[Excluded, ...]]:
    """Divide the columns that have no other role into features and columns that must never be one.

    Parameters
    ----------
    frame
        The table, each row with a label.
    label, roles
        What is known of its columns.
    units
        Of columns of which the file says so apart from their names.

    Raises
    ------
    DataError
        If no feature is left.
    """
    features: list[Feature] = []
    excluded: list[Excluded] = []
    for name in frame.columns:
        if name == label.name or name in roles.taken:
            continue
        reason = _site_reason(name, roles) or _why_not(frame[name])
        if reason:
            column = None if _impossible(frame[name]) else _described(frame[name], units.get(name, ""))
            excluded.append(Excluded(name, reason, column))
        else:
            features.append(_feature(frame[name], units.get(name, "")))
    leaks = _leaks(frame, label, [feature.column for feature in features])
    excluded += [Excluded(f.column.name, leaks[f.column.name], f.column) for f in features if f.column.name in leaks]
    kept = tuple(feature for feature in features if feature.column.name not in leaks)
    if not kept:
        listed = "; ".join(f"{column.name!r}: {column.reason}" for column in excluded) or "it has no other column"
        raise DataError(f"the table must have a column that can be a feature, but has none. {listed}")
    return kept, tuple(excluded)


def signals_of(frame: pl.DataFrame, roles: Roles) -> tuple[tuple[Feature, ...], tuple[Excluded, ...]]:
    """Divide the columns of readings that have no other role into signals and columns that are none.

    Raises
    ------
    DataError
        If no signal is left.
    """
    names = [name for name in frame.columns if name not in roles.taken]
    reasons = {name: _site_reason(name, roles) or _why_not(frame[name]) or _no_number(frame[name]) for name in names}
    signals = tuple(_feature(frame[name], "") for name in names if not reasons[name])
    if not signals:
        listed = "; ".join(f"{name!r}: {reason}" for name, reason in reasons.items()) or "it has no other column"
        raise DataError(f"readings must have a column of numbers that can be a signal, but have none. {listed}")
    return signals, tuple(Excluded(name, reason) for name, reason in reasons.items() if reason)


def _no_number(column: pl.Series) -> str:
    numeric = column.dtype.is_numeric() or column.dtype == pl.Boolean
    return "" if numeric and not _is_code(column) else "no number; windows have no mean of words or codes."


def _site_reason(name: str, roles: Roles) -> str:
    if name not in roles.sites:
        return ""
    return "seems to name the site; a model that reads it learns sites by heart and fails at the next one."


def _feature(column: pl.Series, unit: str) -> Feature:
    described, missing = _described(column, unit), column.null_count() / len(column)
    remarks = [f"{_percent(missing)} missing"] if missing else []
    if described.kind == "category":
        remarks.append(f"{column.drop_nulls().n_unique()} levels")
    return Feature(described, ", ".join(remarks))


def _described(column: pl.Series, unit: str) -> Column:
    """Return kind, unit, plausible range and marks for missing readings of a column."""
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean) or _is_code(column):
        return Column(column.name, "category")
    known = column.drop_nulls().cast(pl.Float64).to_numpy()
    codes = codes_among(known)
    marks = tuple(map(plain_code, np.unique(known[codes]).tolist()))
    span = range_of(known[~codes]) if len(known) and column.dtype != pl.Boolean else None
    low, high = span or (None, None)
    return Column(column.name, "number", unit or unit_of(column.name), low, high, marks)


def range_of(values: Float64Array) -> tuple[float, float] | None:
    """Return the plausible range of a column: 1st to 99th percentile, widened by their distance at both ends.

    The ends are rounded outwards to three digits, and the lower one is not below zero where no value is. So single
    wild readings lie outside, while a plant that runs somewhat differently stays inside.

    Parameters
    ----------
    values
        (rows,), finite, at least one.

    Returns
    -------
    low, high
        In the column's unit; None if the percentiles coincide, or there are no more than two different values.

    Examples
    --------
    >>> range_of(np.arange(0.0, 101.0))
    (0.0, 197.0)
    """
    low, high = np.quantile(values, (_LOW, _HIGH)).tolist()
    width = high - low
    if not (math.isfinite(width) and width > 0) or ((values == values.min()) | (values == values.max())).all():
        return None
    wide = (_outwards(low - width, -1), _outwards(high + width, 1))
    return (max(wide[0], 0.0), wide[1]) if values.min() >= 0 else wide


def _outwards(value: float, direction: int) -> float:
    """Round to three digits, away from the middle."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - _DIGITS + 1)
    rounded = (math.floor if direction < 0 else math.ceil)(value / step) * step
    return float(f"{rounded:.{_DIGITS}g}")


def _is_code(column: pl.Series) -> bool:
    """Return whether whole numbers stand for kinds, which have no order."""
    if not column.dtype.is_integer() or not _CODE_WORDS & set(words(column.name)):
        return False
    return 2 < column.drop_nulls().n_unique() <= MAX_LEVELS


def _impossible(column: pl.Series) -> bool:
    """Return whether a column cannot be read as a feature at all."""
    return bool(_bad_name(column) or _bad_type(column) or column.null_count() == len(column))


def _why_not(column: pl.Series) -> str:
    """Return the first reason why a column must not be a feature; empty if there is none."""
    return next(filter(None, (rule(column) for rule in _RULES)), "")


def _bad_name(column: pl.Series) -> str:
    if is_pattern(column.name):
        return "its name reads like a pattern; rename it."
    if is_reserved(column.name):
        return "the exported model gives this name to something else; rename it to use it."
    return ""


def _bad_type(column: pl.Series) -> str:
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        return f"holds {column.dtype} values, not one number or word; derive numbers from it."
    return ""


def _constant(column: pl.Series) -> str:
    known = column.drop_nulls()
    if len(known) == 0:
        return "no row has a value."
    return f"constant: every value is {_short(known[0])}." if known.n_unique() == 1 else ""


def _too_large(column: pl.Series) -> str:
    largest = column.cast(pl.Float64).abs().max() if column.dtype.is_numeric() else None
    if isinstance(largest, float) and largest > _LARGEST:
        return f"values up to {largest:.2g} are too large to scale; mend them or give another unit."
    return ""


def _moment(column: pl.Series) -> str:
    if column.dtype.is_temporal() or is_moment(column):
        return "a date or time; a model that reads it learns the past by heart."
    return ""


def _identifier(column: pl.Series) -> str:
    """Return that a column numbers or names its rows, by its values or by its header."""
    known, header = column.drop_nulls(), words(column.name)
    if len(known) < _FEWEST_ROWS or column.dtype.is_float() or column.dtype == pl.Boolean:
        return ""
    named = bool(header) and (header[-1] in _IDENTIFIER_WORDS or header[0] in _IDENTIFIER_WORDS)
    if known.n_unique() == len(known):
        numbered = column.dtype.is_integer() and (known.is_sorted() or known.is_sorted(descending=True))
        if column.dtype == pl.String or numbered or named:
            return "identifier: every row has its own value; a model would learn rows by heart."
    if named:
        return "named like an identifier; bring it back as a category if its values mean a kind."
    return ""


def _spoiled(column: pl.Series) -> str:
    """Return that a column is numbers but for a few texts, which a sensor writes where it fails."""
    if column.dtype != pl.String:
        return ""
    known = column.drop_nulls()
    odd = known.filter(known.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False).is_null())
    if not 0 < len(odd) <= (1 - _SPOILED) * len(known):
        return ""
    count = f"{len(odd)} of {len(known)} values"
    return f"numbers, but {count} are texts such as {_short(odd[0])}; empty these cells to use it."


def _free_text(column: pl.Series) -> str:
    levels = column.drop_nulls().n_unique() if column.dtype == pl.String else 0
    if levels > min(MAX_LEVELS, len(column) // 2):
        return f"free text: {levels} different values, each of which would become a feature."
    return ""


_RULES: tuple[Callable[[pl.Series], str], ...] = (
    _bad_name,
    _bad_type,
    _constant,
    _too_large,
    _moment,
    _spoiled,
    _identifier,
    _free_text,
)


def _leaks(frame: pl.DataFrame, label: Label, columns: Sequence[Column]) -> dict[str, str]:
    """Return the features that alone give the label away, each with the figure that says so."""
    if label.positives < _FEWEST_FAILURES or not columns:
        return {}
    bare = tuple(Column(column.name, column.kind) for column in columns)
    table = Table(frame, Schema(label.name, bare, positive=label.positive), Origin("draft"))
    return {
        finding.column: f"suspected leak: {_figure(finding.message)}. Is it known only after the failure? "
        "If it names the failure's mode, move it to modes."
        for finding in check_label(table)
        if finding.rule == "gives-label-away"
    }


def _figure(message: str) -> str:
    """Return the first part of a finding's message, to go on in a sentence."""
    figure = message.split(": it may be known", 1)[0]
    return figure[0].lower() + figure[1:]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
