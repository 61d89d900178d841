"""How a client trains: one value that the one training loop reads, and the optimisers that it names.

Optimisers are pure functions over stacked weights: (clients, parameters) in, (clients, parameters) out. PyTorch's own
hold one model each; these hold a cohort in one tensor and give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.defaults import BATCH_SIZE, LEARNING_RATE, MOST_POSITIVE_WEIGHT, WEIGHT_DECAY
from werkbund.core.errors import ConfigError
from werkbund.core.target import Loss

Optimizer = Literal["sgd", "adam", "adamw"]


@dataclass(frozen=True)
class TrainingPlan:
    """Describe one client's local training.

    Parameters
    ----------
    optimizer
        `sgd` (with `momentum`), `adam` (weight decay as an L2 term) or `adamw` (decoupled weight decay). Its state
        begins anew in each round.
    learning_rate, momentum, weight_decay
        The optimiser's own numbers.
    epochs
        Passes over the client's rows, each in a fresh order; the last batch of a pass may be smaller.
    steps
        If given, the number of batches instead of `epochs`: clients of any size then take equally many steps.
    batch_size
        Rows a step.
    clip_norm
        Upper bound of the norm of a step's mean gradient, or None.
    positive_weight
        Factor of the loss of positive rows.
    loss
        What training follows: `logistic`, the log loss of labels, or `squared`, half the squared error of risks.
    proximal
        mu of FedProx: adds mu/2 ||w - w_round||^2 to the objective (Li et al., MLSys 2020, equation 2). 0 is FedAvg.
    """

    optimizer: Optimizer = "sgd"
    learning_rate: float = LEARNING_RATE
    momentum: float = 0.0
    weight_decay: float = WEIGHT_DECAY
    epochs: int = 1
    steps: int | None = None
    batch_size: int = BATCH_SIZE
    clip_norm: float | None = None
    positive_weight: float = 1.0
    proximal: float = 0.0
    loss: Loss = "logistic"

    def __post_init__(self) -> None:
        rules = [
            ("optimizer", self.optimizer in ("sgd", "adam", "adamw"), "must be sgd, adam or adamw"),
            ("learning_rate", self.learning_rate > 0, "must be > 0"),
            ("momentum", 0 <= self.momentum < 1, "must be in [0, 1)"),
            ("weight_decay", self.weight_decay >= 0, "must be >= 0"),
            ("epochs", self.epochs >= 1, "must be >= 1"),
            ("steps", self.steps is None or self.steps >= 1, "must be >= 1 or left out"),
            ("batch_size", self.batch_size >= 1, "must be >= 1"),
            ("clip_norm", self.clip_norm is None or self.clip_norm > 0, "must be > 0 or left out"),
            (
                "positive_weight",
                1 / MOST_POSITIVE_WEIGHT <= self.positive_weight <= MOST_POSITIVE_WEIGHT,
                f"must be in [{1 / MOST_POSITIVE_WEIGHT:g}, {MOST_POSITIVE_WEIGHT:g}]",
            ),
            ("proximal", self.proximal >= 0, "must be >= 0"),
        ]
        for name, holds, rule in rules:
            value = getattr(self, name)
            if not holds or (isinstance(value, float) and not math.isfinite(value)):
                raise ConfigError(f"training.{name} {rule}, got {value!r}")


@dataclass(frozen=True)
class OptimizerState:
    """Hold the moments, each (clients, parameters), and the number of steps that each client took: (clients, 1)."""

    first: Tensor
    second: Tensor
    steps: Tensor


Step = Callable[[Tensor, Tensor, OptimizerState], tuple[Tensor, OptimizerState]]
"""(weights, gradients, state) -> (weights, state); shapes (clients, parameters)."""


def start_state(weights: Tensor, plan: TrainingPlan) -> OptimizerState:
    """Return the state before the first step; moments that the optimiser does not use are empty."""
    none = weights.new_zeros(len(weights), 0)
    first = torch.zeros_like(weights) if plan.optimizer != "sgd" or plan.momentum else none
    second = torch.zeros_like(weights) if plan.optimizer != "sgd" else none
    return OptimizerState(first, second, weights.new_zeros(len(weights), 1))


def optimizer_step(plan: TrainingPlan) -> Step:
    """Return the step function of the plan's optimiser."""
    return {"sgd": _sgd, "adam": _adam, "adamw": _adamw}[plan.optimizer](plan)


