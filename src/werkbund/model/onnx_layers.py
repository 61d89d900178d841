"""The layers that the export writes out itself, node by node, from a traced network.

They are those of the shipped networks, and of any module that is built from the same layers and additions.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import numpy as np
import torch
from torch import fx, nn

from werkbund.model.onnx_graph import Graph


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


LAYERS: dict[type[nn.Module], Callable[..., str]] = {
    nn.Linear: _linear,
    nn.LayerNorm: _layer_norm,
    nn.ReLU: lambda graph, _, rows: graph.add("Relu", rows),
    nn.GELU: lambda graph, layer, rows: graph.add("Gelu", rows, approximate=layer.approximate),
    nn.Tanh: lambda graph, _, rows: graph.add("Tanh", rows),
    nn.SiLU: lambda graph, _, rows: graph.add("Mul", rows, graph.add("Sigmoid", rows)),
    nn.Dropout: lambda _graph, _layer, rows: rows,  # as in evaluation
}

_SUMS = (operator.add, torch.add)


def trace(network: nn.Module) -> fx.GraphModule | Exception:
    """Return the network as a graph of calls, or why it has none, such as a branch that depends on values."""
    try:
        return fx.symbolic_trace(nn.Sequential(network))  # a lone layer is then a call as well
    except Exception as error:  # the module's own code runs here and may raise anything
        return error


def is_written_out(traced: fx.GraphModule) -> bool:
    """Say whether a network consists of nothing but the layers above and additions."""
    return all(_is_known(traced, node) for node in traced.graph.nodes)


def _is_known(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        layer = traced.get_submodule(str(node.target))
        flat = not isinstance(layer, nn.LayerNorm) or len(layer.normalized_shape) == 1
        return type(layer) in LAYERS and flat and len(node.args) == 1
    if node.op == "call_function":
        return node.target in _SUMS and len(node.all_input_nodes) == len(node.args) == 2 and not node.kwargs
    return node.op in ("placeholder", "output")


def add_layers(graph: Graph, traced: fx.GraphModule, features: str) -> str:
    """Add the nodes of a network that `is_written_out`; return the name of its logits, (rows, 1)."""
    tensors: dict[fx.Node, str] = {}
    result = features
    for node in traced.graph.nodes:
        sources = [tensors[source] for source in node.all_input_nodes]
        if node.op == "call_module":
            layer = traced.get_submodule(str(node.target))
            tensors[node] = LAYERS[type(layer)](graph, layer, sources[0])
        elif node.op == "call_function":
            tensors[node] = graph.add("Add", *sources)
        elif node.op == "placeholder":
            tensors[node] = features
        else:
            result = sources[0]
    return result
