"""Frames of pandas where frames of polars are taken."""

from __future__ import annotations

from typing import Any

import polars as pl


def polars_of(frame: Any) -> pl.DataFrame:
    """Return a frame of pandas or polars as one of polars; what is missing there is missing here.

    Parameters
    ----------
    frame
        Of polars, which is returned as it is, or of pandas, whose index is dropped.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    if not hasattr(frame, "iloc") or not hasattr(frame, "columns"):
        raise TypeError(f"rows must be a frame of polars or pandas, got {type(frame).__name__}; make one of them")
    return pl.DataFrame({str(name): _cells(frame[name]) for name in frame.columns})


def _cells(column: Any) -> pl.Series:
    if column.dtype.kind in "biuf":
        return pl.Series(column.to_numpy())
    return pl.Series([None if missing else value for value, missing in zip(column, column.isna(), strict=True)])