def _sgd(plan: TrainingPlan) -> Step:
    """Build SGD with heavy-ball momentum and an L2 term, as `torch.optim.SGD` defines them."""

    def step(weights: Tensor, gradients: Tensor, state: OptimizerState) -> tuple[Tensor, OptimizerState]:
        if plan.weight_decay:
            gradients = gradients + plan.weight_decay * weights
        if not plan.momentum:
            return torch.sub(weights, gradients, alpha=plan.learning_rate), state
        # The first step takes the gradient whole, since the buffer starts at zero.
        first = plan.momentum * state.first + gradients
        return torch.sub(weights, first, alpha=plan.learning_rate), OptimizerState(first, state.second, state.steps + 1)

    return step


def _adam(plan: TrainingPlan) -> Step:
    """Build Adam (Kingma and Ba, ICLR 2015, algorithm 1) with an L2 term in the gradient."""
    core = _adam_core(plan)

    def step(weights: Tensor, gradients: Tensor, state: OptimizerState) -> tuple[Tensor, OptimizerState]:
        return core(weights, gradients + plan.weight_decay * weights, state)

    return step


def _adamw(plan: TrainingPlan) -> Step:
    """Build AdamW: decoupled weight decay (Loshchilov and Hutter, ICLR 2019, algorithm 2)."""
    core = _adam_core(plan)

    def step(weights: Tensor, gradients: Tensor, state: OptimizerState) -> tuple[Tensor, OptimizerState]:
        return core(weights * (1 - plan.learning_rate * plan.weight_decay), gradients, state)

    return step


def _adam_core(plan: TrainingPlan, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Step:
    def step(weights: Tensor, gradients: Tensor, state: OptimizerState) -> tuple[Tensor, OptimizerState]:
        steps = state.steps + 1
        first = beta1 * state.first + (1 - beta1) * gradients
        second = beta2 * state.second + (1 - beta2) * gradients.square()
        # In double: at the first steps 1 - beta2**steps is so small that single precision keeps four digits of it.
        bias1, bias2 = (1 - beta ** steps.double() for beta in (beta1, beta2))
        corrected = first / bias1.to(first.dtype)
        scale = (second / bias2.to(second.dtype)).sqrt() + epsilon
        return weights - plan.learning_rate * corrected / scale, OptimizerState(first, second, steps)

    return step


def accumulations(plan: TrainingPlan, steps: Int64Array) -> Float64Array:
    """Return the sum of the coefficients by which the gradients of all steps make up an update, in learning rates.

    An update is -learning rate * sum_k a_k g_k; this is sum_k a_k, for clients that take so many steps: (clients,).
    The rule is run on one number whose gradient is always 1. Weight decay is taken for a part of the gradient.

    Parameters
    ----------
    plan
        With `sgd`; a step of another optimiser is no sum of gradients.
    steps
        (clients,)

    Raises
    ------
    ConfigError
        If the plan's optimiser is another.

    Examples
    --------
    >>> accumulations(TrainingPlan(momentum=0.9), np.array([0, 1, 2])).round(6).tolist()
    [0.0, 1.0, 2.9]
    """
    if plan.optimizer != "sgd":
        raise ConfigError(f"training.optimizer must be sgd for steps that are sums of gradients, got {plan.optimizer}")
    step, way = optimizer_step(replace(plan, weight_decay=0.0)), torch.zeros(1, 1, dtype=torch.float64)
    state, ways = start_state(way, plan), [0.0]
    for _ in range(int(steps.max(initial=0))):
        way, state = step(way, 1.0 + plan.proximal * way, state)
        ways.append(float(way))
    return -np.array(ways)[steps] / plan.learning_rate
