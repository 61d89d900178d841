"""One form for all tables, whatever file they come from: what is missing is null, a text is a text."""

from __future__ import annotations

import polars as pl

from werkbund.data.cells import MISSING


def tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with missing readings as nulls and with plain types.

    NaN, infinite readings and blank texts become null; texts lose blanks at both ends, and a column of numbers
    that were texts for their blanks alone becomes numbers; categories become texts, decimals and integers beyond
    64 bits become Float64.
    """
    return frame.select([_tidy_column(frame[name]) for name in frame.columns])


def _tidy_column(column: pl.Series) -> pl.Series:
    """Return a column of a plain type, with nulls for what is missing."""
    if column.dtype.is_float():
        return pl.select(pl.when(column.is_finite()).then(column).otherwise(None).alias(column.name)).to_series()
    if isinstance(column.dtype, (pl.Categorical, pl.Enum)):
        return _tidy_text(column.cast(pl.String))
    if column.dtype == pl.String:
        return _tidy_text(column)
    if column.dtype.is_decimal() or column.dtype in (pl.Int128, pl.UInt128):
        return column.cast(pl.Float64)
    return column


def _tidy_text(column: pl.Series) -> pl.Series:
    """Return a text without blanks around it; numbers that were texts for their blanks alone become numbers."""
    stripped = column.str.strip_chars()
    known = stripped.set(stripped.is_in(MISSING), None)
    if stripped.equals(column):
        return known
    for dtype in (pl.Int64, pl.Float64):
        numbers = known.cast(dtype, strict=False)
        if numbers.null_count() == known.null_count() < len(known):
            return _tidy_column(numbers)
    return known
