"""A worker in process some of whose clients attack, or are broken: from some round on they answer otherwise.

What the clients keep lies in one store, honest or not, so that a run goes on from a checkpoint to the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from werkbund.aggregation.contract import UPDATE
from werkbund.attack.contract import Attack, OnUpdates, Scene
from werkbund.core.arrays import Arrays, BoolArray, Float32Array, Float64Array, Int64Array
from werkbund.core.rng import generator
from werkbund.core.store import RowStore
from werkbund.core.types import Replies, Tasks
from werkbund.engine.kinds import WEIGHT
from werkbund.engine.worker import Answering

_RECEIVED = "attack.received"
"""Name in the client store of the weights that an attacker was sent last, where its attack watches them."""


@dataclass(frozen=True)
class Scenario:
    """Say who attacks how.

    Parameters
    ----------
    attack
        How.
    clients
        (attackers,), their numbers, ascending.
    from_round
        The first round in which they do.
    seed
        Of the run.
    """

    attack: Attack
    clients: Int64Array
    from_round: int = 1
    seed: int = 0

    def attackers(self, clients: Int64Array) -> BoolArray:
        """Say which of some clients attack: (clients,)."""
        return np.isin(clients, self.clients)


@dataclass(frozen=True)
class UnderAttack:
    """Answer as a worker does, but for what attackers change of it.

    Attackers see the updates of all that are asked along with them, in one batch. Beside its update an attacker answers
    as its training gave it, what an aggregation method folds along included.

    Parameters
    ----------
    honest
        Answers before the attack begins.
    spoilt
        Answers from then on: the same worker, on rows that the attackers have spoilt, with the same store.
    scenario
        Who attacks how.
    """

    honest: Answering
    spoilt: Answering
    scenario: Scenario

    @property
    def store(self) -> RowStore:
        """What the clients keep, attackers too."""
        return self.honest.store

    def __call__(self, tasks: Tasks) -> Replies:
        """Return the answers to these tasks."""
        if tasks.round < self.scenario.from_round:
            return self.honest(tasks)
        replies, attack = self.spoilt(tasks), self.scenario.attack
        hostile = self.scenario.attackers(tasks.clients)
        if not tasks.kind.updates or not isinstance(attack, OnUpdates) or not hostile.any():
            return replies
        moved = self._watched(tasks, hostile) if attack.watches else np.zeros(int(hostile.sum()))
        scene = self._scene(replies, hostile, moved)
        return replace(replies, sums=_with_updates(replies.sums, hostile, attack.sent(scene)))

    def _scene(self, replies: Replies, hostile: BoolArray, moved: Float64Array) -> Scene:
        weight = np.asarray(replies.sums[WEIGHT], np.float64)
        updates = _unweighted(replies.sums[UPDATE], weight)
        benign = updates[~hostile & (weight > 0)]
        own = updates[hostile]
        seed, numbers = self.scenario.seed, replies.clients[hostile].tolist()
        rngs = tuple(generator(seed, "attack on updates", replies.round, client) for client in numbers)
        known = benign if len(benign) else own
        return Scene(own, known, weight[hostile], float(weight.sum()), replies.round, moved, rngs)

    def _watched(self, tasks: Tasks, hostile: BoolArray) -> Float64Array:
        """Return by how much the weights of each attacker have moved since it was asked last, and keep them."""
        weights = tasks.own["weights"] if "weights" in tasks.own else tasks.shared["weights"]
        clients = tasks.clients[hostile]
        received = np.broadcast_to(weights, (len(tasks), weights.shape[-1]))[hostile]
        unknown = np.full(weights.shape[-1], np.nan, np.float32)
        moved = received.astype(np.float64) - self.store.rows(_RECEIVED, clients, unknown)
        self.store.put(_RECEIVED, clients, received)
        return np.asarray(np.nan_to_num(moved.std(axis=1)))


def _unweighted(updates: Float32Array, weight: Float64Array) -> Float64Array:
    """Return updates by themselves, (clients, parameters); zeros for a client that counts nothing."""
    counted = np.where(weight > 0, weight, np.inf)
    return np.asarray(updates / counted[:, None])


def _with_updates(sums: Arrays, hostile: BoolArray, sent: Float64Array) -> Arrays:
    """Return sums with other updates of the attackers, (m, parameters), times their weights."""
    updates = np.array(sums[UPDATE])
    with np.errstate(over="ignore"):  # what is too large is refused by whoever reads it
        updates[hostile] = (sent * np.asarray(sums[WEIGHT], np.float64)[hostile, None]).astype(np.float32)
    return {**sums, UPDATE: updates}
