"""Networks that score one row of features: the shipped ones, and any `torch.nn.Module` by import path.

A network maps (rows, features) float32 to one logit a row. Its trainable tensors, in the order of
`named_parameters`, are the weights that travel.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from werkbund.core.arrays import Float32Array
from werkbund.core.errors import ModelError
from werkbund.core.weights import Layout

_ROWS_A_PASS = 65_536

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "silu": nn.SiLU}


@dataclass(frozen=True)
class ModelSpec:
    """Say which network to build.

    Parameters
    ----------
    kind
        A key of `NETWORKS`, or `package.module:Class` for a module of one's own.
    options
        Keyword arguments of the network beside `num_features`.
    """

    kind: str = "mlp"
    options: Mapping[str, Any] = field(default_factory=dict)


def logistic(num_features: int) -> nn.Module:
    """Build logistic regression: one linear layer."""
    return nn.Linear(num_features, 1)


def mlp(
    num_features: int,
    hidden: tuple[int, ...] | list[int] = (64, 32),
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Module:
    """Build a multilayer perceptron.

    Parameters
    ----------
    num_features
        Width of the input.
    hidden
        Width of each hidden layer.
    activation
        A key of `ACTIVATIONS`.
    dropout
        Share of hidden units left out in training, 0 <= dropout < 1.
    """
    _check_widths("model.hidden", list(hidden))
    between = _between(activation, dropout)
    layers: list[nn.Module] = []
    widths = [num_features, *hidden]
    for below, above in pairwise(widths):
        layers += [nn.Linear(below, above), *between()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 1))


class ResidualBlock(nn.Module):
    """Add a normalised two-layer branch to its input: x + W2 act(W1 norm(x))."""

    def __init__(self, width: int, branch: list[nn.Module]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.branch = nn.Sequential(nn.Linear(width, width), *branch, nn.Linear(width, width))

    def forward(self, rows: Tensor) -> Tensor:
        """Map (rows, width) to (rows, width)."""
        added: Tensor = rows + self.branch(self.norm(rows))
        return added


def residual_mlp(
    num_features: int, width: int = 64, depth: int = 2, activation: str = "relu", dropout: float = 0.0
) -> nn.Module:
    """Build a residual MLP for tables.

    Parameters
    ----------
    num_features
        Width of the input.
    width, depth
        Width of the trunk and number of residual blocks.
    activation, dropout
        As for `mlp`, inside the blocks.

    References
    ----------
    Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS 2021, section 3.2 (ResNet). We
    normalise by layer instead of by batch: batch statistics have no meaning over several plants.
    """
    _check_widths("model.width, model.depth", [width, depth])
    between = _between(activation, dropout)
    blocks = [ResidualBlock(width, between()) for _ in range(depth)]
    head = [nn.LayerNorm(width), ACTIVATIONS[activation](), nn.Linear(width, 1)]
    return nn.Sequential(nn.Linear(num_features, width), *blocks, *head)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "logistic": logistic,
    "mlp": mlp,
    "residual-mlp": residual_mlp,
}


def build_network(spec: ModelSpec, num_features: int, seed: int) -> nn.Module:
    """Build a network with random initial weights.

    Parameters
    ----------
    spec
        Which network.
    num_features
        Width of its input.
    seed
        Seed of the initial weights; PyTorch's own rule of the layer applies.

    Raises
    ------
    ModelError
        If the kind is unknown or cannot be imported, an option does not fit, or the network does not give one logit
        a row, or keeps running statistics, which cannot be averaged over clients with meaning.
    """
    factory = _factory(spec.kind)
    try:
        with torch_stream(seed):
            network = factory(num_features=num_features, **spec.options)
    except ModelError:
        raise
    except Exception as error:  # the constructor may be anybody's code
        raise ModelError(
            f"model.kind = {spec.kind!r} cannot be built: {error}; it takes {_signature(factory)}"
        ) from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"model.kind = {spec.kind!r} must build a torch.nn.Module, got {type(network).__name__}")
    _check_network(network, num_features, spec.kind)
    return network


def count_parameters(spec: ModelSpec, num_features: int) -> int:
    """Return how many parameters a network would have, without memory for any of them; errors as `build_network`."""
    try:
        with torch.device("meta"):
            network = _factory(spec.kind)(num_features=num_features, **spec.options)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ModelError(f"model.kind = {spec.kind!r} cannot be built: {error}") from error
    return sum(tensor.numel() for tensor in network.parameters())


def layout_of(network: nn.Module) -> Layout:
    """Return the layout of the network's trainable tensors."""
    tensors = _trainable(network)
    return Layout(tuple(tensors), tuple(tuple(tensor.shape) for tensor in tensors.values()))


def weights_of(network: nn.Module) -> Float32Array:
    """Return a copy of the network's trainable tensors as one vector: (parameters,)."""
    return layout_of(network).join({name: t.detach().numpy() for name, t in _trainable(network).items()})


