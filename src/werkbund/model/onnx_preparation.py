"""Raw units inside the exported model: derived features, missing values, scaling and levels as ONNX nodes.

The nodes repeat `Preparation.transform` operation by operation, in double up to the scaled value. A difference of
two temperatures taken in single precision would already decide some machines differently.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from werkbund.data.preparation import LARGEST, Preparation
from werkbund.model.onnx_expressions import add_feature
from werkbund.model.onnx_graph import Graph


def raw_inputs(preparation: Preparation) -> list[Any]:
    """Return the descriptions of the model's inputs: one tensor (rows, 1) for each raw column, under its name."""
    numbers = ((name, TensorProto.DOUBLE) for name in preparation.numeric)
    levels = ((name, TensorProto.STRING) for name, _ in preparation.categories)
    return [helper.make_tensor_value_info(name, kind, ["rows", 1]) for name, kind in (*numbers, *levels)]


def add_preparation(graph: Graph, preparation: Preparation) -> str:
    """Add the nodes that turn raw columns into the network's input; return the name of (rows, features) float32."""
    blocks: list[str] = []
    indicators: list[str] = []
    if preparation.numbers:
        scaled = _add_scaled(graph, preparation)
        present = graph.add("LessOrEqual", graph.add("Abs", scaled), graph.constant(LARGEST))  # not so for NaN
        blocks.append(graph.add("Where", present, scaled, graph.constant(0.0)))
        indicators = _add_indicators(graph, preparation, present)
    parts = [graph.add("Cast", block, to=TensorProto.FLOAT) for block in blocks]
    for name, levels in preparation.categories:
        if levels:
            same = graph.add("Equal", name, graph.constant([list(levels)]))  # (rows, levels)
            parts.append(graph.add("Cast", same, to=TensorProto.FLOAT))
    return graph.add("Concat", *parts, *indicators, axis=1)


def _add_scaled(graph: Graph, preparation: Preparation) -> str:
    """Return (rows, numbers), double: scaled, not finite where a value is missing."""
    centred = graph.add("Sub", add_numbers(graph, preparation), graph.constant([preparation.mean]))
    return graph.add("Div", centred, graph.constant([preparation.scale]))


def add_numbers(graph: Graph, preparation: Preparation) -> str:
    """Return (rows, numbers), double, raw and derived, in raw units; not finite where a value is missing."""
    missing = graph.constant(np.nan)
    columns = {name: name for name, _ in preparation.categories}
    for name in preparation.numeric:
        columns[name] = graph.add("Where", is_finite(graph, name), name, missing)
    raw = [columns[name] for name in preparation.numeric]
    derived = [add_feature(graph, feature.tree, columns) for feature in preparation.derived]
    return graph.add("Concat", *raw, *derived, axis=1)


def is_finite(graph: Graph, numbers: str) -> str:
    """Return where numbers are finite; NaN is not."""
    return graph.add("LessOrEqual", graph.add("Abs", numbers), graph.constant(np.finfo(np.float64).max))


def _add_indicators(graph: Graph, preparation: Preparation, present: str) -> list[str]:
    if not preparation.missing:
        return []
    places = np.array([preparation.numbers.index(name) for name in preparation.missing])
    chosen = graph.add("Gather", present, graph.constant(places), axis=1)
    return [graph.add("Cast", graph.add("Not", chosen), to=TensorProto.FLOAT)]
