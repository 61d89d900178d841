"""The network side of the exported model.

A network of known layers is written out node by node, which needs no exporter: those of the shipped networks, and
any module that is built from the same layers and additions. Any other module goes through PyTorch's own exporter.
Either result is compared with the network on random rows before anybody gets it.
"""

from __future__ import annotations

import operator
import tempfile
import warnings
from collections.abc import Callable
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
from werkbund.data.preparation import Preparation
from werkbund.model.binary import sigmoid
from werkbund.model.onnx.exported import ScoreNodes
from werkbund.model.onnx.graph import OPSET, Graph
from werkbund.model.onnx.preparation import add_preparation
from werkbund.model.onnx.running import open_session

TOLERANCE = 1e-5
"""Greatest difference of a probability between a network and its exported form."""


def add_network(graph: Graph, preparation: Preparation, network: nn.Module) -> ScoreNodes:
    """Add the nodes of a preparation and of the network that reads its features.

    Parameters
    ----------
    graph
        Gets the nodes.
    preparation
        From raw columns to the network's features.
    network
        Maps (rows, features) to one logit a row, and is exported as it computes in evaluation mode, into which
        it is put.

    Raises
    ------
    ModelError
        If PyTorch cannot export the network, or the exported one computes something else.
    """
    network.eval()
    _check_export(network, preparation.num_features)
    features = add_preparation(graph, preparation)
    logits = _add_logits(graph, network, features, preparation.num_features)
    risk = graph.add("Cast", logits, to=TensorProto.DOUBLE)
    return ScoreNodes(graph.add("Sigmoid", risk), risk)


def _add_logits(graph: Graph, network: nn.Module, features: str, num_features: int) -> str:
    """Add a network's nodes behind float32 features, (rows, features); return its logits' name, float32, (rows,)."""
    traced = _trace(network)
    if isinstance(traced, fx.GraphModule) and _is_written_out(traced):
        logits = _add_layers(graph, traced, features)
    else:
        logits = _add_exported(graph, network, features, num_features)
    return graph.add("Reshape", logits, graph.constant(np.array([-1])))


def _linear(graph: Graph, layer: nn.Linear, rows: str) -> str:
    weight = graph.constant(layer.weight.detach().numpy())
    bias = () if layer.bias is None else (graph.constant(layer.bias.detach().numpy()),)
    return graph.add("Gemm", rows, weight, *bias, transB=1)


def _layer_norm(graph: Graph, layer: nn.LayerNorm, rows: str) -> str:
    width = layer.normalized_shape[-1]
    scale = np.ones(width, np.float32) if layer.weight is None else layer.weight.detach().numpy()
    shift = np.zeros(width, np.float32) if layer.bias is None else layer.bias.detach().numpy()
    constants = graph.constant(scale), graph.constant(shift)
    return graph.add("LayerNormalization", rows, *constants, axis=-1, epsilon=layer.eps)


_LAYERS: dict[type[nn.Module], Callable[..., str]] = {
    nn.Linear: _linear,
    nn.LayerNorm: _layer_norm,
    nn.ReLU: lambda graph, _, rows: graph.add("Relu", rows),
    nn.GELU: lambda graph, layer, rows: graph.add("Gelu", rows, approximate=layer.approximate),
    nn.Tanh: lambda graph, _, rows: graph.add("Tanh", rows),
    nn.SiLU: lambda graph, _, rows: graph.add("Mul", rows, graph.add("Sigmoid", rows)),
    nn.Dropout: lambda _graph, _layer, rows: rows,  # as in evaluation
}

_SUMS = (operator.add, torch.add)


def _trace(network: nn.Module) -> fx.GraphModule | Exception:
    """Return the network as a graph of calls, or why it has none, such as a branch that depends on values."""
    try:
        return fx.symbolic_trace(nn.Sequential(network))  # a lone layer is then a call as well
    except Exception as error:  # the module's own code runs here and may raise anything
        return error


def _is_written_out(traced: fx.GraphModule) -> bool:
    """Say whether a network consists of nothing but the layers above and additions."""
    return all(_is_known(traced, node) for node in traced.graph.nodes)


def _is_known(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        layer = traced.get_submodule(str(node.target))
        flat = not isinstance(layer, nn.LayerNorm) or len(layer.normalized_shape) == 1
        return type(layer) in _LAYERS and flat and len(node.args) == 1
    if node.op == "call_function":
        return node.target in _SUMS and len(node.all_input_nodes) == len(node.args) == 2 and not node.kwargs
    return node.op in ("placeholder", "output")


def _add_layers(graph: Graph, traced: fx.GraphModule, features: str) -> str:
    """Add the nodes of a network that `_is_written_out`; return the name of its logits, (rows, 1)."""
    tensors: dict[fx.Node, str] = {}
    result = features
    for node in traced.graph.nodes:
        sources = [tensors[source] for source in node.all_input_nodes]
        if node.op == "call_module":
            layer = traced.get_submodule(str(node.target))
            tensors[node] = _LAYERS[type(layer)](graph, layer, sources[0])
        elif node.op == "call_function":
            tensors[node] = graph.add("Add", *sources)
        elif node.op == "placeholder":
            tensors[node] = features
        else:
            result = sources[0]
    return result


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


def _check_export(network: nn.Module, num_features: int) -> None:
    """Compare a network with its exported form, on rows near 0, as scaled values are, and far from it.

    The rows go in as one batch and one by one.

    Raises
    ------
    ModelError
        If the network cannot be exported, or a probability differs by more than `TOLERANCE`.
    """
    graph = Graph()
    graph.name(_add_logits(graph, network, "features", num_features), "logits")
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", num_features])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows"])]
    session = open_session(graph.model(inputs, outputs, {}))
    draws = rng.generator(0, "export").normal(size=(64, num_features)).astype(np.float32)
    for rows in (draws, draws * 10, *np.split(draws * 3, len(draws))):
        with torch.inference_mode():
            expected = network(torch.from_numpy(rows)).reshape(-1).numpy()
        (logits,) = session.run(None, {"features": rows})
        gap = np.abs(sigmoid(logits) - sigmoid(expected)).max()
        if not gap <= TOLERANCE:
            raise ModelError(
                f"the exported network {type(network).__name__} must give the network's probabilities to "
                f"{TOLERANCE}, got a difference of {gap:.2g}; a branch that depends on values, or randomness in "
                "evaluation, cannot be exported: remove it"
            )
