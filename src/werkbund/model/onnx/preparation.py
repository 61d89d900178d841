"""The input side of the exported model: raw columns, derived features, missing values, scaling and levels.

The nodes repeat `Preparation.transform` operation by operation, in double up to the scaled value. A difference of
two temperatures taken in single precision would already decide some machines differently.

A derived feature is its expression tree as ONNX nodes, by the rules of `data.nodes`: a missing number is NaN,
comparisons follow IEEE 754, a missing text is empty and equals nothing. ONNX does as much by itself, so most nodes
are one operator. One thing is left to the runtime: the sign of a zero, which onnxruntime drops in `Where`; it shows
only where an expression goes on computing with the infinity that a division by such a zero gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from werkbund.data.expressions import (
    Binary,
    Call,
    CaseWhen,
    Cast,
    ColumnRef,
    Expression,
    IsNull,
    Number,
    Text,
    Unary,
    children,
    is_truth,
)
from werkbund.data.markers import Marker, interval_of
from werkbund.data.preparation import LARGEST, Preparation
from werkbund.model.onnx.graph import Graph

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


def raw_inputs(preparation: Preparation) -> list[Any]:
    """Return the descriptions of the model's inputs: one tensor (rows, 1) for each raw column, under its name."""
    numbers = ((name, TensorProto.DOUBLE) for name in preparation.numeric)
    levels = ((name, TensorProto.STRING) for name, _ in preparation.categories)
    return [helper.make_tensor_value_info(name, kind, ["rows", 1]) for name, kind in (*numbers, *levels)]


def add_preparation(graph: Graph, preparation: Preparation) -> str:
    """Add the nodes that turn raw columns into the network's input; return the name of (rows, features) float32."""
    numbers: list[str] = []
    indicators: list[str] = []
    if preparation.numbers:
        scaled = _add_scaled(graph, preparation)
        present = graph.add("LessOrEqual", graph.add("Abs", scaled), graph.constant(LARGEST))  # not so for NaN
        numbers.append(graph.add("Where", present, scaled, graph.constant(0.0)))
        indicators = _add_indicators(graph, preparation, present)
    features = [graph.add("Cast", block, to=TensorProto.FLOAT) for block in numbers]
    for name, levels in preparation.categories:
        if levels:
            same = graph.add("Equal", name, graph.constant([list(levels)]))  # (rows, levels)
            features.append(graph.add("Cast", same, to=TensorProto.FLOAT))
    return graph.add("Concat", *features, *indicators, axis=1)


def _add_scaled(graph: Graph, preparation: Preparation) -> str:
    """Return (rows, numbers), double: scaled, not finite where a value is missing."""
    centred = graph.add("Sub", add_numbers(graph, preparation), graph.constant([preparation.mean]))
    return graph.add("Div", centred, graph.constant([preparation.scale]))


def add_numbers(graph: Graph, preparation: Preparation) -> str:
    """Return (rows, numbers), double, raw and derived, in raw units; not finite where a value is missing."""
    missing, marks = graph.constant(np.nan), dict(preparation.marks)
    columns = {name: name for name, _ in preparation.categories}
    for name in preparation.numeric:
        columns[name] = graph.add("Where", _is_reading(graph, name, marks.get(name, ())), name, missing)
    raw = [columns[name] for name in preparation.numeric]
    derived = [add_feature(graph, feature.tree, columns) for feature in preparation.derived]
    return graph.add("Concat", *raw, *derived, axis=1)


def _is_reading(graph: Graph, name: str, marks: Sequence[Marker]) -> str:
    """Return the name of a bool tensor, (rows, 1): whether each number is finite and not marked as no reading."""
    reading = is_finite(graph, name)
    for low, high in map(interval_of, marks):
        below, above = graph.add("Less", name, graph.constant(low)), graph.add("Greater", name, graph.constant(high))
        reading = graph.add("And", reading, graph.add("Or", below, above))
    return reading


def is_finite(graph: Graph, numbers: str) -> str:
    """Return the name of a bool tensor, shaped as `numbers` is: whether each is finite, which NaN is not."""
    return graph.add("LessOrEqual", graph.add("Abs", numbers), graph.constant(np.finfo(np.float64).max))


def _add_indicators(graph: Graph, preparation: Preparation, present: str) -> list[str]:
    """Return the block that says where numbers are missing, (rows, columns with gaps) float32; nothing without gaps."""
    if not preparation.missing:
        return []
    places = np.array([preparation.numbers.index(name) for name in preparation.missing])
    chosen = graph.add("Gather", present, graph.constant(places), axis=1)
    return [graph.add("Cast", graph.add("Not", chosen), to=TensorProto.FLOAT)]


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
    return _add_expression(graph, value, columns)


def _add_expression(graph: Graph, node: Expression, columns: Mapping[str, str]) -> str:
    """Return the tensor of a number (double), a truth (bool) or a text (string)."""
    match node:
        case Number(value=value):
            return graph.constant([[float(value)]])
        case Text(value=value):
            return graph.constant([[value]])
        case ColumnRef(name=name):
            return columns[name]
        case CaseWhen():
            return _add_case(graph, node, columns)
        case Cast():
            return _add_cast(graph, node, columns)
        case Unary() | Binary() | IsNull() | Call():
            return _add_operator(graph, node, [_add_expression(graph, part, columns) for part in children(node)])


def _add_operator(graph: Graph, node: Unary | Binary | IsNull | Call, arguments: list[str]) -> str:
    """Return the tensor of an operator or function on tensors that are already there."""
    match node:
        case Unary(op=op):
            return graph.add("Neg" if op == "-" else "Not", *arguments)
        case Binary(op="!="):
            return graph.add("Not", graph.add("Equal", *arguments))  # so that NaN differs from everything
        case Binary(op=op):
            return graph.add(_OPERATORS[op], *arguments)
        case IsNull():
            return graph.add("IsNaN", *arguments)
        case Call(name=function):
            return graph.add(_FUNCTIONS[function], *arguments)


def _add_case(graph: Graph, node: CaseWhen, columns: Mapping[str, str]) -> str:
    """Return the value of the first branch that holds: chosen from the last branch to the first, over the ELSE."""
    result = _add_expression(graph, node.otherwise, columns)
    for condition, value in reversed(node.branches):
        chosen = _add_expression(graph, condition, columns), _add_expression(graph, value, columns)
        result = graph.add("Where", *chosen, result)
    return result


def _add_cast(graph: Graph, node: Cast, columns: Mapping[str, str]) -> str:
    """Return a number as it is or cut to a whole one, or as a truth: neither 0 nor missing."""
    value = _add_expression(graph, node.value, columns)
    if node.to == "double":
        return graph.add("Cast", value, to=TensorProto.DOUBLE)
    if node.to == "integer":
        return graph.add("Mul", graph.add("Sign", value), graph.add("Floor", graph.add("Abs", value)))
    zero = graph.add("Equal", value, graph.constant([[0.0]]))
    return graph.add("Not", graph.add("Or", zero, graph.add("IsNaN", value)))
