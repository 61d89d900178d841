"""The one training loop, over one client or a whole cohort at once.

A cohort's weights are one (clients, parameters) tensor. With the batched gradient all clients take their step
together; with the plain gradient the same loop runs over clients one by one. Clients of unequal size stop at their own
last step. What else may differ is a `LocalObjective`. For chains of linear layers the usual loop exists compiled, in
`werkbund.learner.fused`.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from werkbund.core.arrays import AnyArray, Arrays, Float32Array, Float64Array, Int64Array, UInt64Array
from werkbund.core.clients import ClientTable
from werkbund.core.errors import ConfigError, ModelError
from werkbund.core.weights import Layout
from werkbund.learner.batches import GatheredRows, num_steps
from werkbund.learner.chains import chain_of
from werkbund.learner.fused import fused_available, logits_chain, train_chain
from werkbund.learner.models import layout_of, logits_of, torch_stream
from werkbund.learner.objective import (
    Gradient,
    GradientRule,
    LocalObjective,
    LocalStep,
    MeanGradient,
    Proximal,
    Sent,
    Steering,
    Term,
    batched_gradient,
    batched_row_gradient,
    can_be_batched,
    plain_gradient,
    plain_row_gradient,
    refuse_mixing,
)
from werkbund.learner.plan import TrainingPlan, optimizer_step, start_state

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
    steps
        (clients,), how many steps each took.
    learning_rate
        Of these steps.
    """

    weights: Float32Array
    loss: Float64Array
    steps: Int64Array
    learning_rate: float


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
        Use the compiled loop where the network is a chain, `batched` is set, and the objective is the usual one.
    objective
        What clients follow beside their loss, and which layers train.

    Attributes
    ----------
    way
        `compiled`, `batched` or `plain`: how this network is trained.

    Raises
    ------
    ConfigError
        If the plan clips the mean gradient and the objective has a rule of its own, or units meet batch normalisation.
    ModelError
        If the objective names a layer that is not there.
    """

    def __init__(
        self,
        network: nn.Module,
        plan: TrainingPlan,
        num_features: int,
        batched: bool = True,
        compiled: bool = True,
        objective: LocalObjective = LocalObjective(),
    ) -> None:
        if plan.clip_norm is not None and objective.rule is not None:
            raise ConfigError(f"training.clip_norm bounds the mean gradient; {objective.rule} has a bound of its own")
        if objective.has_units:
            refuse_mixing(network)
        network = deepcopy(network)  # training in place must not change the weights that another begins with
        self._how = (num_features, batched, compiled)
        self.plan, self.objective = plan, objective
        self.layout = layout_of(network)
        self._network = network.train()
        self._chain = chain_of(network) if batched and compiled and fused_available() else None
        together = batched and (self._chain is not None or can_be_batched(network, self.layout, num_features))
        is_usual = objective.is_usual and plan.loss == "logistic"
        self.way: Way = "compiled" if self._chain and is_usual else "batched" if together else "plain"
        self._slopes = _Slopes.of(network, self.layout, plan, objective, together)

    def varied(self, plan: TrainingPlan, trains: tuple[str, ...] = ("*",)) -> CohortTrainer:
        """Return what trains the same network by another plan, and those layers alone; errors as of the class."""
        return CohortTrainer(self._network, plan, *self._how, replace(self.objective, trains=trains))

    def following(self, objective: LocalObjective) -> CohortTrainer:
        """Return what trains the same network by the same plan and another objective; errors as of the class."""
        return CohortTrainer(self._network, self.plan, *self._how, objective)

    def train(
        self,
        table: ClientTable,
        clients: Int64Array,
        start: Float32Array,
        keys: UInt64Array,
        rate: float = 1.0,
        weight: Float64Array | None = None,
        sent: Arrays | None = None,
        correction: Float32Array | None = None,
        pull: Float64Array | None = None,
        home: Float32Array | None = None,
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
        sent
            Named arrays that came with the weights, for the objective: (parameters,) for all alike, or
            (cohort, parameters).
        correction
            Added to the mean gradient of each step before it is clipped, in either of these shapes; None for nothing.
        pull
            (cohort,), strength of a pull beside the plan's proximal term; None for none.
        home
            Weights that both pull to, in either shape of `start`; None: those at the start.

        Raises
        ------
        ModelError
            If an array that was sent has another shape.
        ConfigError
            If a correction meets an objective that reads the gradient of each row.
        """
        plan = replace(self.plan, learning_rate=self.plan.learning_rate * rate)
        steps, given = num_steps(table.sizes[clients], plan), sent or {}
        checked = self._checked(given if correction is None else {**given, "correction": correction}, len(clients))
        corrected = None if correction is None else checked.pop("correction")
        if corrected is not None and self._slopes.rule.per_example:
            raise ConfigError(f"a correction is added to the mean gradient, and {self._slopes.rule} reads each row's")
        if self.way == "compiled" and self._chain is not None:
            weights, loss = train_chain(self._chain, plan, table, clients, start, keys, weight, corrected, pull, home)
            return TrainedCohort(weights, loss, steps, plan.learning_rate)
        steering = _steering(corrected, pull, home)
        weights, loss = self._descended(table, clients, start, keys, plan, checked, steering)
        if weight is not None:
            weights -= start
            weights *= weight[:, None].astype(np.float32)
        return TrainedCohort(weights, loss, steps, plan.learning_rate)

    def _descended(
        self,
        table: ClientTable,
        clients: Int64Array,
        start: Float32Array,
        keys: UInt64Array,
        plan: TrainingPlan,
        sent: Arrays,
        steering: Steering,
    ) -> tuple[Float32Array, Float64Array]:
        """Return each client's weights after its steps, (cohort, parameters), and mean loss, (cohort,), by groups."""
        begin = np.broadcast_to(start, (len(clients), self.layout.num_parameters))
        weights, loss = np.array(begin, dtype=np.float32), np.full(len(clients), np.nan)
        for group in self._groups(table.sizes[clients], table.num_features):
            batch = GatheredRows.gather(table, clients[group], keys[group], plan, self.objective.draws)
            own = {name: torch.from_numpy(a if a.ndim == 1 else a[group]) for name, a in sent.items()}
            first, steered = torch.from_numpy(weights[group]), steering.take(group)
            # A network that draws in training is trained client by client, each with a stream of its own.
            with torch_stream(int(keys[group[0]] >> np.uint64(1))):
                trained, totals = _descend(first, batch, self._slopes, plan, own, steered)
            weights[group] = trained.numpy()
            loss[group] = totals.numpy() / np.maximum(batch.num_drawn, 1)
        return weights, loss

    def _checked(self, sent: Arrays, num_clients: int) -> dict[str, AnyArray]:
        """Return what was sent as float32, in a shape that the loop reads."""
        shapes = ((self.layout.num_parameters,), (num_clients, self.layout.num_parameters))
        for name, array in sent.items():
            if array.shape not in shapes:
                raise ModelError(f"what is sent must be {shapes[0]} or {shapes[1]}, got {name} of {array.shape}")
        return {name: np.require(array, np.float32, "W") for name, array in sent.items()}

    def gradient(self, table: ClientTable, clients: Int64Array, weights: Float32Array) -> Float32Array:
        """Return the gradient of each client's mean loss over all its rows, as it is trained: (cohort, parameters).

        Parameters
        ----------
        table, clients
            As for `train`.
        weights
            (parameters,) for all alike, or (cohort, parameters); those at which it is taken.

        Raises
        ------
        ConfigError
            If the objective reads the gradient of each row.
        """
        if self._slopes.rule.per_example:
            raise ConfigError(f"a gradient over all rows is a mean, and {self._slopes.rule} reads each row's")
        slopes = np.zeros((len(clients), self.layout.num_parameters), np.float32)
        at = np.broadcast_to(weights, slopes.shape)
        for place, client in enumerate(clients.tolist()):
            rows = table.rows(client)
            if rows.stop > rows.start:
                batch = torch.from_numpy(table.features[rows][None]), torch.from_numpy(table.followed[rows][None])
                slope, _ = self._slopes.gradient(torch.tensor(at[place][None]), *batch, torch.ones_like(batch[1]))
                slopes[place] = (slope if self._slopes.trains is None else slope * self._slopes.trains)[0].numpy()
        return slopes

    def row_gradients(self, table: ClientTable, rows: Int64Array, weights: Float32Array) -> Iterator[Float32Array]:
        """Yield the gradients of some rows of a table at weights (parameters,), some at a time: (rows, parameters).

        Raises
        ------
        ConfigError
            If the objective reads no gradient of each row.
        """
        if self.objective.pooled is None:
            raise ConfigError(f"gradients of rows need an objective that sums units, got {self.objective}")
        at, width = torch.from_numpy(np.array(weights, np.float32)[None]), max(_ENTRIES_A_GROUP // len(weights), 1)
        for part in np.split(rows, range(width, len(rows), width)):
            features, labels = (torch.from_numpy(array[None, part]) for array in (table.features, table.followed))
            yield self._slopes.gradient(at, features, labels, torch.ones_like(labels))[0][0].numpy()

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
class _Slopes:
    """Hold how the slope of a step is made: gradient, rule and terms, and which parameters train.

    `trains` is a mask (parameters,), or None where all do.
    """

    gradient: Gradient
    rule: GradientRule
    terms: tuple[Term, ...]
    trains: Tensor | None

    @staticmethod
    def of(
        network: nn.Module, layout: Layout, plan: TrainingPlan, objective: LocalObjective, together: bool
    ) -> _Slopes:
        rule = objective.rule or MeanGradient(plan.clip_norm)
        row, mean = (batched_row_gradient, batched_gradient) if together else (plain_row_gradient, plain_gradient)
        is_each = rule.per_example or objective.pooled is not None
        terms = ((Proximal(plan.proximal),) if plan.proximal else ()) + objective.terms
        mask = objective.trained(layout)
        trains = None if mask.all() else torch.from_numpy(mask)
        gradient = (row if is_each else mean)(network, layout, plan.positive_weight, plan.loss)
        return _Slopes(gradient, rule, terms, trains)

    def of_step(
        self,
        weights: Tensor,
        start: Tensor,
        batch: tuple[Tensor, Tensor, Tensor],
        step: LocalStep,
        steering: Steering,
    ) -> tuple[Tensor, Tensor]:
        """Return slopes (clients, parameters) and summed losses (clients,)."""
        gradients, losses = self.gradient(weights, *batch)
        if steering.correction is not None:
            gradients = gradients + steering.correction
        if self.trains is not None:  # else layers that rest would be counted in the norms
            gradients = gradients * self.trains
        slopes = self.rule.slope(gradients, step)
        home = start if steering.home is None else steering.home
        for term in self.terms:
            slopes = slopes + term(weights, home, step.sent)
        if steering.pull is not None:
            slopes = slopes + steering.pull * (weights - home)
        return slopes, losses


def _steering(correction: AnyArray | None, pull: Float64Array | None, home: Float32Array | None) -> Steering:
    column = None if pull is None else pull.astype(np.float32)[:, None]
    return Steering(*(None if a is None else torch.from_numpy(a) for a in (correction, column, home)))


def _descend(
    start: Tensor, batch: GatheredRows, slopes_of: _Slopes, plan: TrainingPlan, sent: Sent, steering: Steering
) -> tuple[Tensor, Tensor]:
    """Take all steps of a group; return weights (clients, parameters) and summed losses (clients,)."""
    step, state, weights = optimizer_step(plan), start_state(start, plan), start
    totals = torch.zeros(len(start), dtype=torch.float64)
    for i in range(len(batch.features)):
        rows = batch.features[i], batch.labels[i], batch.present[i]
        at = LocalStep(i, batch.present[i], sent, batch.keys, batch.sizes, batch.units[i], batch.expected)
        slopes, losses = slopes_of.of_step(weights, start, rows, at, steering)
        moved, state = step(weights, slopes, state)
        if slopes_of.trains is not None:
            moved = torch.where(slopes_of.trains, moved, weights)
        # A client that has taken its last step keeps its weights; its optimiser's state is not read again.
        active = batch.active[i]
        weights = moved if active.all() else torch.where(torch.from_numpy(active)[:, None], moved, weights)
        totals += losses
    return weights, totals
