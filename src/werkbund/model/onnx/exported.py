"""The exported model: one ONNX file that takes raw units and gives probability and decision.

Any program outside Python can score with such a file; `model.onnx.running` does it as such a program would.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from onnx import TensorProto, helper

from werkbund.core.errors import ModelError
from werkbund.core.target import NumberTarget
from werkbund.data.names import GRAPH_PREFIX, RESULTS, is_reserved
from werkbund.model.contract import Model
from werkbund.model.onnx.graph import Graph
from werkbund.model.onnx.preparation import raw_inputs


class ScoreNodes(NamedTuple):
    """Name the nodes of a graph that score rows, double (rows,) each; the risk is needed where a number is foretold."""

    probability: str
    risk: str = ""


def export_model(model: Model, add_score: Callable[[Graph], ScoreNodes]) -> bytes:
    """Return a model as an ONNX file's bytes.

    Inputs are the raw columns under their own names, (rows, 1) each: double with NaN for missing, or string with ""
    for missing. Outputs are `probability`, double (rows,), and `decision`, bool (rows,); and where a number is
    foretold, that as `foretold`, double (rows,). Label, fingerprint, threshold and units travel as metadata.

    Parameters
    ----------
    model
        A row is decided positive if its probability is at least the model's threshold.
    add_score
        Adds the nodes from the raw columns to the score.

    Raises
    ------
    ModelError
        If a column has a name that the graph needs itself, or the model cannot be exported.
    """
    preparation = model.preparation
    taken = [name for name in preparation.columns if is_reserved(name)]
    if taken:
        raise ModelError(
            f"columns must not be called {', '.join(RESULTS)} or {GRAPH_PREFIX}..., got {taken}; rename them"
        )
    graph = Graph()
    probability, risk = add_score(graph)
    graph.name(probability, "probability")
    threshold = graph.constant(model.threshold_probability)
    graph.name(graph.add("GreaterOrEqual", probability, threshold), "decision")
    outputs = [
        helper.make_tensor_value_info("probability", TensorProto.DOUBLE, ["rows"]),
        helper.make_tensor_value_info("decision", TensorProto.BOOL, ["rows"]),
    ]
    if isinstance(model.target, NumberTarget):
        _add_number(graph, model.target, risk)
        outputs.append(helper.make_tensor_value_info("foretold", TensorProto.DOUBLE, ["rows"]))
    return graph.model(raw_inputs(preparation), outputs, _metadata(model))


def _add_number(graph: Graph, target: NumberTarget, risk: str) -> None:
    """Add the number that a risk foretells, as `NumberTarget.numbers` computes it."""
    far = graph.add("Mul", risk, graph.constant(target.scale))
    number = graph.add("Sub", graph.constant(target.horizon), far)
    graph.name(graph.add("Clip", number, graph.constant(0.0), graph.constant(target.cap)), "foretold")


def _metadata(model: Model) -> dict[str, str]:
    preparation = model.preparation
    return {
        "label": model.label,
        "fingerprint": model.fingerprint,
        "threshold_probability": repr(model.threshold_probability),
        "units": json.dumps(dict(zip(preparation.numeric, preparation.units, strict=False))),
    }
