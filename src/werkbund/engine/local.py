"""What clients do in training and evaluation, for one client at a plant and a whole cohort in process alike."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from werkbund.aggregation.contract import Weighting
from werkbund.core.arrays import Arrays, Float32Array, Float64Array, Int64Array, UInt64Array
from werkbund.core.clients import ClientSplits, ClientTable
from werkbund.core.errors import ClientError
from werkbund.core.kinds import Kind
from werkbund.core.rng import shuffles, stream
from werkbund.core.types import Replies, Tasks
from werkbund.engine.kinds import EVALUATE, TRAIN, UPLOAD
from werkbund.engine.worker import Handler
from werkbund.learner.counts import count_scores
from werkbund.learner.signals import FROM_LOSSES, local_centroids, loss_signals, losses_of
from werkbund.learner.train import CohortTrainer
from werkbund.selection.questions import CENTROIDS, HOLD, LOSS


@dataclass(frozen=True)
class Held:
    """Keep an update that a client has made and not sent.

    Parameters
    ----------
    round
        In which it was made.
    update
        (parameters,), unweighted.
    loss, rows
        Its training loss times rows, and its rows.
    """

    round: int
    update: Float32Array
    loss: float
    rows: float


@dataclass(frozen=True)
class LocalWork:
    """Train and evaluate on clients' rows.

    Parameters
    ----------
    splits
        The rows of the clients that live here; a task's client number is a place in these tables.
    trainer
        Trains clients and scores rows.
    weighting
        How an update is weighted before it leaves; one of a client without rows counts nothing.
    held
        Updates that clients keep until they are asked for them, by client.
    """

    splits: ClientSplits
    trainer: CohortTrainer
    weighting: Weighting
    held: dict[int, Held] = field(default_factory=dict, compare=False)

    def handlers(self) -> dict[Kind, Handler]:
        """Return the functions for the kinds that clients know."""
        return {
            TRAIN: self.train,
            EVALUATE: self.evaluate,
            LOSS: self.loss,
            HOLD: self.hold,
            UPLOAD: self.upload,
            CENTROIDS: self.centroids,
        }

    def holds(self, client: int, round: int) -> bool:
        """Say whether a client holds an update of this round."""
        held = self.held.get(client)
        return held is not None and held.round == round

    def train(self, tasks: Tasks) -> Replies:
        """Score the incoming weights, then train from them and answer with weighted updates."""
        each, pooled = self._counts(tasks)
        sums, clear = self._trained(tasks, self._weights_in_the_mean(tasks))
        return Replies(TRAIN, tasks.round, tasks.clients, {**sums, **each}, clear, self._fingerprint, pooled)

    def hold(self, tasks: Tasks) -> Replies:
        """Train as in `train`, but keep the update here and answer with signals alone."""
        sums, clear = self._trained(tasks, np.ones(len(tasks)))
        for place, client in enumerate(tasks.clients.tolist()):
            loss, rows = float(sums["loss"][place]), float(sums["rows"][place])
            self.held[client] = Held(tasks.round, sums["update"][place].copy(), loss, rows)
        return Replies(HOLD, tasks.round, tasks.clients, {}, clear, self._fingerprint)

    def upload(self, tasks: Tasks) -> Replies:
        """Score the incoming weights, and answer with the updates that were held.

        Raises
        ------
        ClientError
            If a client holds none of this round.
        """
        each, pooled = self._counts(tasks)
        found = [self.held.get(client) for client in tasks.clients.tolist()]
        held = [one for one in found if one is not None and one.round == tasks.round]
        if len(held) < len(found):
            raise ClientError(f"holds no update of round {tasks.round}; it was started anew since it trained")
        weight = self._weights_in_the_mean(tasks)
        sums: Arrays = {
            "update": np.stack([one.update * np.float32(w) for one, w in zip(held, weight, strict=True)]),
            "weight": weight,
            "loss": np.array([one.loss for one in held]),
            "rows": np.array([one.rows for one in held]),
        }
        return Replies(UPLOAD, tasks.round, tasks.clients, {**sums, **each}, {}, self._fingerprint, pooled)

    def loss(self, tasks: Tasks) -> Replies:
        """Answer with the mean loss of the incoming weights over training rows, of all or of a few drawn at random."""
        table = self.splits.train.take(tasks.clients)
        losses, sizes = losses_of(self._scores(tasks.shared["weights"], table), table.labels), table.sizes
        if "most" in tasks.shared:
            losses, sizes = _some(losses, table, tasks.own["key"], int(tasks.shared["most"]))
        clear = loss_signals(losses, sizes, ("loss",))
        return Replies(LOSS, tasks.round, tasks.clients, {}, clear, self._fingerprint)

    def centroids(self, tasks: Tasks) -> Replies:
        """Answer with the centres of `k` clusters of each client's prepared training rows, none over few rows."""
        k, train = int(tasks.shared["k"]), self.splits.train
        least = int(tasks.shared.get("least", 1))
        places = zip(tasks.clients.tolist(), tasks.own["key"].tolist(), strict=True)
        found = [local_centroids(train.features[train.rows(i)], k, stream(key), least)[0] for i, key in places]
        return Replies(CENTROIDS, tasks.round, tasks.clients, {}, {"centroids": np.stack(found)})

    def evaluate(self, tasks: Tasks) -> Replies:
        """Score the incoming weights."""
        each, pooled = self._counts(tasks)
        return Replies(EVALUATE, tasks.round, tasks.clients, each, {}, self._fingerprint, pooled)

    @property
    def _fingerprint(self) -> str:
        return self.trainer.layout.fingerprint

    def _weights_in_the_mean(self, tasks: Tasks) -> Float64Array:
        """Return what each update counts: the selector's factor, times rows unless all count alike."""
        rows = self.splits.train.sizes[tasks.clients].astype(np.float64)
        alike = bool(tasks.shared["equal"]) if "equal" in tasks.shared else self.weighting == "equal"
        return np.asarray(tasks.own["factor"] * ((rows > 0).astype(np.float64) if alike else rows))

    def _trained(self, tasks: Tasks, weight: Float64Array) -> tuple[Arrays, Arrays]:
        """Train, and return sums with updates times `weight`, and the signals that are wanted."""
        weights, rate = tasks.shared["weights"], float(tasks.shared["rate"])
        rows = self.splits.train.sizes[tasks.clients].astype(np.float64)
        result = self.trainer.train(self.splits.train, tasks.clients, weights, tasks.own["key"], rate, weight)
        loss = np.where(rows > 0, result.loss, 0.0) * rows
        sums: Arrays = {"update": result.weights, "weight": weight, "loss": loss, "rows": rows}
        return sums, self._signals(tasks, sums, result.loss)

    def _signals(self, tasks: Tasks, sums: Arrays, train_loss: Float64Array) -> Arrays:
        wanted = set(tasks.shared["needs"].tolist()) if "needs" in tasks.shared else set()
        found: dict[str, Float64Array] = {}
        if wanted & {*FROM_LOSSES}:
            table = self.splits.train.take(tasks.clients)
            losses = losses_of(self._scores(tasks.shared["weights"], table), table.labels)
            found |= loss_signals(losses, table.sizes, wanted)
        if "train_loss" in wanted:
            found["train_loss"] = np.asarray(train_loss, dtype=np.float64)
        if "norm" in wanted:
            length = np.linalg.norm(sums["update"].astype(np.float64), axis=1)
            weight = np.abs(sums["weight"])
            found["norm"] = np.divide(length, weight, out=np.zeros_like(length), where=weight > 0)
        return found

    def _counts(self, tasks: Tasks) -> tuple[Arrays, Arrays]:
        """Return the counts of each client, if the tasks ask for that, or those of all together."""
        each = "each" in tasks.shared
        counts: dict[str, npt.NDArray[np.generic]] = {}
        for split, table in (("validation", self.splits.validation), ("test", self.splits.test)):
            part = table if len(tasks) == table.num_clients else table.take(tasks.clients)
            logits = self._scores(tasks.shared["weights"], part)
            scored = count_scores(logits, part.labels, part.modes, part.offsets if each else part.offsets[[0, -1]])
            counts |= {f"{split}.{name}": array if each else array[0] for name, array in scored.items()}
        return (counts, {}) if each else ({}, counts)

    def _scores(self, weights: Float32Array, table: ClientTable) -> Float32Array:
        """Return the logits of a table's rows; in the plain way client by client, with the bits of one who is alone."""
        if self.trainer.way != "plain" or table.num_clients == 1:
            return self.trainer.score(weights, table.features)
        each = [self.trainer.score(weights, table.features[table.rows(i)]) for i in range(table.num_clients)]
        return np.concatenate(each)


def _some(losses: Float64Array, table: ClientTable, keys: UInt64Array, most: int) -> tuple[Float64Array, Int64Array]:
    """Return the losses of at most so many rows of each client, drawn with its own stream, and how many they are."""
    sizes = np.minimum(table.sizes, most)
    orders = shuffles(keys, 0, table.sizes)
    parts = [losses[table.rows(client)][orders[client, :size]] for client, size in enumerate(sizes.tolist())]
    return np.concatenate(parts), sizes
