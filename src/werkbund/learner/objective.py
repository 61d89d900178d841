"""What a client's steps follow: gradients of its loss, terms added to them, and the rule that makes one slope of them.

The training loop is written once and varied by a `LocalObjective`. Gradients come in two ways that agree to float
tolerance: `plain_gradient` differentiates one client's network as PyTorch users do; `batched_gradient` maps the same
function over a cohort's stacked weights in one computation (`torch.func.vmap`). Shapes are written with c clients,
b rows of a batch, f features and p parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value, vmap
from torch.nn.functional import binary_cross_entropy_with_logits

from werkbund.core.arrays import BoolArray, Int64Array, UInt64Array
from werkbund.core.errors import ConfigError
from werkbund.core.rng import derived_keys, secret_generator, stream
from werkbund.core.target import Loss
from werkbund.core.weights import Layout
from werkbund.learner.batches import Unit, UnitDraws

Sent = Mapping[str, Tensor]
"""Arrays that came with the weights, by name: (p,) for all clients alike, or (c, p)."""

Term = Callable[[Tensor, Tensor, Sent], Tensor]
"""(weights (c, p), weights at the start (c, p), sent) -> slope (c, p) that is added to the gradient of the loss."""


@dataclass(frozen=True)
class Steering:
    """Say how an aggregation method steers clients' steps, beside what they follow anyway.

    Parameters
    ----------
    correction
        Added to the mean gradient of each step, before it is clipped: (p,) for all alike, or (c, p); None for nothing.
    pull
        (c, 1), how strongly each step pulls, beside the plan's proximal term; None for not at all.
    home
        Weights that both pull to: (p,) or (c, p); None: those at the start.
    """

    correction: Tensor | None = None
    pull: Tensor | None = None
    home: Tensor | None = None

    def take(self, clients: Int64Array) -> Steering:
        """Return what steers some of the clients."""
        rows = torch.from_numpy(clients)
        taken = [a if a is None or a.ndim == 1 else a[rows] for a in (self.correction, self.pull, self.home)]
        return Steering(*taken)


@dataclass(frozen=True)
class LocalStep:
    """Say what a gradient rule may know of a step beside its gradients.

    Parameters
    ----------
    number
        Of the step in this round, from 0, the same for each client.
    present
        (c, b), 1 where a row is, 0 where the batch of a client is smaller than others'.
    sent
        What came with the weights.
    keys
        (c,), key of each client's random stream in this round.
    rows
        (c,), training rows of each client.
    units
        (c, b), which unit of the step a row belongs to, from 0; empty where each row is one.
    expected
        (c, 1), how many units a step holds on average, where they enter by coins; empty where they do not.
    """

    number: int
    present: Tensor
    sent: Sent
    keys: UInt64Array
    rows: Int64Array = field(default_factory=lambda: np.empty(0, np.int64))
    units: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    expected: Tensor = field(default_factory=lambda: torch.empty(0))

    def normal(self, size: int) -> Tensor:
        """Draw standard normal numbers, (c, size), float32, from a stream of each client's own.

        They follow from the client's key and the step alone, whoever else is in the group.
        """
        own = derived_keys(self.keys, "gradient noise", self.number).tolist()
        drawn = [stream(key).standard_normal(size, dtype=np.float32) for key in own]
        return torch.from_numpy(np.stack(drawn))


class GradientRule(Protocol):
    """Make one slope a client out of the gradients of a step."""

    @property
    def per_example(self) -> bool:
        """Whether the rule gets the gradient of each row, (c, b, p), or the mean over a client's rows, (c, p)."""

    def slope(self, gradients: Tensor, step: LocalStep) -> Tensor:
        """Return the slopes (c, p). Gradients of rows that are not present, and of layers that rest, are zero."""


@dataclass(frozen=True)
class MeanGradient:
    """Follow the mean gradient of the batch.

    Parameters
    ----------
    clip_norm
        Upper bound of its norm, or None.
    """

    clip_norm: float | None = None

    @property
    def per_example(self) -> bool:
        """The mean is enough."""
        return False

    def slope(self, gradients: Tensor, step: LocalStep) -> Tensor:
        """Return the gradients, shortened where they are too long."""
        return clipped(gradients, self.clip_norm)


