"""Recognise networks that are a chain: linear layers with one activation between them.

For these the compiled kernels of `werkbund.learner.fused` do what the general path does, in a fraction of the time.
Every other network takes the general path; nothing but speed depends on the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from werkbund.core.errors import ModelError
from werkbund.learner.models import layout_of

ACTIVATIONS: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.SiLU: "silu", nn.GELU: "gelu"}


@dataclass(frozen=True)
class Chain:
    """Describe a chain of linear layers that ends in one logit.

    Its weights lie as in the network's layout: for each layer the matrix (out, in) and then the bias (out,).

    Parameters
    ----------
    widths
        Width of the input, of each hidden layer, and of the output: 1.
    activation
        `relu`, `tanh`, `silu` or `gelu` behind each hidden layer; without meaning if there is none.
    """

    widths: tuple[int, ...]
    activation: str = "relu"

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1 or self.widths[-1] != 1:
            raise ModelError(f"widths must be two or more numbers >= 1 and end in 1, got {self.widths}")
        if self.activation not in ACTIVATIONS.values():
            known = ", ".join(ACTIVATIONS.values())
            raise ModelError(f"activation must be one of {known}, got {self.activation!r}")

    @property
    def num_parameters(self) -> int:
        """Number of weights and biases of all layers."""
        return sum((below + 1) * above for below, above in pairwise(self.widths))


def chain_of(network: nn.Module) -> Chain | None:
    """Return the chain that this network is, or None if it is something else.

    Subclasses, hooks, layers without bias, frozen or shared tensors, dropout and other number formats than float32
    all make it something else.

    Examples
    --------
    >>> chain_of(nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 1)))
    Chain(widths=(8, 4, 1), activation='tanh')
    >>> chain_of(nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4), nn.Linear(4, 1))) is None
    True
    """
    parts = list(_parts(network))
    linear, between = parts[::2], parts[1::2]
    widths = _widths(linear)
    kinds = {ACTIVATIONS.get(type(part)) for part in between}
    if widths is None or len(linear) != len(between) + 1 or len(kinds) > 1 or None in kinds:
        return None
    if any(isinstance(part, nn.GELU) and part.approximate != "none" for part in between):
        return None
    if any(_is_hooked(module) for module in network.modules()):
        return None
    expected = [shape for below, above in pairwise(widths) for shape in ((above, below), (above,))]
    if list(layout_of(network).shapes) != expected:  # a frozen or shared tensor
        return None
    return Chain(widths, next(iter(kinds), None) or "relu")


def _parts(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers in order, those inside a sequence too, without those that do nothing."""
    if type(network) is nn.Sequential:
        for part in network:
            yield from _parts(part)
    elif type(network) is not nn.Identity and not (type(network) is nn.Dropout and network.p == 0):
        yield network


def _widths(linear: list[nn.Module]) -> tuple[int, ...] | None:
    """Return the widths of consecutive linear layers that end in one output, or None."""
    widths: list[int] = []
    for layer in linear:
        if type(layer) is not nn.Linear or (widths and widths[-1] != layer.in_features):
            return None
        if layer.weight.dtype != torch.float32 or layer.weight.device.type != "cpu":
            return None
        widths = [*(widths or [layer.in_features]), layer.out_features]
    return tuple(widths) if widths and widths[-1] == 1 else None


def _is_hooked(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    tensors = (module.get_parameter(name)._backward_hooks for name, _ in module.named_parameters(recurse=False))
    return any(hooks) or any(tensors)
