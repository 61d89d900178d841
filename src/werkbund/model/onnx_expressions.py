"""Derived features inside the exported model: the expression tree as ONNX nodes, in double.

The rules are those of `data.nodes`: a missing number is NaN, comparisons follow IEEE 754, a missing text is empty
and equals nothing. ONNX does as much by itself, so most nodes are one operator. One thing is left to the runtime:
the sign of a zero, which onnxruntime drops in `Where`; it shows only where an expression goes on computing with
the infinity that a division by such a zero gives.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnx import TensorProto

from werkbund.data.expressions import (
    Binary,
    Call,
    Case,
    Cast,
    ColumnRef,
    Expression,
    IsNull,
    Number,
    Text,
    Unary,
    is_truth,
    parts,
)
from werkbund.model.onnx_graph import Graph

_OPERATORS: dict[str, str] = {
    "+": "Add",
    "-": "Sub",
    "*": "Mul",
    "/": "Div",
    "and": "And",
    "or": "Or",
    "=": "Equal",
    "<": "Less",
    "<=": "LessOrEqual",
    ">": "Greater",
    ">=": "GreaterOrEqual",
}

_FUNCTIONS: dict[str, str] = {
    "abs": "Abs",
    "sqrt": "Sqrt",
    "ln": "Log",
    "exp": "Exp",
    "pow": "Pow",
    "least": "Min",  # Min and Max are NaN as soon as one argument is
    "greatest": "Max",
}


def add_feature(graph: Graph, expression: Expression, columns: Mapping[str, str]) -> str:
    """Add the nodes of a derived feature.

    Parameters
    ----------
    graph
        Gets the nodes.
    expression
        Reads at least one column.
    columns
        The tensor of each raw column, (rows, 1): double with NaN for missing, or string with "" for missing.

    Returns
    -------
    name
        Of a double tensor (rows, 1); not finite where the feature is missing.
    """
    value = Cast(expression, "double") if is_truth(expression) else expression
    return _add(graph, value, columns)


def _add(graph: Graph, node: Expression, columns: Mapping[str, str]) -> str:
    """Return the tensor of a number (double), a truth (bool) or a text (string)."""
    match node:
        case Number(value=value):
            return graph.constant([[float(value)]])
        case Text(value=value):
            return graph.constant([[value]])
        case ColumnRef(name=name):
            return columns[name]
        case Case():
            return _case(graph, node, columns)
        case Cast():
            return _cast(graph, node, columns)
        case Unary() | Binary() | IsNull() | Call():
            return _apply(graph, node, [_add(graph, below, columns) for below in parts(node)])


def _apply(graph: Graph, node: Unary | Binary | IsNull | Call, below: list[str]) -> str:
    match node:
        case Unary(op=op):
            return graph.add("Neg" if op == "-" else "Not", *below)
        case Binary(op="!="):
            return graph.add("Not", graph.add("Equal", *below))  # so that NaN differs from everything
        case Binary(op=op):
            return graph.add(_OPERATORS[op], *below)
        case IsNull():
            return graph.add("IsNaN", *below)
        case Call(name=function):
            return graph.add(_FUNCTIONS[function], *below)


def _case(graph: Graph, node: Case, columns: Mapping[str, str]) -> str:
    result = _add(graph, node.otherwise, columns)
    for condition, value in reversed(node.branches):
        chosen = _add(graph, condition, columns), _add(graph, value, columns)
        result = graph.add("Where", *chosen, result)
    return result


def _cast(graph: Graph, node: Cast, columns: Mapping[str, str]) -> str:
    value = _add(graph, node.value, columns)
    if node.to == "double":
        return graph.add("Cast", value, to=TensorProto.DOUBLE)
    if node.to == "integer":
        return graph.add("Mul", graph.add("Sign", value), graph.add("Floor", graph.add("Abs", value)))
    zero = graph.add("Equal", value, graph.constant([[0.0]]))
    return graph.add("Not", graph.add("Or", zero, graph.add("IsNaN", value)))