def load_weights(network: nn.Module, weights: Float32Array) -> None:
    """Write a vector (parameters,) into the network.

    Raises
    ------
    ModelError
        If the length is another.
    """
    layout = layout_of(network)
    if weights.shape != (layout.num_parameters,):
        raise ModelError(f"weights must have {layout.num_parameters} parameters, got shape {weights.shape}")
    with torch.no_grad():
        for name, values in layout.split(weights).items():
            network.get_parameter(name).copy_(torch.tensor(values))


def logits_of(network: nn.Module, weights: Float32Array, features: Float32Array) -> Float32Array:
    """Score rows.

    Parameters
    ----------
    network
        Its own weights are overwritten by `weights`.
    weights
        (parameters,)
    features
        (rows, features), scaled.

    Returns
    -------
    logits
        (rows,)
    """
    load_weights(network, weights)
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            # Copied, since a part of a larger table may lie so in memory that its sums are rounded otherwise.
            parts = [
                network(torch.from_numpy(features[first : first + _ROWS_A_PASS]).clone()).reshape(-1)
                for first in range(0, len(features), _ROWS_A_PASS)
            ]
    finally:
        network.train(training)
    return torch.cat(parts).numpy() if parts else np.empty(0, np.float32)


@contextmanager
def torch_stream(seed: int) -> Iterator[None]:
    """Let PyTorch draw from a stream of this seed within the block; its global generator is afterwards as before.

    Layers draw initial weights and dropout masks from the global generator and take no other. Nothing else of ours
    touches it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _trainable(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: tensor for name, tensor in network.named_parameters() if tensor.requires_grad}


def _between(activation: str, dropout: float) -> Callable[[], list[nn.Module]]:
    if activation not in ACTIVATIONS:
        raise ModelError(f"model.activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    if not 0 <= dropout < 1:
        raise ModelError(f"model.dropout must be in [0, 1), got {dropout}")
    return lambda: [ACTIVATIONS[activation](), *([nn.Dropout(dropout)] if dropout else [])]


def _check_widths(argument: str, widths: list[int]) -> None:
    if any(not isinstance(width, int) or width < 1 for width in widths):
        raise ModelError(f"{argument} must be whole numbers >= 1, got {widths}")


def _factory(kind: str) -> Callable[..., nn.Module]:
    if kind in NETWORKS:
        return NETWORKS[kind]
    module_name, colon, attribute = kind.partition(":")
    if not colon:
        known = ", ".join(NETWORKS)
        raise ModelError(f"model.kind must be one of {known} or 'package.module:Class', got {kind!r}")
    try:
        factory: Callable[..., nn.Module] = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # importing runs the module, which may be anybody's code
        raise ModelError(
            f"model.kind = {kind!r} does not import: {error}; give 'package.module:Class' of an installed module, "
            "or put its folder on PYTHONPATH"
        ) from error
    return factory


def _signature(factory: Callable[..., nn.Module]) -> str:
    try:
        return f"{getattr(factory, '__name__', factory)}{inspect.signature(factory)}"
    except (TypeError, ValueError):
        return "num_features and the options of the model section"


def _check_network(network: nn.Module, num_features: int, kind: str) -> None:
    if not _trainable(network):
        raise ModelError(f"model.kind = {kind!r} has no trainable tensor; nothing could be learnt")
    before = {name: tensor.clone() for name, tensor in network.named_buffers()}
    trial = torch.linspace(-1, 1, 3 * num_features).reshape(3, num_features)
    try:
        with torch_stream(0), torch.no_grad():
            logits = network.train()(trial)
    except Exception as error:  # the network may be anybody's code
        raise ModelError(
            f"model.kind = {kind!r} fails on a batch of 3 rows of {num_features} features: {error}"
        ) from error
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if shape not in ((3,), (3, 1)):
        raise ModelError(f"model.kind = {kind!r} must map (rows, features) to (rows,) or (rows, 1), got {shape}")
    moved = [name for name, tensor in network.named_buffers() if not torch.equal(tensor, before[name])]
    if moved:
        raise ModelError(
            f"model.kind = {kind!r} keeps running statistics ({', '.join(moved)}), which differ from client to client; "
            "use LayerNorm or GroupNorm instead of BatchNorm"
        )
    _check_rows_apart(network, trial, kind)


def _check_rows_apart(network: nn.Module, trial: Tensor, kind: str) -> None:
    """Refuse a network whose score of a row depends on the other rows of the batch, or that needs more than one."""
    try:
        with torch_stream(0), torch.no_grad():
            together, alone = network.eval()(trial).reshape(-1), network(trial[:1]).reshape(-1)
    except Exception as error:  # the network may be anybody's code
        raise ModelError(
            f"model.kind = {kind!r} fails in evaluation or on a batch of one row: {error}; "
            "use LayerNorm or GroupNorm instead of BatchNorm"
        ) from error
    finally:
        network.train()
    if not torch.allclose(together[:1], alone, rtol=1e-3, atol=1e-5, equal_nan=True):
        raise ModelError(
            f"model.kind = {kind!r} must score each row by itself, but the other rows of a batch change a row's score; "
            "use LayerNorm or GroupNorm instead of BatchNorm"
        )
