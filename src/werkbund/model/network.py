"""A trained network as a model: preparation, network, weights and the threshold at which somebody looks.

Whoever has it feeds raw units and gets probabilities. It knows nothing of clients or rounds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import nn

from werkbund.core.arrays import AnyArray, BoolArray, Float32Array, Float64Array
from werkbund.core.errors import ModelError
from werkbund.core.target import FAILURE, Target, target_from_json
from werkbund.core.weights import Layout
from werkbund.data.preparation import Preparation
from werkbund.learner import ModelSpec, build_network, layout_of, load_weights, logits_of
from werkbund.model.binary import check_threshold, decide, sigmoid
from werkbund.model.contract import Explanation, numbers_of
from werkbund.model.onnx.exported import export_model
from werkbund.model.onnx.network import add_network
from werkbund.model.storage import read_model, write_folder

_STEPS = 64
"""Points at which gradients are taken between a usual row and the one that is explained."""


@dataclass(frozen=True)
class TrainedModel:
    """Score machines from a table in raw units.

    Parameters
    ----------
    preparation
        From raw units to features.
    network
        Which network reads the features.
    weights
        (parameters,), float32, finite.
    layout
        Which slice of the weights is which tensor of the network.
    threshold_probability
        A row is decided positive if its probability is at least this, in [0, 1].
    label
        Name of what the probability is about.
    constants
        Tensors of the network that do not train, by name, where it has any.
    target
        What is foretold; of a number, the network's output is its risk.
    """

    preparation: Preparation
    network: ModelSpec
    weights: Float32Array
    layout: Layout
    threshold_probability: float
    label: str
    constants: Mapping[str, AnyArray] = field(default_factory=dict)
    target: Target = FAILURE

    def __post_init__(self) -> None:
        if self.weights.shape != (self.layout.num_parameters,) or self.weights.dtype != np.float32:
            raise ModelError(
                f"weights must be float32 with {self.layout.num_parameters} parameters, "
                f"got {self.weights.dtype} {self.weights.shape}"
            )
        if not np.isfinite(self.weights).all():
            raise ModelError("weights must be finite, got NaN or infinity; training has diverged")
        check_threshold(self.threshold_probability)
        _require_plain(self.network)
        self.build()

    @classmethod
    def of(
        cls,
        network: nn.Module,
        spec: ModelSpec,
        weights: Float32Array,
        preparation: Preparation,
        threshold_probability: float,
        label: str,
        target: Target = FAILURE,
    ) -> TrainedModel:
        """Return the model of a network that was built from `spec`, with these weights.

        Its tensors that do not train are taken over, so that the model never depends on how they were drawn.
        """
        layout = layout_of(network)
        constants = {name: tensor.detach().numpy().copy() for name, tensor in _constants(network).items()}
        own = np.array(weights, dtype=np.float32)
        return cls(preparation, spec, own, layout, threshold_probability, label, constants, target)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that differ as soon as anything that decides a score does."""
        digest = hashlib.sha256(json.dumps(self._describe(), sort_keys=True).encode())
        for _, tensor in sorted((("", self.weights), *self.constants.items())):
            digest.update(np.ascontiguousarray(tensor).tobytes())
        return digest.hexdigest()[:16]

    def build(self) -> nn.Module:
        """Return the network with the model's tensors loaded, in evaluation mode.

        Raises
        ------
        ModelError
            If the network cannot be built or has another layout.
        """
        network = build_network(self.network, self.preparation.num_features, seed=0)
        if layout_of(network) != self.layout:
            raise ModelError(
                f"weights must have the layout of {self.network.kind!r} on {self.preparation.num_features} "
                f"features, {layout_of(network).fingerprint}, got {self.layout.fingerprint}; the network's code or "
                "its options have changed since training"
            )
        load_weights(network, self.weights)
        _load_constants(network, self.constants)
        return network.eval()

    def logits(self, frame: pl.DataFrame) -> Float32Array:
        """Return one logit for each row of a table in raw units: (rows,)."""
        return logits_of(self.build(), self.weights, self.preparation.transform(frame))

    def score(self, frame: pl.DataFrame) -> Float64Array:
        """Return the probability of each row of a table in raw units: (rows,)."""
        return sigmoid(self.logits(frame))

    def foretell(self, frame: pl.DataFrame) -> Float64Array | None:
        """Return the number that is foretold for each row, (rows,); None where none is."""
        return numbers_of(self, frame)

    def decide(self, frame: pl.DataFrame) -> BoolArray:
        """Return whether each row's probability reaches the threshold: (rows,)."""
        return decide(self.score(frame), self.threshold_probability)

    def explain(self, frame: pl.DataFrame) -> Explanation:
        """Return the integrated gradients of each row's logit along the straight way from a usual row to it.

        A usual row has the federation's mean in each number, derived ones too, and all levels of a category alike. The
        parts add up to what the row's logit differs by from that of the usual row; `_STEPS` gradients stand for the
        integral, and the rounding that is left is spread over the parts in proportion to their size.

        References
        ----------
        Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, equation 1 and section 5.
        Deviations: midpoints instead of the right ends of steps; what remains of completeness is shared out.
        """
        rows, columns_of = self.preparation.transform(frame), self.preparation.feature_groups
        network, usual = self.build(), self.usual_row()
        expected = float(logits_of(network, self.weights, usual)[0])
        gradients = mean_gradients(network, rows, usual) * (rows - usual)
        parts = np.stack([gradients[:, columns].sum(axis=1) for columns in columns_of.values()], axis=1)
        left = self.logits(frame).astype(np.float64) - expected - parts.sum(axis=1)
        size = np.abs(parts)
        parts += left[:, None] * size / np.maximum(size.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        return Explanation(tuple(columns_of), parts, expected, "logit", additive=True)

    def usual_row(self) -> Float32Array:
        """Return the inputs of a row that is like the federation's mean: (1, features)."""
        usual = np.zeros((1, self.preparation.num_features), np.float32)
        for name, levels in self.preparation.categories:
            usual[0, self.preparation.feature_groups[name]] = 1.0 / max(len(levels), 1)
        return usual

    def about(self) -> dict[str, Any]:
        """Return kind, options, number of parameters and features, for the card."""
        return {
            "kind": self.network.kind,
            "options": dict(self.network.options),
            "parameters": self.layout.num_parameters,
            "features": list(self.preparation.feature_names),
        }

    def to_onnx(self) -> bytes:
        """Return the model as one ONNX graph that takes raw units; see `export_model` for inputs and outputs.

        Raises
        ------
        ModelError
            If the network cannot be exported, or a column has a name that the graph needs itself.
        """
        return export_model(self, lambda graph: add_network(graph, self.preparation, self.build()))

    def save(self, folder: Path) -> None:
        """Write the model as `.npy` and `.json` files, which hold values and no code.

        A network of one's own is stored by its import path; its module must be there when the model is loaded.
        """
        described = self._describe() | {"fingerprint": self.fingerprint}
        write_folder(folder, described, {"weights": self.weights, **self._named_constants()})

    @classmethod
    def load(cls, folder: Path) -> TrainedModel:
        """Read what `save` wrote.

        A network of one's own is imported by the path that the folder names: load such folders from people whose
        code you would run.

        Raises
        ------
        ModelError
            If a file is missing, truncated or changed, or the network can no longer be built.
        """
        return read_model(
            folder,
            lambda described, arrays: cls(
                Preparation.from_json(described["preparation"]),
                ModelSpec(described["network"]["kind"], described["network"]["options"]),
                arrays["weights"],
                Layout(
                    tuple(described["layout"]["names"]),
                    tuple(tuple(shape) for shape in described["layout"]["shapes"]),
                ),
                float(described["threshold_probability"]),
                described["label"],
                {name: arrays[f"constant {i}"] for i, name in enumerate(described["constants"])},
                target_from_json(described.get("target", FAILURE.to_json())),
            ),
        )

    def _describe(self) -> dict[str, Any]:
        return {
            **({} if self.target == FAILURE else {"target": self.target.to_json()}),
            "label": self.label,
            "threshold_probability": self.threshold_probability,
            "network": {"kind": self.network.kind, "options": dict(self.network.options)},
            "layout": {"names": list(self.layout.names), "shapes": [list(shape) for shape in self.layout.shapes]},
            "constants": list(self.constants),
            "preparation": self.preparation.to_json(),
        }

    def _named_constants(self) -> dict[str, AnyArray]:
        return {f"constant {i}": tensor for i, tensor in enumerate(self.constants.values())}


def mean_gradients(network: nn.Module, rows: Float32Array, usual: Float32Array) -> Float64Array:
    """Return the mean gradient of each row's logit on the straight way from a usual row to it: (rows, features)."""
    start, ends = torch.from_numpy(usual), torch.from_numpy(rows)
    total = torch.zeros(ends.shape, dtype=torch.float64)
    for step in range(_STEPS):
        points = (start + (step + 0.5) / _STEPS * (ends - start)).requires_grad_()
        total += torch.autograd.grad(network(points).sum(), points)[0]
    return np.asarray((total / _STEPS).numpy())


def _require_plain(network: ModelSpec) -> None:
    """Refuse options that a JSON file cannot hold."""
    try:
        json.dumps(dict(network.options))
    except TypeError as error:
        raise ModelError(
            f"model options must be plain values, numbers, texts, lists, got {dict(network.options)}: {error}"
        ) from error


def _constants(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors that do not train: buffers, and parameters that are frozen."""
    frozen = {name: tensor for name, tensor in network.named_parameters() if not tensor.requires_grad}
    return {**frozen, **dict(network.named_buffers())}


def _load_constants(network: nn.Module, constants: Mapping[str, AnyArray]) -> None:
    """Copy tensors that do not train into a network that has just these, by name and shape."""
    present = _constants(network)
    shapes = {name: tuple(tensor.shape) for name, tensor in present.items()}
    given = {name: tensor.shape for name, tensor in constants.items()}
    if shapes != given:
        raise ModelError(f"tensors that do not train must be {shapes}, got {given}; build with TrainedModel.of")
    with torch.no_grad():
        for name, values in constants.items():
            present[name].copy_(torch.from_numpy(np.array(values)))
