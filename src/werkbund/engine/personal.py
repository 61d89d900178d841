"""What clients do for what is their own: layers that stay, a model beside the common one, passes after the last round.

In the client store lie `personal.*`, the weights of the layers that stay or of the model beside the common one, and
`personal model`, the whole model that a client made at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from werkbund.aggregation.personal import Personal
from werkbund.core.arrays import BoolArray, Float32Array, Float64Array, Int64Array, UInt64Array
from werkbund.core.clients import ClientSplits
from werkbund.core.defaults import ENOUGH_FAILURES
from werkbund.core.errors import ConfigError
from werkbund.core.rng import derived_keys
from werkbund.core.store import Store
from werkbund.engine.schedule import RateSchedule
from werkbund.learner.parting import Parting, last_layer, normalising_layers
from werkbund.learner.plan import TrainingPlan
from werkbund.learner.signals import loss_signals, losses_of
from werkbund.learner.train import CohortTrainer

PERSONAL_MODEL = "personal model"
"""Under this name lies the whole model that a client made at the end."""


def parting_of(personal: Personal, network: nn.Module) -> Parting:
    """Return which layers of a network stay at clients by a method.

    Raises
    ------
    ConfigError
        If it keeps layers that normalise, and the network has none.
    ModelError
        If a layer that is named is not there.
    """
    if personal.stays == "nothing":
        return Parting.of(network)
    if personal.stays == "normalisation":
        return Parting.of(network, normalising_layers(network))
    return Parting.of(network, personal.layers or (last_layer(network),))


def _check_pull(pull: float, plan: TrainingPlan) -> None:
    if not plan.learning_rate * pull <= 1:
        raise ConfigError(
            f"strategy.personal.pull x training.learning_rate must be at most 1, got {plan.learning_rate * pull:g}: a "
            "step would overshoot the common model; lower one of them"
        )


@dataclass(frozen=True)
class Training:
    """Say whose training it is, and by which random streams.

    Parameters
    ----------
    clients
        (clients,), places in the table.
    keys
        (clients,), key of each client's random stream.
    rate
        Factor of the plan's learning rate.
    """

    clients: Int64Array
    keys: UInt64Array
    rate: float = 1.0


@dataclass(frozen=True)
class PersonalWork:
    """Train, keep and complete what is the clients' own.

    Parameters
    ----------
    splits
        The rows of the clients that live here.
    parting
        Which layers stay.
    first
        Trains the layers that stay in each round before the others; None: all train together.
    beside
        Trains a whole model of the client's own in each round, with a proximal term to the weights that came; None: it
        has none.
    afterwards
        Trains one pass after the last round; None: nothing trains then.
    epochs
        How many passes that are at most.
    """

    splits: ClientSplits
    parting: Parting
    first: CohortTrainer | None = None
    beside: CohortTrainer | None = None
    afterwards: CohortTrainer | None = None
    epochs: int = 0

    @staticmethod
    def of(personal: Personal, parting: Parting, trainer: CohortTrainer, splits: ClientSplits) -> PersonalWork:
        """Return the work for what a method keeps at clients.

        Parameters
        ----------
        personal
            What is each client's own.
        parting
            The layers that stay by it.
        trainer
            Trains the whole network as the run's plan says.
        splits
            The rows of the clients that live here.

        Raises
        ------
        ConfigError
            If a step of a client's own model would overshoot the common one.
        """
        plan = trainer.plan
        if personal.head_epochs:
            first = replace(plan, epochs=personal.head_epochs, steps=None)
            return PersonalWork(splits, parting, trainer.varied(first, parting.names(stays=True)))
        if personal.pull is not None:
            _check_pull(personal.pull, plan)
            return PersonalWork(splits, parting, beside=trainer.varied(replace(plan, proximal=personal.pull)))
        if personal.epochs is not None:
            one = replace(plan, epochs=1, steps=None, proximal=0.0)
            afterwards = trainer.varied(one, personal.layers or ("*",))
            return PersonalWork(splits, parting, afterwards=afterwards, epochs=personal.epochs)
        return PersonalWork(splits, parting)

    def rest(self, trainer: CohortTrainer) -> CohortTrainer:
        """Return what trains the layers that do not train first: all of them, where none does."""
        return trainer if self.first is None else trainer.varied(trainer.plan, self.parting.names(stays=False))

    @property
    def _own(self) -> str:
        """The name of what is kept; another one where other layers stay, so that none is read in another's place."""
        return f"personal.{self.parting.common.fingerprint}"

    def completed(self, common: Float32Array, clients: Int64Array, store: Store) -> Float32Array:
        """Return weights as the clients use them: as they came, (parameters,), or with each client's own layers."""
        if self.parting.is_whole:
            return common
        begins = self.parting.staying(self.parting.first)
        return self.parting.whole(common, store.rows(self._own, clients, begins))

    def begun(self, start: Float32Array, who: Training) -> Float32Array:
        """Return the weights from which the other layers train: those that stay have trained already."""
        if self.first is None:
            return start
        drawn = derived_keys(who.keys, "layers that stay", 0)
        return self.first.train(self.splits.train, who.clients, start, drawn, who.rate).weights

    def keep(self, trained: Float32Array, clients: Int64Array, store: Store) -> None:
        """Keep the layers that stay, of weights after training, (clients, parameters)."""
        if not self.parting.is_whole:
            store.put(self._own, clients, self.parting.staying(trained))

    def train_beside(self, received: Float32Array, who: Training, store: Store) -> None:
        """Train each client's own model over the batches of the common one, pulled to the weights that came."""
        if self.beside is None:
            return
        start = store.rows(self._own, who.clients, received)
        result = self.beside.train(self.splits.train, who.clients, start, who.keys, who.rate, home=received)
        store.put(self._own, who.clients, result.weights)

    def models(self, common: Float32Array, who: Training, store: Store) -> Float32Array:
        """Return the whole model of each client, (clients, parameters), after the last round."""
        whole = self.completed(common, who.clients, store)
        if self.beside is not None:
            return store.rows(self._own, who.clients, whole)
        start = np.array(np.broadcast_to(whole, (len(who.clients), whole.shape[-1])))
        return start if self.afterwards is None else self._tuned(self.afterwards, start, who)

    def _tuned(self, trainer: CohortTrainer, start: Float32Array, who: Training) -> Float32Array:
        """Return the weights after each client's best pass, or its last where few validation failures would choose."""
        best = weights = start
        lowest, can_choose = self._losses(trainer, start, who.clients), self._can_choose(who.clients)
        falling = RateSchedule("cosine", max(self.epochs, 1))
        for epoch in range(self.epochs):
            drawn, rate = derived_keys(who.keys, "passes after the last round", epoch), falling.factor(epoch + 1)
            weights = trainer.train(self.splits.train, who.clients, weights, drawn, who.rate * rate).weights
            losses = self._losses(trainer, weights, who.clients)
            better = (losses < lowest) | ~can_choose
            best, lowest = np.where(better[:, None], weights, best), np.where(better, losses, lowest)
        return best

    def _can_choose(self, clients: Int64Array) -> BoolArray:
        table = self.splits.validation
        failures = [int(table.labels[table.rows(client)].sum()) for client in clients.tolist()]
        return np.array(failures) >= ENOUGH_FAILURES

    def _losses(self, trainer: CohortTrainer, weights: Float32Array, clients: Int64Array) -> Float64Array:
        """Return each client's mean loss over its validation rows, as it is trained: (clients,)."""
        table = self.splits.validation.take(clients)
        logits = [trainer.score(own, table.features[table.rows(place)]) for place, own in enumerate(weights)]
        plan = trainer.plan
        losses = losses_of(np.concatenate(logits), table.followed, plan.positive_weight, plan.loss)
        return loss_signals(losses, table.sizes, ("loss",))["loss"]
