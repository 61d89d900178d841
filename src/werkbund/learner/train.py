"""The one training loop, over one client or a whole cohort at once.

A cohort's weights are one (clients, parameters) tensor. With the batched gradient all clients take their step
together; with the plain gradient the same loop runs over clients one by one. Clients of unequal size stop at their own
last step. For chains of linear layers the same loop exists compiled, in `werkbund.learner.fused`.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from werkbund.core.arrays import BoolArray, Float32Array, Float64Array, Int64Array, UInt64Array
from werkbund.core.clients import ClientTable
from werkbund.learner.batches import num_steps, schedule
from werkbund.learner.chains import chain_of
from werkbund.learner.fused import fused_available, logits_chain, train_chain
from werkbund.learner.gradients import Gradient, batched_gradient, can_be_batched, plain_gradient
from werkbund.learner.models import layout_of
from werkbund.learner.optimizers import optimizer_step, start_state
from werkbund.learner.plan import TrainingPlan
from werkbund.learner.randomness import torch_stream
from werkbund.learner.score import logits_of

Way = Literal["compiled", "batched", "plain"]

_ENTRIES_A_GROUP = 4_000_000  # gathered feature values that one batched group may hold


@dataclass(frozen=True)
class TrainedCohort:
    """Hold what local training gives.

    Parameters
    ----------
    weights
        (clients, parameters), each client's weights after its last step, or its weighted update.
    loss
        (clients,), mean loss over all rows drawn, before the step that used them; NaN for a client without rows.
    """

    weights: Float32Array
    loss: Float64Array


class CohortTrainer:
    """Train clients of one table from given weights.

    Parameters
    ----------
    network
        Says how a row is scored; its own weights are not used.
    plan
        How each client trains.
    num_features
        Width of its input.
    batched
        Train clients together where the network allows it; False is the plain loop, one client after the other.
    compiled
        Use the compiled loop where the network is a chain and `batched` is set.

    Attributes
    ----------
    way
        `compiled`, `batched` or `plain`: how this network is trained.
    """

    def __init__(
        self,
        network: nn.Module,
        plan: TrainingPlan,
        num_features: int,
        batched: bool = True,
        compiled: bool = True,
    ) -> None:
        network = deepcopy(network)  # training in place must not change the weights that another begins with
        self.plan = plan
        self.layout = layout_of(network)
        self._network = network.train()
        self._chain = chain_of(network) if batched and compiled and fused_available() else None
        together = batched and (self._chain is not None or can_be_batched(network, self.layout, num_features))
        self.way: Way = "compiled" if self._chain else "batched" if together else "plain"
        make = batched_gradient if together else plain_gradient
        self._gradient = make(network, self.layout, plan.positive_weight)

    def train(
        self,
        table: ClientTable,
        clients: Int64Array,
        start: Float32Array,
        keys: UInt64Array,
        rate: float = 1.0,
        weight: Float64Array | None = None,
    ) -> TrainedCohort:
        """Train each of these clients.

        Parameters
        ----------
        table
            The training rows of all clients.
        clients
            (cohort,), which of them train.
        start
            Weights to start from: (parameters,) for all alike, or (cohort, parameters).
        keys
            (cohort,), key of each client's random stream.
        rate
            Factor of the plan's learning rate in this round.
        weight
            (cohort,); if given, updates come back in place of weights: (weights - start) times this.
        """
        plan = replace(self.plan, learning_rate=self.plan.learning_rate * rate)
        if self._chain is not None:
            return TrainedCohort(*train_chain(self._chain, plan, table, clients, start, keys, weight))
        sizes = table.sizes[clients]
        begin = np.broadcast_to(start, (len(clients), self.layout.num_parameters))
        weights = np.array(begin, dtype=np.float32)
        loss = np.full(len(clients), np.nan)
        for group in self._groups(sizes, table.num_features):
            batch = _Batch.gather(table, clients[group], keys[group], plan)
            with torch_stream(int(keys[group[0]] >> np.uint64(1))):
                trained, totals = _descend(torch.from_numpy(weights[group]), batch, self._gradient, plan)
            weights[group] = trained.numpy()
            loss[group] = totals.numpy() / np.maximum(batch.num_drawn, 1)
        if weight is not None:
            weights -= start
            weights *= weight[:, None].astype(np.float32)
        return TrainedCohort(weights, loss)

    def score(self, weights: Float32Array, features: Float32Array) -> Float32Array:
        """Return the logits (rows,) of features (rows, features) under weights (parameters,)."""
        if self._chain is not None:
            return logits_chain(self._chain, weights, features)
        return logits_of(self._network, weights, features)

    def _groups(self, sizes: Int64Array, num_features: int) -> Iterator[Int64Array]:
        """Group clients of like number of steps, so that padding stays small and a group fits in memory."""
        steps = num_steps(sizes, self.plan)
        order = np.argsort(steps, kind="stable")
        order = order[steps[order] > 0]
        first = 0
        while first < len(order):
            last = first + 1
            shortest = steps[order[first]]
            while self.way == "batched" and last < len(order) and steps[order[last]] <= 2 * shortest:
                drawn = (last + 1 - first) * int(steps[order[last]]) * self.plan.batch_size
                if drawn * num_features > _ENTRIES_A_GROUP:
                    break
                last += 1
            yield np.sort(order[first:last])
            first = last


@dataclass(frozen=True)
class _Batch:
    """Hold a group's rows in the order of its steps: features (steps, clients, batch, features) and so on."""

    features: Tensor
    labels: Tensor
    present: Tensor
    active: BoolArray
    num_drawn: Int64Array

    @staticmethod
    def gather(table: ClientTable, clients: Int64Array, keys: UInt64Array, plan: TrainingPlan) -> _Batch:
        drawn = schedule(table.sizes[clients], keys, plan)
        rows = (drawn.rows + table.offsets[clients][:, None, None]).transpose(1, 0, 2)
        present = drawn.present.transpose(1, 0, 2)
        # A place without a row must stay inside the table: its weight in the loss is zero.
        rows = np.where(present, rows, 0)
        return _Batch(
            torch.from_numpy(table.features[rows]),
            torch.from_numpy(table.labels[rows]),
            torch.from_numpy(present.astype(np.float32)),
            np.any(present, axis=2),
            present.sum(axis=(0, 2)),
        )


def _descend(start: Tensor, batch: _Batch, gradient: Gradient, plan: TrainingPlan) -> tuple[Tensor, Tensor]:
    """Take all steps of a group; return weights (clients, parameters) and summed losses (clients,)."""
    step, state, weights = optimizer_step(plan), start_state(start, plan), start
    totals = torch.zeros(len(start), dtype=torch.float64)
    for i in range(len(batch.features)):
        active = batch.active[i]
        slopes, losses = gradient(weights, batch.features[i], batch.labels[i], batch.present[i])
        slopes = _clipped(slopes, plan.clip_norm)
        if plan.proximal:
            slopes = slopes + plan.proximal * (weights - start)
        moved, state = step(weights, slopes, state)
        # A client that has taken its last step keeps its weights; its optimiser's state is not read again.
        weights = moved if active.all() else torch.where(torch.from_numpy(active)[:, None], moved, weights)
        totals += losses
    return weights, totals


def _clipped(slopes: Tensor, bound: float | None) -> Tensor:
    if bound is None:
        return slopes
    norms = slopes.norm(dim=1, keepdim=True)
    clipped: Tensor = slopes * (bound / norms.clamp(min=1e-12)).clamp(max=1.0)
    return clipped
