"""The tree of a derived feature: nine small node types that are computed in two places alike.

A configuration's expression becomes this tree once. `features` computes it on a table, and the exported model
computes it inside its graph, so the tree is public and no larger than both can do alike.

Every node has one of three kinds, which its type and operator tell: a number (float64), a truth, or a text.
A missing value is NaN, and everything follows the rules of IEEE 754: arithmetic with NaN gives NaN, a
comparison with NaN is false, and `!=` with NaN is true. A text that is missing equals nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

UnaryOp = Literal["-", "not"]
BinaryOp = Literal["+", "-", "*", "/", "and", "or", "=", "!=", "<", "<=", ">", ">="]
Function = Literal["abs", "sqrt", "ln", "exp", "least", "greatest", "pow"]
CastTarget = Literal["double", "integer", "boolean"]

FUNCTIONS: tuple[Function, ...] = get_args(Function)


@dataclass(frozen=True)
class Number:
    """Be a constant; NaN where the text said `null`."""

    value: float


@dataclass(frozen=True)
class Text:
    """Be a constant text, never empty. It stands right of `=` or `!=` alone, with a column on the left."""

    value: str


@dataclass(frozen=True)
class ColumnRef:
    """Be a raw column: a text beside a `Text`, else a number (a boolean column counts as 0 and 1)."""

    name: str


@dataclass(frozen=True)
class Unary:
    """Negate a number (`-`) or a truth (`not`)."""

    op: UnaryOp
    operand: Expression


@dataclass(frozen=True)
class Binary:
    """Combine two numbers, or two truths (`and`, `or`), or compare two numbers or texts to a truth."""

    op: BinaryOp
    left: Expression
    right: Expression


@dataclass(frozen=True)
class CaseWhen:
    """Be the number of the first branch whose condition holds.

    Parameters
    ----------
    branches
        Pairs of condition (a truth) and value (a number).
    otherwise
        The number if no condition holds; NaN where the text had no ELSE.
    """

    branches: tuple[tuple[Expression, Expression], ...]
    otherwise: Expression


@dataclass(frozen=True)
class Cast:
    """Change the kind of a value.

    `double` takes a number or a truth (0 or 1); `integer` drops the fraction of a number, towards zero, and
    stays float64; `boolean` takes a number and is true unless that is 0 or NaN.
    """

    value: Expression
    to: CastTarget


@dataclass(frozen=True)
class IsNull:
    """Be true where a number is NaN."""

    value: Expression


@dataclass(frozen=True)
class Call:
    """Apply a function to numbers: two for `pow`, two or more for `least` and `greatest`, else one.

    `least` and `greatest` are NaN as soon as one argument is.
    """

    name: Function
    arguments: tuple[Expression, ...]


Expression: TypeAlias = Number | Text | ColumnRef | Unary | Binary | CaseWhen | Cast | IsNull | Call

COMPARISONS: frozenset[str] = frozenset({"=", "!=", "<", "<=", ">", ">="})


def is_truth(expression: Expression) -> bool:
    """Say whether a node is true or false, and not a number or a text."""
    match expression:
        case Binary(op=op):
            return op in COMPARISONS or op in ("and", "or")
        case Unary(op=op):
            return op == "not"
        case Cast(to=to):
            return to == "boolean"
        case IsNull():
            return True
        case _:
            return False


def children(expression: Expression) -> tuple[Expression, ...]:
    """Return the nodes directly below a node, in the order in which they are written."""
    match expression:
        case Unary(operand=below):
            return (below,)
        case Binary(left=left, right=right):
            return (left, right)
        case CaseWhen(branches=branches, otherwise=otherwise):
            return (*(node for branch in branches for node in branch), otherwise)
        case Cast(value=below) | IsNull(value=below):
            return (below,)
        case Call(arguments=arguments):
            return arguments
        case _:
            return ()


def walk(expression: Expression) -> Iterator[Expression]:
    """Yield a node and all nodes below it."""
    pending = [expression]
    while pending:
        node = pending.pop()
        yield node
        pending.extend(reversed(children(node)))


def columns(expression: Expression) -> frozenset[str]:
    """Return the names of all raw columns that an expression reads."""
    return frozenset(node.name for node in walk(expression) if isinstance(node, ColumnRef))


def text_columns(expression: Expression) -> frozenset[str]:
    """Return the names of the columns that an expression compares with a text."""
    pairs = (node for node in walk(expression) if isinstance(node, Binary) and isinstance(node.right, Text))
    return frozenset(node.left.name for node in pairs if isinstance(node.left, ColumnRef))


def number_columns(expression: Expression) -> frozenset[str]:
    """Return the names of the columns that an expression reads as numbers."""
    names: set[str] = set()
    for node in walk(expression):
        if not (isinstance(node, Binary) and isinstance(node.right, Text)):
            names.update(below.name for below in children(node) if isinstance(below, ColumnRef))
    return frozenset(names | ({expression.name} if isinstance(expression, ColumnRef) else set()))
