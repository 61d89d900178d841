"""The numbers and levels of a raw table, before any scaling.

Surveys, the preparation and scoring all read a table through these two functions, so that a missing value
means the same to each of them: a null, a number that is not finite, an empty text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from werkbund.core.arrays import Float64Array
from werkbund.core.errors import DataError
from werkbund.data.expressions import to_polars
from werkbund.data.names import require
from werkbund.data.schema import Derived


def clean(frame: pl.DataFrame, numbers: Sequence[str], categories: Sequence[str]) -> pl.DataFrame:
    """Return the raw feature columns as Float64, NaN for missing, and String, null for missing.

    Parameters
    ----------
    frame
        A table in raw units; columns that are not named are ignored.
    numbers, categories
        Names of the raw feature columns of either kind.

    Raises
    ------
    DataError
        If columns are missing, or one that should hold numbers holds something else.
    """
    require(frame, (*numbers, *categories), "the features")
    columns = [_numbers(frame.get_column(name)) for name in numbers]
    return pl.DataFrame([*columns, *(_levels(frame.get_column(name)) for name in categories)])


def number_matrix(cleaned: pl.DataFrame, numbers: Sequence[str], derived: Sequence[Derived]) -> Float64Array:
    """Return raw and derived numbers side by side, NaN where a value is missing.

    Parameters
    ----------
    cleaned
        What `clean` returned.
    numbers, derived
        The raw columns, then the features computed from them.

    Returns
    -------
    numbers
        (rows, numbers + derived), float64, in raw units.
    """
    made = cleaned.select(to_polars(feature.tree).alias(feature.name) for feature in derived)
    columns = [*(cleaned.get_column(name) for name in numbers), *made.get_columns()]
    matrix = np.empty((cleaned.height, len(columns)), dtype=np.float64, order="F")
    for place, column in enumerate(columns):
        matrix[:, place] = column.to_numpy()  # a null becomes NaN
    return matrix


def _numbers(column: pl.Series) -> pl.Series:
    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        raise DataError(
            f"column {column.name!r} must hold numbers, got {column.dtype}; "
            "mend the values that are no numbers, or declare the column as a category"
        )
    values = column.cast(pl.Float64).to_numpy()
    return pl.Series(column.name, np.where(np.isfinite(values), values, np.nan))


def _levels(column: pl.Series) -> pl.Series:
    values = column.cast(pl.String)
    return values.set(values == "", None)
