"""A graph under construction: nodes and constants with names of their own, in the order in which they compute."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from werkbund.data.names import GRAPH_PREFIX

OPSET = 20
"""The oldest operator set with Gelu and with IsNaN in double that exporters and runtimes share."""

ML = "ai.onnx.ml"
"""Domain of the operators for trees."""

_OPSETS = {"": OPSET, ML: 5}  # 5 has trees whose numbers and sums are double


@dataclass
class Graph:
    """Collect nodes; every method that adds one returns the name of the tensor that it computes."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output."""
        name = f"{GRAPH_PREFIX}{operator}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def name(self, inner: str, outer: str) -> None:
        """Give a tensor the name under which the outside knows it."""
        self.nodes.append(helper.make_node("Identity", [inner], [outer], name=f"{GRAPH_PREFIX}output/{outer}"))

    def constant(self, value: npt.ArrayLike) -> str:
        """Add a constant: numbers keep their dtype, texts become strings."""
        array = np.asarray(value)
        name = f"{GRAPH_PREFIX}constant/{len(self.constants)}"
        texts = array.astype(object) if array.dtype.kind == "U" else array
        self.constants.append(numpy_helper.from_array(texts, name))
        return name

    def model(self, inputs: Iterable[Any], outputs: Iterable[Any], facts: dict[str, str]) -> bytes:
        """Return the checked model.

        Parameters
        ----------
        inputs, outputs
            Value descriptions with names, types and shapes.
        facts
            Travel as the model's metadata.
        """
        graph = helper.make_graph(self.nodes, "werkbund", list(inputs), list(outputs), self.constants)
        used = {node.domain for node in self.nodes}
        imports = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items() if domain in used]
        model = helper.make_model(graph, opset_imports=imports, producer_name="werkbund", ir_version=9)
        helper.set_model_props(model, facts)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))
