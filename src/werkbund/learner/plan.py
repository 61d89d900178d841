"""How a client trains: one value that the one training loop reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from werkbund.core.defaults import BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY
from werkbund.core.errors import ConfigError

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
            ("positive_weight", self.positive_weight > 0, "must be > 0"),
            ("proximal", self.proximal >= 0, "must be >= 0"),
        ]
        for name, holds, rule in rules:
            value = getattr(self, name)
            if not holds or (isinstance(value, float) and not math.isfinite(value)):
                raise ConfigError(f"training.{name} {rule}, got {value!r}")
