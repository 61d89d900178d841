"""The whole model as one ONNX graph: raw units in, probability and decision out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onnx import TensorProto, helper
from torch import nn

from werkbund.core.errors import ModelError
from werkbund.data.preparation import Preparation
from werkbund.model.onnx_graph import PREFIX, Graph
from werkbund.model.onnx_network import add_network
from werkbund.model.onnx_preparation import add_preparation, raw_inputs

OUTPUTS = ("probability", "decision")


def export_onnx(preparation: Preparation, network: nn.Module, threshold: float, facts: Mapping[str, str]) -> bytes:
    """Return the model as an ONNX file's bytes.

    Parameters
    ----------
    preparation
        Becomes the graph's first part. Inputs are its raw columns under their own names, (rows, 1) each: double
        with NaN for missing, or string with "" for missing.
    network
        With its weights loaded; it is put into evaluation mode.
    threshold
        A row is decided positive if its probability is at least this.
    facts
        Travel as metadata.

    Returns
    -------
    model
        Outputs are `probability`, double (rows,), and `decision`, bool (rows,).

    Raises
    ------
    ModelError
        If the network cannot be exported, or a column has a name that the graph needs itself.
    """

    def probability_of(graph: Graph) -> str:
        features = add_preparation(graph, preparation)
        logits = add_network(graph, network, features, preparation.num_features)
        return graph.add("Sigmoid", graph.add("Cast", logits, to=TensorProto.DOUBLE))

    return export_graph(preparation, probability_of, threshold, facts)


def export_graph(
    preparation: Preparation, probability_of: Callable[[Graph], str], threshold: float, facts: Mapping[str, str]
) -> bytes:
    """Return any model as an ONNX file's bytes; parameters, result and errors as for `export_onnx`.

    Parameters
    ----------
    probability_of
        Adds the nodes from the raw columns to the probability, double (rows,), and returns its name.
    """
    taken = [name for name in preparation.columns if name in OUTPUTS or name.startswith(PREFIX)]
    if taken:
        raise ModelError(f"columns must not be called {', '.join(OUTPUTS)} or {PREFIX}..., got {taken}; rename them")
    graph = Graph()
    probability = probability_of(graph)
    graph.name(probability, "probability")
    graph.name(graph.add("GreaterOrEqual", probability, graph.constant(threshold)), "decision")
    outputs = [
        helper.make_tensor_value_info("probability", TensorProto.DOUBLE, ["rows"]),
        helper.make_tensor_value_info("decision", TensorProto.BOOL, ["rows"]),
    ]
    return graph.model(raw_inputs(preparation), outputs, dict(facts))
