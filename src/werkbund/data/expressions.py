"""Expressions over raw columns: a small subset of SQL, read once into a tree.

Allowed are numbers, columns (odd names in double quotes), texts in single quotes beside `=`, `!=` and IN, the
operators + - * /, comparisons, BETWEEN, IN, IS NULL, AND, OR, NOT, CASE WHEN, CAST to double, integer or
boolean, and the functions abs, sqrt, ln, exp, least, greatest and pow. Everything else is refused here, by
name, so that whatever is in the tree can be computed on a table and inside an exported model alike.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from werkbund.core.errors import ConfigError
from werkbund.data.nodes import (
    FUNCTIONS,
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
    children,
    columns,
    is_truth,
    number_columns,
    text_columns,
    walk,
)

__all__ = [
    "FUNCTIONS",
    "Binary",
    "Call",
    "CaseWhen",
    "Cast",
    "ColumnRef",
    "Expression",
    "IsNull",
    "Number",
    "Text",
    "Unary",
    "children",
    "columns",
    "is_truth",
    "number_columns",
    "parse",
    "text_columns",
    "walk",
]

ALLOWED = (
    "allowed are numbers, columns (odd names and SQL words in double quotes), 'texts' compared by = or !=, + - * /, "
    "= != < <= > >=, BETWEEN, IN, IS NULL, AND, OR, NOT, CASE WHEN, CAST to double, integer or boolean, "
    f"and the functions {', '.join(FUNCTIONS)}"
)

MAX_LENGTH = 10_000

_ARITHMETIC: dict[type[exp.Expr], BinaryOp] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/"}
_LOGIC: dict[type[exp.Expr], BinaryOp] = {exp.And: "and", exp.Or: "or"}
_ORDER: dict[type[exp.Expr], BinaryOp] = {exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_EQUALITY: dict[type[exp.Expr], BinaryOp] = {exp.EQ: "=", exp.NEQ: "!="}
_FUNCTIONS: dict[type[exp.Expr], Function] = {
    exp.Abs: "abs",
    exp.Sqrt: "sqrt",
    exp.Ln: "ln",
    exp.Exp: "exp",
    exp.Least: "least",
    exp.Greatest: "greatest",
    exp.Pow: "pow",
}
_CASTS: dict[exp.DType, CastTarget] = {
    exp.DataType.Type.DOUBLE: "double",
    exp.DataType.Type.INT: "integer",
    exp.DataType.Type.BOOLEAN: "boolean",
}


def parse(text: str) -> Expression:
    """Read an expression of the SQL subset; integers divide like other numbers, 1 / 2 is 0.5.

    Raises
    ------
    ConfigError
        If the text is no expression, or holds a piece outside the subset; it names the piece.

    Examples
    --------
    >>> parse('"Torque [Nm]" * 2')
    Binary(op='*', left=ColumnRef(name='Torque [Nm]'), right=Number(value=2.0))
    """
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"an expression must have at most {MAX_LENGTH} characters, got {len(text)}; shorten it")
    try:
        statements = sqlglot.parse(text)
        if len(statements) != 1 or statements[0] is None:
            raise ConfigError(f"an expression must be one SQL expression, got {text!r}; {ALLOWED}")
        tree = _convert(statements[0])
    except SqlglotError as error:
        raise ConfigError(f"expression {text!r} cannot be read{_position(error)}; {ALLOWED}") from error
    except RecursionError:
        raise ConfigError(f"expression {text[:60]!r}... is nested too deeply; split it") from None
    if isinstance(tree, Text):
        raise ConfigError(f"an expression must give a number, got the text {text!r}; compare it with a column")
    return tree


def _position(error: SqlglotError) -> str:
    """Return " at position n, near x" where the parser knows it."""
    details = getattr(error, "errors", None)
    if not details or details[0].get("col") is None:
        return ""
    return f" at line {details[0]['line']}, position {details[0]['col']}, near {details[0]['highlight']!r}"


def _refuse(node: exp.Expr, because: str = "") -> ConfigError:
    reason = because or f"is outside the subset ({type(node).__name__})"
    return ConfigError(f"expression: {node.sql()!r} {reason}; {ALLOWED}")


def _convert(node: exp.Expr) -> Expression:
    """Return the node as our own, of whatever kind it is."""
    kind = type(node)
    if kind is exp.Paren or kind is exp.Neg or kind is exp.Not:
        return _prefix(node)
    if kind is exp.Literal or kind is exp.Null or kind is exp.Boolean:
        return _constant(node)
    if kind is exp.Column:
        return _column(node)
    if kind in _ARITHMETIC:
        return Binary(_ARITHMETIC[kind], _number(node.this), _number(node.expression))
    if kind in _LOGIC:
        return Binary(_LOGIC[kind], _truth(node.this), _truth(node.expression))
    if kind in _ORDER:
        return Binary(_ORDER[kind], _number(node.this), _number(node.expression))
    if kind in _EQUALITY:
        return _equality(_EQUALITY[kind], node.this, node.expression)
    if kind in _FUNCTIONS:
        return _call(node)
    special = _SPECIAL.get(kind)
    if special is None:
        raise _refuse(node)
    return special(node)


def _number(node: exp.Expr) -> Expression:
    """Return the node as a number; a truth becomes 0 or 1."""
    converted = _convert(node)
    if isinstance(converted, Text):
        raise _refuse(node, "is a text where a number is needed")
    return Cast(converted, "double") if is_truth(converted) else converted


def _truth(node: exp.Expr) -> Expression:
    """Return the node as a truth; a number is true unless it is 0 or missing."""
    converted = _convert(node)
    if isinstance(converted, Text):
        raise _refuse(node, "is a text where a condition is needed")
    return converted if is_truth(converted) else Cast(converted, "boolean")


def _prefix(node: exp.Expr) -> Expression:
    if isinstance(node, exp.Paren):
        return _convert(node.this)
    return Unary("-", _number(node.this)) if isinstance(node, exp.Neg) else Unary("not", _truth(node.this))


def _constant(node: exp.Expr) -> Expression:
    """Return a number or a text; null is NaN."""
    if isinstance(node, exp.Null):
        return Number(math.nan)
    if isinstance(node, exp.Boolean):
        return Number(float(node.this))
    if node.is_string:
        if not node.this:
            raise _refuse(node, "is an empty text, which cannot be told from a missing one")
        return Text(node.this)
    value = float(node.this)
    if not math.isfinite(value):
        raise _refuse(node, "is too large for a double")
    return Number(value)


def _column(node: exp.Expr) -> Expression:
    if node.args.get("table") is not None or not isinstance(node.this, exp.Identifier):
        raise _refuse(node, "must name a column alone, without a table; put a name with a dot in double quotes")
    return ColumnRef(node.this.this)


def _equality(op: BinaryOp, left: exp.Expr, right: exp.Expr) -> Expression:
    """Return a comparison of two numbers, or of a column with a text."""
    sides = _convert(left), _convert(right)
    if not any(isinstance(side, Text) for side in sides):
        if any(isinstance(side, exp.Null) for side in (left, right)):
            raise _refuse(exp.Null(), "equals nothing; write IS NULL or IS NOT NULL")
        return Binary(op, _number(left), _number(right))
    if not any(isinstance(side, ColumnRef) for side in sides):
        raise _refuse(left, "is compared with a text, but only a column can be")
    return Binary(op, *sides) if isinstance(sides[0], ColumnRef) else Binary(op, sides[1], sides[0])


def _call(node: exp.Expr) -> Expression:
    name = _FUNCTIONS[type(node)]
    rest = [node.expression] if name == "pow" else node.expressions
    arguments = tuple(_number(argument) for argument in (node.this, *rest))
    if name in ("least", "greatest") and len(arguments) < 2:
        raise _refuse(node, "needs at least two numbers")
    return Call(name, arguments)


def _case(node: exp.Expr) -> Expression:
    if node.this is not None:
        raise _refuse(node.this, "must not follow CASE; write CASE WHEN column = value THEN ...")
    branches = tuple((_truth(branch.this), _number(branch.args["true"])) for branch in node.args["ifs"])
    default = node.args.get("default")
    return CaseWhen(branches, Number(math.nan) if default is None else _number(default))


def _cast(node: exp.Expr) -> Expression:
    to = _CASTS.get(node.args["to"].this)
    if to is None:
        raise _refuse(node, "casts to another type than double, integer or boolean")
    value = _number(node.this)
    if to == "double" and isinstance(value, Cast) and value.to == "double":
        return value
    return Cast(value, to)


def _is_null(node: exp.Expr) -> Expression:
    if not isinstance(node.expression, exp.Null):
        raise _refuse(node, "uses IS for something else than NULL")
    return IsNull(_number(node.this))


def _between(node: exp.Expr) -> Expression:
    value = _number(node.this)
    low, high = _number(node.args["low"]), _number(node.args["high"])
    return Binary("and", Binary(">=", value, low), Binary("<=", value, high))


def _membership(node: exp.Expr) -> Expression:
    items: Iterable[exp.Expr] = node.expressions
    equalities: list[Expression] = [_equality("=", node.this, item) for item in items]
    if not equalities:
        raise _refuse(node, "must list its values")
    return functools.reduce(lambda left, right: Binary("or", left, right), equalities)


_SPECIAL: dict[type[exp.Expr], Callable[[exp.Expr], Expression]] = {
    exp.Case: _case,
    exp.Cast: _cast,
    exp.Is: _is_null,
    exp.Between: _between,
    exp.In: _membership,
}
