"""The network inside the exported model.

A network of known layers is written out node by node, which needs no exporter. Any other module goes through
PyTorch's own exporter. Either result is compared with the network on random rows before anybody gets it.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx.compose
import torch
from onnx import TensorProto, helper
from torch import fx, nn

from werkbund.core import rng
from werkbund.core.errors import ModelError
from werkbund.data.names import GRAPH_PREFIX
from werkbund.model.onnx_graph import OPSET, Graph
from werkbund.model.onnx_layers import add_layers, is_written_out, trace
from werkbund.model.onnx_session import open_session
from werkbund.model.probability import sigmoid

TOLERANCE = 1e-5
"""Greatest difference of a probability between a network and its exported form."""


def add_network(graph: Graph, network: nn.Module, features: str, num_features: int) -> str:
    """Add a network's nodes.

    Parameters
    ----------
    graph
        Gets the nodes.
    network
        Maps (rows, features) to one logit a row, and is exported as it computes in evaluation mode, into which
        it is put.
    features
        Name of a float32 tensor (rows, features).
    num_features
        Its width.

    Returns
    -------
    name
        Of the logits, float32, (rows,).

    Raises
    ------
    ModelError
        If PyTorch cannot export the network, or the exported one computes something else.
    """
    network.eval()
    alone = Graph()
    _check_same(alone, _add(alone, network, "features", num_features), network, num_features)
    return _add(graph, network, features, num_features)


def _add(graph: Graph, network: nn.Module, features: str, num_features: int) -> str:
    traced = trace(network)
    if isinstance(traced, fx.GraphModule) and is_written_out(traced):
        logits = add_layers(graph, traced, features)
    else:
        logits = _add_exported(graph, network, features, num_features)
    return graph.add("Reshape", logits, graph.constant(np.array([-1])))


def _add_exported(graph: Graph, network: nn.Module, features: str, num_features: int) -> str:
    prefix = f"{GRAPH_PREFIX}network/"
    exported = onnx.compose.add_prefix(_exported(network, num_features), prefix)
    graph.name(features, f"{prefix}features")
    graph.nodes.extend(exported.graph.node)
    graph.constants.extend(exported.graph.initializer)
    return f"{prefix}logits"


def _exported(network: nn.Module, num_features: int) -> onnx.ModelProto:
    """Return what PyTorch's exporter makes of a module.

    The exporter by TorchScript is old and says so; the newer one would ask for one more package. Its warnings are
    of no use to the caller, since the result is compared with the module in any case.
    """
    rows = {0: "rows"}
    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.onnx"
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (torch.zeros(2, num_features),),
                file,
                dynamo=False,
                opset_version=OPSET,
                input_names=["features"],
                output_names=["logits"],
                dynamic_axes={"features": rows, "logits": rows},
            )
            return onnx.load(file)
    except Exception as error:  # the module's own code runs here and may raise anything
        raise ModelError(
            f"network {type(network).__name__} must be exportable to ONNX, but PyTorch refuses: {error}; "
            "build it from common layers, or score with the saved model folder instead of model.onnx"
        ) from error


def _check_same(graph: Graph, logits: str, network: nn.Module, num_features: int) -> None:
    """Compare on rows near 0, as scaled values are, and far from it: many alone, then all in one batch."""
    graph.name(logits, "logits")
    described = (
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", num_features])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows"])],
    )
    session = open_session(graph.model(*described, {}))
    draws = rng.generator(0, "export").normal(size=(64, num_features)).astype(np.float32)
    for rows in (draws, draws * 10, *np.split(draws * 3, len(draws))):
        with torch.inference_mode():
            expected = network(torch.from_numpy(rows)).reshape(-1).numpy()
        (got,) = session.run(None, {"features": rows})
        gap = np.abs(sigmoid(got) - sigmoid(expected)).max()
        if not gap <= TOLERANCE:
            raise ModelError(
                f"the exported network {type(network).__name__} must give the network's probabilities to "
                f"{TOLERANCE}, got a difference of {gap:.2g}; a branch that depends on values, or randomness in "
                "evaluation, cannot be exported: remove it"
            )