@dataclass(frozen=True)
class NoisedUnits:
    """Clip the gradient of each unit, and add Gaussian noise to their sum (DP-SGD).

    A unit is a row, or all rows of a machine, whose gradients are added up before they are clipped. The sum is divided
    by the number of units that a step holds on average, which tells nothing of who was in it. Where rows enter steps in
    another way than by coins, it is divided by the rows that are present, and no promise of privacy follows.

    Parameters
    ----------
    bound
        Upper bound of the norm of a unit's gradient, over all parameters together.
    noise
        Given the training rows of a client, the standard deviation of the noise in multiples of the bound; 0 is
        clipping alone.
    seeded
        Whether noise follows from the clients' keys, which the server knows: for tests and simulations alone. Else it
        comes from the entropy of the operating system.

    References
    ----------
    Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, algorithm 1, with units drawn one by one and a
    fixed denominator.
    """

    bound: float
    noise: Callable[[int], float]
    seeded: bool = False

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise ConfigError(f"privacy.clip must be > 0, got {self.bound}")

    @property
    def per_example(self) -> bool:
        """Each unit's gradient is clipped by itself."""
        return True

    def slope(self, gradients: Tensor, step: LocalStep) -> Tensor:
        """Return the sums of clipped and noised gradients over the expected number of units."""
        if step.units.numel():
            most = int(step.units.max()) + 1
            place = step.units[..., None].expand_as(gradients)
            gradients = gradients.new_zeros(len(gradients), most, gradients.shape[-1]).scatter_add(1, place, gradients)
        summed = clipped(gradients, self.bound).sum(dim=1)
        noise = torch.tensor([[self.noise(rows)] for rows in step.rows.tolist()])
        if noise.any():
            summed = summed + noise * self.bound * self._drawn(step, summed.shape[1])
        return summed / (step.expected if step.expected.numel() else step.present.sum(1, keepdim=True).clamp(min=1))

    def _drawn(self, step: LocalStep, size: int) -> Tensor:
        """Return standard normal numbers, (c, size)."""
        if self.seeded:
            return step.normal(size)
        drawn = [secret_generator().standard_normal(size, dtype=np.float32) for _ in step.keys]
        return torch.from_numpy(np.stack(drawn))


@dataclass(frozen=True)
class Proximal:
    """Pull towards the weights at the start: the slope of mu/2 ||w - start||^2 (FedProx).

    Parameters
    ----------
    mu
        Strength of the pull.

    References
    ----------
    Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, equation 2.
    """

    mu: float

    def __call__(self, weights: Tensor, start: Tensor, sent: Sent) -> Tensor:
        """Return the slope, (c, p)."""
        return self.mu * (weights - start)


@dataclass(frozen=True)
class UnitSum:
    """Sum the gradients of all units at the weights that come, in place of training: one step of all clients together.

    Parameters
    ----------
    unit
        A row; or a machine, all rows of it together.
    bound
        Upper bound of the norm of a unit's gradient.
    """

    unit: Unit
    bound: float

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise ConfigError(f"privacy.clip must be > 0, got {self.bound}")


@dataclass(frozen=True)
class LocalObjective:
    """Say what local training follows beside the loss, how gradients become a step, and which layers take part.

    The usual one is what a `TrainingPlan` says by itself: the mean gradient with its `clip_norm`, and its proximal
    term.

    Parameters
    ----------
    terms
        Slopes that are added, behind the plan's proximal term.
    rule
        Makes a slope of the gradients; None is the mean with the plan's `clip_norm`, which no other rule reads.
    trains
        Names of layers or tensors, or patterns such as `norm*`, that train; the others keep their values.
    draws
        How units enter steps; None is the plan's shuffled passes over the rows.
    pooled
        What clients sum in place of training; None: they train.
    """

    terms: tuple[Term, ...] = ()
    rule: GradientRule | None = None
    trains: tuple[str, ...] = ("*",)
    draws: UnitDraws | None = None
    pooled: UnitSum | None = None

    @property
    def is_usual(self) -> bool:
        """Whether training does what the plan says and nothing else, in all layers."""
        return not self.terms and self.rule is None and self.trains == ("*",) and not self.has_units

    @property
    def has_units(self) -> bool:
        """Whether each unit's part is bounded, so that nothing else may be told of it."""
        return self.draws is not None or self.pooled is not None

    def trained(self, layout: Layout) -> BoolArray:
        """Return which parameters train: (parameters,)."""
        return layout.mask(self.trains)


