"""The feature columns of a raw table before any scaling: numbers, levels, and derived features.

Surveys, the preparation and scoring all read a table through `clean` and `number_matrix`, so that a missing value
means the same to each of them: a null, a number that is not finite or marked as no reading, an empty text.

Derived features are computed with NumPy inside a polars expression. NumPy and the exported model follow IEEE 754;
polars' own operators do not (there NaN equals itself and stands above every number, and the minimum ignores it), so
a feature would differ between the table and the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import polars as pl
import polars.selectors as cs

from werkbund.core.arrays import AnyArray, Float64Array
from werkbund.core.errors import DataError
from werkbund.data.markers import Marker, without_marked
from werkbund.data.names import require
from werkbund.data.nodes import (
    Binary,
    BinaryOp,
    Call,
    CaseWhen,
    Cast,
    CastTarget,
    ColumnRef,
    Expression,
    Function,
    IsNull,
    Number,
    Text,
    Unary,
    UnaryOp,
    columns,
)
from werkbund.data.schema import Derived

Values: TypeAlias = AnyArray  # float64 or bool: (rows,), or () for a constant
RawColumns: TypeAlias = Mapping[str, pl.Series]

_OPERATORS: dict[BinaryOp, Callable[[Values, Values], Values]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "and": np.logical_and,
    "or": np.logical_or,
    "=": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}

_UNARY: dict[UnaryOp, Callable[[Values], Values]] = {"-": np.negative, "not": np.logical_not}

_FUNCTIONS: dict[Function, Callable[..., Values]] = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "ln": np.log,
    "exp": np.exp,
    "pow": np.power,
    "least": lambda *numbers: np.minimum.reduce(np.broadcast_arrays(*numbers)),
    "greatest": lambda *numbers: np.maximum.reduce(np.broadcast_arrays(*numbers)),
}


def clean(
    frame: pl.DataFrame,
    numbers: Sequence[str],
    categories: Sequence[str],
    missing: Mapping[str, Sequence[Marker]] | None = None,
) -> pl.DataFrame:
    """Return the raw feature columns as Float64, NaN for missing, and String, null for missing.

    Parameters
    ----------
    frame
        A table in raw units; columns that are not named are ignored.
    numbers, categories
        Names of the raw feature columns of either kind.
    missing
        Marks by number column that stand for no reading.

    Raises
    ------
    DataError
        If columns are missing, or one that should hold numbers holds something else.
    """
    require(frame, (*numbers, *categories), "the features")
    marks = missing or {}
    cleaned = [_numbers(frame.get_column(name), marks.get(name, ())) for name in numbers]
    return pl.DataFrame([*cleaned, *(_levels(frame.get_column(name)) for name in categories)])


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
    computed = cleaned.select(to_polars(feature.tree).alias(feature.name) for feature in derived)
    side_by_side = [*(cleaned.get_column(name) for name in numbers), *computed.get_columns()]
    matrix = np.empty((cleaned.height, len(side_by_side)), dtype=np.float64, order="F")
    for place, column in enumerate(side_by_side):
        matrix[:, place] = column.to_numpy()  # a null becomes NaN
    return matrix


def _numbers(column: pl.Series, marks: Sequence[Marker]) -> pl.Series:
    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        raise DataError(
            f"column {column.name!r} must hold numbers, got {column.dtype}; "
            "mend the values that are no numbers, or declare the column as a category"
        )
    values = column.cast(pl.Float64).to_numpy()
    return pl.Series(column.name, without_marked(np.where(np.isfinite(values), values, np.nan), marks))


def _levels(column: pl.Series) -> pl.Series:
    values = column.cast(pl.String)
    return values.zip_with(values != "", pl.Series(column.name, [None], pl.String))


def to_polars(expression: Expression) -> pl.Expr:
    """Return the polars expression that computes a derived feature: Float64, one value a row.

    Everything is computed in float64. A result that is not finite (a division by zero, the root of a negative
    number, an overflow, a missing input) is missing: null. A truth becomes 0 or 1.
    """
    names = sorted(columns(expression))
    if not names:
        with np.errstate(all="ignore"):
            value = float(_evaluate(expression, {}))
        return pl.lit(value if math.isfinite(value) else None, dtype=pl.Float64)

    def compute(series: Sequence[pl.Series]) -> pl.Series:
        table = {name: values.alias("values") for name, values in zip(names, series, strict=True)}
        with np.errstate(all="ignore"):
            values = _evaluate(expression, table)
        full = np.broadcast_to(values, len(series[0])).astype(np.float64)
        return pl.Series(np.where(np.isfinite(full), full, np.nan)).fill_nan(None)

    # pl.col, and a series of that name, would read "*" and "^...$" as patterns.
    inputs = [cs.by_name(name).as_expr() for name in names]
    return pl.map_batches(inputs, compute, return_dtype=pl.Float64, is_elementwise=True)


def _evaluate(node: Expression, table: RawColumns) -> Values:
    """Return float64 values for a number, bool values for a truth."""
    match node:
        case Number(value=constant):
            return np.asarray(constant, np.float64)
        case ColumnRef(name=name):
            return table[name].cast(pl.Float64).fill_null(math.nan).to_numpy()
        case Unary(op=op, operand=operand):
            return _UNARY[op](_evaluate(operand, table))
        case Binary():
            return _binary(node, table)
        case CaseWhen():
            return _case(node, table)
        case Cast(value=below, to=to):
            return _cast(_evaluate(below, table), to)
        case IsNull(value=below):
            return np.isnan(_evaluate(below, table))
        case Call(name=name, arguments=arguments):
            return _FUNCTIONS[name](*(_evaluate(argument, table) for argument in arguments))
        case Text(value=text):
            raise TypeError(f"a text stands beside a column in a comparison only, got {text!r}")


def _binary(node: Binary, table: RawColumns) -> Values:
    match node:
        case Binary(op=op, left=ColumnRef(name=name), right=Text(value=text)):
            texts = table[name].cast(pl.String)
            equal: Values = texts.eq_missing(text).to_numpy()
            return equal if op == "=" else np.logical_not(equal)
        case _:
            return _OPERATORS[node.op](_evaluate(node.left, table), _evaluate(node.right, table))


def _case(node: CaseWhen, table: RawColumns) -> Values:
    result = _evaluate(node.otherwise, table)
    for condition, value in reversed(node.branches):
        result = np.where(_evaluate(condition, table), _evaluate(value, table), result)
    return result


def _cast(values: Values, to: CastTarget) -> Values:
    if to == "double":
        return values.astype(np.float64)
    if to == "integer":
        return np.trunc(values)
    truths: Values = (values != 0.0) & ~np.isnan(values)
    return truths
