"""The exported model: one ONNX file that takes raw units and gives probability and decision, and how it is run.

Any program outside Python can score with such a file; `score_onnx` does it as such a program would.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import polars as pl
from onnx import TensorProto, helper

from werkbund.core.arrays import AnyArray, BoolArray, Float64Array
from werkbund.core.errors import ModelError
from werkbund.core.target import NumberTarget
from werkbund.data.features import clean
from werkbund.data.names import GRAPH_PREFIX, RESULTS, is_reserved
from werkbund.model.contract import Model
from werkbund.model.onnx.graph import Graph
from werkbund.model.onnx.preparation import raw_inputs

_ERRORS_ALONE = 3
"""The runtime's number for a log without warnings."""


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


def open_session(model: bytes) -> Any:
    """Return an `onnxruntime.InferenceSession` on the CPU.

    Raises
    ------
    ModelError
        If the bytes are no model that this runtime can run.
    """
    import onnxruntime  # slow to import, and only who scores by a graph needs it

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ALONE
    options.intra_op_num_threads = 1  # a table's model is small: threads cost more than they give
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises a class of its own for each of its status codes
        raise ModelError(f"the model must be an ONNX model that onnxruntime can run: {error}") from error


def score_onnx(model: bytes, frame: pl.DataFrame) -> tuple[Float64Array, BoolArray]:
    """Score a table in raw units with an exported model.

    Parameters
    ----------
    model
        What a model's `to_onnx` returned.
    frame
        Has at least the columns that the model names as its inputs.

    Returns
    -------
    probability, decision
        (rows,) each: float64, and whether the probability reaches the model's threshold.
    """
    session = open_session(model)
    probability, decision = session.run(["probability", "decision"], feeds_of(session, frame))
    return probability, decision


def feeds_of(session: Any, frame: pl.DataFrame) -> dict[str, AnyArray]:
    """Return a table in raw units as the inputs that a session asks for: (rows, 1) each, by column."""
    inputs = session.get_inputs()
    numbers = [tensor.name for tensor in inputs if tensor.type == "tensor(double)"]
    categories = [tensor.name for tensor in inputs if tensor.type == "tensor(string)"]
    cleaned = clean(frame, numbers, categories)
    values = {name: cleaned[name].to_numpy() for name in numbers}
    levels = {name: cleaned[name].fill_null("").to_numpy().astype(object) for name in categories}
    return {name: column.reshape(-1, 1) for name, column in (values | levels).items()}