def clipped(slopes: Tensor, bound: float | None) -> Tensor:
    """Shorten what is longer than a bound, by its norm over the last axis: (..., p)."""
    if bound is None:
        return slopes
    norms = slopes.norm(dim=-1, keepdim=True)
    shortened: Tensor = slopes * (bound / norms.clamp(min=1e-12)).clamp(max=1.0)
    return shortened


Gradient = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(weights (c, p), features (c, b, f), labels (c, b), present (c, b)) -> (gradients, summed losses (c,)).

Gradients are those of the mean over the rows that are present, (c, p), or those of each row, (c, b, p).
"""


def plain_gradient(network: nn.Module, layout: Layout, positive_weight: float, loss: Loss = "logistic") -> Gradient:
    """Return the gradient by ordinary automatic differentiation, for one client at a time (c = 1)."""
    objective = _objective(network, layout, positive_weight, loss)

    def gradient(weights: Tensor, features: Tensor, labels: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        taken = present[0] > 0
        leaf = weights[0].detach().requires_grad_()
        mean, total = objective(leaf, features[0][taken], labels[0][taken], present[0][taken])
        (slope,) = torch.autograd.grad(mean, leaf)
        return slope[None], total.detach()[None]

    return gradient


def batched_gradient(network: nn.Module, layout: Layout, positive_weight: float, loss: Loss = "logistic") -> Gradient:
    """Return the gradient of a whole cohort as one batched computation."""
    slope = grad_and_value(_objective(network, layout, positive_weight, loss), has_aux=True)
    over_clients = vmap(slope)

    def gradient(weights: Tensor, features: Tensor, labels: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        gradients, (_, totals) = over_clients(weights, features, labels, present)
        return gradients, totals

    return gradient


def plain_row_gradient(network: nn.Module, layout: Layout, positive_weight: float, loss: Loss = "logistic") -> Gradient:
    """Return the gradient of each row by ordinary automatic differentiation, for one client at a time (c = 1)."""
    whole = plain_gradient(network, layout, positive_weight, loss)

    def gradient(weights: Tensor, features: Tensor, labels: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        slopes, total = torch.zeros(1, labels.shape[1], weights.shape[1]), torch.zeros(1)
        for row in torch.nonzero(present[0])[:, 0].tolist():
            own = slice(row, row + 1)
            slope, lost = whole(weights, features[:, own], labels[:, own], present[:, own])
            slopes[0, row], total = slope[0], total + lost
        return slopes, total

    return gradient


def batched_row_gradient(
    network: nn.Module, layout: Layout, positive_weight: float, loss: Loss = "logistic"
) -> Gradient:
    """Return the gradient of each row of a whole cohort as one batched computation."""
    objective = _objective(network, layout, positive_weight, loss)

    def of_row(weights: Tensor, features: Tensor, label: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        _, total = objective(weights, features[None], label[None], present[None])
        return total, total

    over_clients = vmap(vmap(grad(of_row, has_aux=True), in_dims=(None, 0, 0, 0)))

    def gradient(weights: Tensor, features: Tensor, labels: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        slopes, losses = over_clients(weights, features, labels, present)
        return slopes, losses.sum(dim=1)

    return gradient


def refuse_mixing(network: nn.Module) -> None:
    """Refuse a network in which one row's score follows from others in its batch: no row's part could be bounded.

    Raises
    ------
    ConfigError
        If it is one.
    """
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in network.modules()):
        raise ConfigError(
            "privacy.unit needs a network whose rows do not mix, got one with batch normalisation; take layer or group "
            "normalisation"
        )


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
    network: nn.Module, layout: Layout, positive_weight: float, loss: Loss
) -> Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the mean loss over the rows that are present, with the sum beside it."""
    factor, sizes = torch.tensor(positive_weight), list(layout.sizes)

    def losses_of(scores: Tensor, followed: Tensor) -> Tensor:
        if loss == "logistic":
            return binary_cross_entropy_with_logits(scores, followed, reduction="none", pos_weight=factor)
        return torch.where(followed >= 0, factor, 1.0) * (scores - followed).square() / 2

    def objective(weights: Tensor, features: Tensor, labels: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        parts = zip(layout.names, torch.split(weights, sizes), layout.shapes, strict=True)
        tensors = {name: part.reshape(shape) for name, part, shape in parts}
        scores = functional_call(network, tensors, (features,)).reshape(labels.shape)
        total = (losses_of(scores, labels) * present).sum()
        return total / present.sum().clamp(min=1), total

    return objective
