"""Normalised averaging: a client that takes more steps has no more say than its weight gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.aggregation.contract import UPDATE, Card, Carry, Closing, LocalResult, LocalTraining, Weighting
from werkbund.aggregation.sums import HOW_CLIENTS_WEIGH, SumRule, Sums, begun, moved
from werkbund.core.arrays import Arrays, Float32Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.kinds import LARGEST, Field
from werkbund.core.methods import option
from werkbund.core.store import Store

ACCUMULATION = Field(
    "sums",
    "accumulation",
    "sum of the coefficients of its gradients in its update, in learning rates, times the client's weight",
    (),
    "f",
    on_request=True,
    least=0.0,
    most=LARGEST,
)


@dataclass(frozen=True)
class NovaHalf:
    """Divide each client's update by the sum of its gradients' coefficients, and send this sum along."""

    weighted: ClassVar[tuple[str, ...]] = (ACCUMULATION.name,)

    def before(self, sent: Arrays, clients: Int64Array, store: Store) -> Arrays:
        """Return nothing: the training is the usual one."""
        return {}

    def after(self, sent: Arrays, result: LocalResult, clients: Int64Array, store: Store) -> Arrays:
        """Return the update for each unit of the sum, and the sum; 0 for a client that took no step."""
        total = result.accumulation()
        each = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
        return {UPDATE: result.update * each[:, None].astype(np.float32), ACCUMULATION.name: total}


@dataclass(frozen=True)
class FedNova(SumRule):
    """Average the clients' updates for each step, and move the weights by as many steps as clients take on average.

    A client's update is d_i = -rate * sum_k a_ik g_k of its gradients g_k. With weights p_i that sum to 1:
    t <- sum_i p_i |a_i|, d <- t * sum_i p_i d_i / |a_i|, then as in federated averaging m <- momentum * m + d,
    weights <- weights + step * m.

    Parameters
    ----------
    weighting
        `examples`: a client counts by its number of training rows; `equal`: all clients alike; `factor`: by what is
        declared for it.
    step
        Server step size.
    momentum
        Server momentum, 0 <= momentum < 1.

    References
    ----------
    Wang et al., "Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization", NeurIPS 2020,
    equation 6. The paper leaves t free; here it is always the mean of the |a_i|, so that equal ones give federated
    averaging. The authors' code takes numbers of steps for it where there is a proximal term. |a_i| is the sum of the
    coefficients, which is the paper's norm as long as none is negative, as the paper assumes. They are those of the
    rule as clients follow it, in which a proximal term is part of what the momentum gathers; weight decay is part of
    the objective, and its pull of the gradient.
    """

    weighting: Weighting = option("examples", HOW_CLIENTS_WEIGH)
    step: float = option(1.0, "Size of the server's step.", above=0)
    momentum: float = option(0.9, "Momentum of the server on the normalised step.", at_least=0, below=1)

    name: ClassVar[str] = "fednova"
    folds: ClassVar[tuple[str, ...]] = (ACCUMULATION.name,)
    half: ClassVar[NovaHalf] = NovaHalf()
    card: ClassVar[Card] = Card(
        title="Normalised averaging (FedNova)",
        rule=(
            "Each update is divided by how far its client's steps would go along a gradient of 1, and the mean of "
            "these is multiplied by the mean of those lengths: d = (sum p |a|) * sum p d / |a|. Then as in federated "
            "averaging, with server step and momentum."
        ),
        source="Wang et al., NeurIPS 2020, equation 6",
        use_when=(
            "clients take different numbers of steps, as with epochs over tables of different size, and each shall "
            "count by its weight alone"
        ),
        avoid_when=(
            "clients all take equally many steps (training.steps), when it is federated averaging; or their rows "
            "differ much, since it does not cure the drift within a client's steps"
        ),
        notes=(
            "Clients must step by sgd, with or without momentum and proximal term: adam's steps are no sum of "
            "gradients.",
            "clip_norm and what is told of long updates are about updates for each step.",
            "Over a network a client is held to the steps that its training rows give.",
        ),
    )

    def check_training(self, training: LocalTraining) -> None:
        """Refuse steps that are no sum of gradients.

        Raises
        ------
        ConfigError
            If clients do not step by sgd.
        """
        if training.optimizer != "sgd":
            raise ConfigError(
                f"training.optimizer must be sgd where strategy.aggregation.name is {self.name!r}, got "
                f"{training.optimizer!r}, whose steps are no sum of gradients; choose sgd, or another aggregation"
            )

    def init(self, num_parameters: int) -> Carry:
        """Return a momentum of zero, or nothing where there is no momentum."""
        return begun(self.momentum, num_parameters)

    def finish(
        self, accumulator: Sums, weights: Float32Array, carry: Carry, closing: Closing = Closing()
    ) -> tuple[Float32Array, Carry]:
        """Return the moved weights, in the storage of the sums.

        Raises
        ------
        FederationError
            If the updates' total weight is zero: no data is not the same as no change.
        """
        step = accumulator.mean(total=closing.total)
        # Over the weights of those that answered, whatever the round's total: it is a mean of lengths.
        step *= np.float32(accumulator.mean(ACCUMULATION.name))
        return moved(weights, step, carry, self.momentum, self.step)
