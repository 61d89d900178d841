"""Gradients of the local objective, in two ways that agree to float tolerance.

`plain_gradient` differentiates one client's network as PyTorch users do; `batched_gradient` maps the same function
over a cohort's stacked weights in one computation (`torch.func.vmap`). The training loop takes either.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.functional import binary_cross_entropy_with_logits

from werkbund.core.weights import Layout

Gradient = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(weights (c, p), features (c, b, f), labels (c, b), present (c, b)) -> (gradients (c, p), summed losses (c,))."""


def plain_gradient(network: nn.Module, layout: Layout, positive_weight: float) -> Gradient:
    """Return the gradient by ordinary automatic differentiation, for one client at a time (c = 1)."""
    objective = _objective(network, layout, positive_weight)

    def gradient(weights: Tensor, features: Tensor, labels: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        taken = present[0] > 0
        leaf = weights[0].detach().requires_grad_()
        mean, total = objective(leaf, features[0][taken], labels[0][taken], present[0][taken])
        (slope,) = torch.autograd.grad(mean, leaf)
        return slope[None], total.detach()[None]

    return gradient


def batched_gradient(network: nn.Module, layout: Layout, positive_weight: float) -> Gradient:
    """Return the gradient of a whole cohort as one batched computation."""
    slope = grad_and_value(_objective(network, layout, positive_weight), has_aux=True)
    over_clients = vmap(slope)

    def gradient(weights: Tensor, features: Tensor, labels: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        gradients, (_, totals) = over_clients(weights, features, labels, present)
        return gradients, totals

    return gradient


def can_be_batched(network: nn.Module, layout: Layout, num_features: int) -> bool:
    """Say whether `torch.func.vmap` can map this network over clients: tried on a small batch.

    A network that draws random numbers in training (dropout) is left to the plain loop, where each client has a
    stream of its own.
    """
    if any(isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0 for part in network.modules()):
        return False
    weights = torch.zeros(2, layout.num_parameters)
    rows = torch.ones(2, 3, num_features)
    try:
        batched_gradient(network, layout, 1.0)(weights, rows, rows[..., 0], rows[..., 0])
    except (RuntimeError, NotImplementedError, ValueError, TypeError):
        return False
    return True


def _objective(
    network: nn.Module, layout: Layout, positive_weight: float
) -> Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the mean binary cross-entropy over the rows that are present, with the sum beside it."""
    factor = torch.tensor(positive_weight)
    sizes = list(layout.sizes)

    def objective(weights: Tensor, features: Tensor, labels: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        parts = zip(layout.names, torch.split(weights, sizes), layout.shapes, strict=True)
        tensors = {name: part.reshape(shape) for name, part, shape in parts}
        logits = functional_call(network, tensors, (features,)).reshape(labels.shape)
        losses = binary_cross_entropy_with_logits(logits, labels, reduction="none", pos_weight=factor)
        total = (losses * present).sum()
        return total / present.sum().clamp(min=1), total

    return objective
