"""The whole model as one ONNX graph: raw units in, probability and decision out."""

from __future__ import annotations

import json
from collections.abc import Callable

from onnx import TensorProto, helper
from torch import nn

from werkbund.core.errors import ModelError
from werkbund.data.names import GRAPH_PREFIX, RESULTS, is_reserved
from werkbund.model.contract import Model
from werkbund.model.onnx_graph import Graph
from werkbund.model.onnx_network import add_network
from werkbund.model.onnx_preparation import add_preparation, raw_inputs


def export_onnx(model: Model, network: nn.Module) -> bytes:
    """Return a network's model as an ONNX file's bytes.

    Parameters
    ----------
    model
        Its preparation becomes the graph's first part. Inputs are the raw columns under their own names, (rows, 1)
        each: double with NaN for missing, or string with "" for missing. A row is decided positive if its probability
        is at least the model's threshold. Label, fingerprint, threshold and units travel as metadata.
    network
        With its weights loaded; it is put into evaluation mode.

    Returns
    -------
    file
        Outputs are `probability`, double (rows,), and `decision`, bool (rows,).

    Raises
    ------
    ModelError
        If the network cannot be exported, or a column has a name that the graph needs itself.
    """
    preparation = model.preparation

    def probability_of(graph: Graph) -> str:
        features = add_preparation(graph, preparation)
        logits = add_network(graph, network, features, preparation.num_features)
        return graph.add("Sigmoid", graph.add("Cast", logits, to=TensorProto.DOUBLE))

    return export_graph(model, probability_of)


def export_graph(model: Model, probability_of: Callable[[Graph], str]) -> bytes:
    """Return any model as an ONNX file's bytes; result and errors as for `export_onnx`.

    Parameters
    ----------
    model
        As for `export_onnx`.
    probability_of
        Adds the nodes from the raw columns to the probability, double (rows,), and returns its name.
    """
    preparation = model.preparation
    taken = [name for name in preparation.columns if is_reserved(name)]
    if taken:
        raise ModelError(
            f"columns must not be called {', '.join(RESULTS)} or {GRAPH_PREFIX}..., got {taken}; rename them"
        )
    graph = Graph()
    probability = probability_of(graph)
    graph.name(probability, "probability")
    threshold = graph.constant(model.threshold_probability)
    graph.name(graph.add("GreaterOrEqual", probability, threshold), "decision")
    outputs = [
        helper.make_tensor_value_info("probability", TensorProto.DOUBLE, ["rows"]),
        helper.make_tensor_value_info("decision", TensorProto.BOOL, ["rows"]),
    ]
    return graph.model(raw_inputs(preparation), outputs, _facts(model))


def _facts(model: Model) -> dict[str, str]:
    preparation = model.preparation
    return {
        "label": model.label,
        "fingerprint": model.fingerprint,
        "threshold_probability": repr(model.threshold_probability),
        "units": json.dumps(dict(zip(preparation.numeric, preparation.units, strict=False))),
    }
