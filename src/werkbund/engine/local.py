"""What clients do in training and evaluation, for one client at a plant and a whole cohort in process alike."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from werkbund.aggregation.contract import (
    CORRECTION,
    POPULATION,
    PULL,
    ROWS,
    UPDATE,
    ClientHalf,
    LocalResult,
    Weighting,
)
from werkbund.core.arrays import AnyArray, Arrays, Float32Array, Float64Array, Int64Array, UInt64Array, under
from werkbund.core.clients import ClientSplits, ClientTable
from werkbund.core.defaults import MOST_FORGOTTEN
from werkbund.core.errors import ClientError
from werkbund.core.kinds import Kind
from werkbund.core.rng import shuffles, stream
from werkbund.core.store import Store
from werkbund.core.types import Replies, Tasks
from werkbund.core.weights import Layout
from werkbund.engine.kinds import EVALUATE, PERSONALISE, TRAIN, UPLOAD, WEIGHT
from werkbund.engine.personal import PERSONAL_MODEL, PersonalWork, Training
from werkbund.engine.pooling import pooled_sums
from werkbund.engine.worker import SENT, Handler, forgetful, settled
from werkbund.learner.counts import count_rows, edges_of
from werkbund.learner.plan import accumulations
from werkbund.learner.signals import FROM_LOSSES, local_centroids, loss_signals, losses_of
from werkbund.learner.train import CohortTrainer, TrainedCohort
from werkbund.privacy import Departure, Stack
from werkbund.privacy.shares import is_noised
from werkbund.selection.questions import CENTROIDS, HOLD, LOSS

_HELD, _SENT = "held.", "sent update"
"""Names in the client store."""


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
    half, folds
        What the aggregation method does at a client around its training, None for nothing; and the names of what it
        adds to an answer with an update.
    stack
        The layers through which an update leaves.
    numbers
        (clients that live here,), their numbers in the federation, by which layers tell them apart; None where these
        are their places.
    personal
        What is each client's own beside what all have in common; None where nothing is.

    In the client store lie `held.*`, what was trained and not sent; what is the client's own, see `PersonalWork`;
    `sent update`, the unweighted update that was taken last, where a run wants to know how far the next one is from it;
    and whatever `half` keeps. But for the first, a task leaves these pending, and the next one settles them.
    """

    splits: ClientSplits
    trainer: CohortTrainer
    weighting: Weighting
    half: ClientHalf | None = None
    folds: tuple[str, ...] = ()
    stack: Stack = field(default_factory=Stack)
    numbers: Int64Array | None = None
    personal: PersonalWork | None = None

    def handlers(self) -> dict[Kind, Handler]:
        """Return the functions for the kinds that clients know."""
        return {
            TRAIN: settled(self.train),
            EVALUATE: settled(self.evaluate),
            LOSS: settled(self.loss),
            HOLD: settled(self.hold),
            UPLOAD: settled(self.upload),
            PERSONALISE: settled(self.personalise, at_once=True),
            CENTROIDS: forgetful(self.centroids),
        }

    def train(self, tasks: Tasks, store: Store) -> Replies:
        """Score the incoming weights, then train from them and answer with weighted updates."""
        each, pooled = self._counts(tasks, self._incoming(tasks, store))
        sums, clear = self._trained(tasks, self._weights_in_the_mean(tasks), store)
        self._keep_sent(tasks, sums, store)
        return self._answer(TRAIN, tasks, sums, each, clear, pooled)

    def hold(self, tasks: Tasks, store: Store) -> Replies:
        """Train as in `train`, but keep the update here and answer with signals alone.

        Raises
        ------
        ClientError
            If noise is promised: what is uploaded later was not bounded when it was held.
        """
        self._refuse_unnoised(HOLD.name)
        sums, clear = self._trained(tasks, np.ones(len(tasks)), store)
        kept = {name: array for name, array in sums.items() if name != WEIGHT}
        for name, array in {**kept, "round": np.full(len(tasks), tasks.round)}.items():
            store.put(f"{_HELD}{name}", tasks.clients, array, lasting=False)
        return Replies(HOLD, tasks.round, tasks.clients, {}, clear, self._fingerprint)

    def upload(self, tasks: Tasks, store: Store) -> Replies:
        """Score the incoming weights, and answer with the updates that were held.

        Raises
        ------
        ClientError
            If a client holds none of this round.
        """
        rounds = store.rows(f"{_HELD}round", tasks.clients, np.array(-1))
        if (rounds != tasks.round).any():
            raise ClientError(f"holds no update of round {tasks.round}; it was started anew since it trained")
        each, pooled = self._counts(tasks, self._incoming(tasks, store))
        weight, nothing = self._weights_in_the_mean(tasks), np.zeros(())
        names = (UPDATE, "loss", "rows", *self.folds)
        held = {name: store.rows(f"{_HELD}{name}", tasks.clients, nothing) for name in names}
        held = {**self._weighted(held, weight), WEIGHT: weight}
        self._keep_sent(tasks, held, store)
        return self._answer(UPLOAD, tasks, held, each, {}, pooled)

    def loss(self, tasks: Tasks, store: Store) -> Replies:
        """Answer with the incoming weights' mean loss, as it is trained, over all training rows or a few at random."""
        self._refuse_unnoised(LOSS.name)
        table = self.splits.train.take(tasks.clients)
        losses, sizes = self._losses(self._incoming(tasks, store), table), table.sizes
        if "most" in tasks.shared:
            losses, sizes = _few_losses(losses, table, tasks.own["key"], int(tasks.shared["most"]))
        clear = loss_signals(losses, sizes, ("loss",))
        return Replies(LOSS, tasks.round, tasks.clients, {}, clear, self._fingerprint)

    def centroids(self, tasks: Tasks) -> Replies:
        """Answer with the centres of `k` clusters of each client's prepared training rows, none over few rows."""
        self._refuse_unnoised(CENTROIDS.name)
        k, train = int(tasks.shared["k"]), self.splits.train
        least = int(tasks.shared.get("least", 1))
        places = zip(tasks.clients.tolist(), tasks.own["key"].tolist(), strict=True)
        centroids = [local_centroids(train.features[train.rows(i)], k, stream(key), least)[0] for i, key in places]
        return Replies(CENTROIDS, tasks.round, tasks.clients, {}, {"centroids": np.stack(centroids)})

    def evaluate(self, tasks: Tasks, store: Store) -> Replies:
        """Score the incoming weights, each client's with its personal layers."""
        each, pooled = self._counts(tasks, self._incoming(tasks, store))
        return Replies(EVALUATE, tasks.round, tasks.clients, each, {}, self._fingerprint, pooled)

    def personalise(self, tasks: Tasks, store: Store) -> Replies:
        """Make each client's own model of the incoming weights, keep it, and answer with its counts."""
        if self.personal is None:
            raise ClientError("has no personal part in this run; the server runs other code")
        who = Training(tasks.clients, tasks.own["key"])
        models = self.personal.models(_weights(tasks), who, store)
        store.put(PERSONAL_MODEL, tasks.clients, models)
        each, pooled = self._counts(tasks, models)
        return Replies(PERSONALISE, tasks.round, tasks.clients, each, {}, self._fingerprint, pooled)

    @property
    def _common(self) -> Layout:
        """The layout of what travels."""
        return self.trainer.layout if self.personal is None else self.personal.parting.common

    @property
    def _fingerprint(self) -> str:
        return self._common.fingerprint

    def _weights_in_the_mean(self, tasks: Tasks) -> Float64Array:
        """Return what each update counts: the selector's factor, times rows unless all count alike."""
        rows = self.splits.train.sizes[tasks.clients].astype(np.float64)
        alike = bool(tasks.shared["equal"]) if "equal" in tasks.shared else self.weighting != "examples"
        return np.asarray(tasks.own["factor"] * ((rows > 0).astype(np.float64) if alike else rows))

    def _answer(self, kind: Kind, tasks: Tasks, sums: Arrays, each: Arrays, clear: Arrays, pooled: Arrays) -> Replies:
        """Return updates as they leave through the layers, with counts and signals beside them."""
        cohort = np.asarray(tasks.shared.get("cohort", tasks.clients))
        clients = tasks.clients if self.numbers is None else self.numbers[tasks.clients]
        size, sent = self._common.num_parameters, under(SENT, tasks.shared)
        departure = Departure(tasks.round, clients, tasks.own["key"], cohort, size, sent)
        leaving = self.stack.leave(sums, departure)
        return Replies(kind, tasks.round, tasks.clients, {**leaving, **each}, clear, self._fingerprint, pooled)

    def _incoming(self, tasks: Tasks, store: Store) -> Float32Array:
        """Return the weights that clients start from: (parameters,), or (clients, parameters) where they differ."""
        weights = _weights(tasks)
        return weights if self.personal is None else self.personal.completed(weights, tasks.clients, store)

    def _trained(self, tasks: Tasks, weight: Float64Array, store: Store) -> tuple[Arrays, Arrays]:
        """Train, and return sums with updates times `weight`, and the signals that are wanted."""
        if self.trainer.objective.pooled is not None:
            pooled = pooled_sums(self.trainer, self.splits.train, tasks, _weights(tasks))
            return {**pooled, WEIGHT: weight}, self._signals(tasks, pooled, weight, store)
        start, rate = self._incoming(tasks, store), float(tasks.shared["rate"])
        rows = self.splits.train.sizes[tasks.clients].astype(np.float64)
        half = self.half if tasks.round else None  # before the first round a client trains by itself
        sent: Arrays = under(SENT, tasks.shared)
        read = half.before({**sent, ROWS: rows}, tasks.clients, store) if half else sent
        is_parted = self._parts_layers or half is not None
        own = {name: array for name, array in read.items() if name not in (CORRECTION, PULL, ROWS, POPULATION)}
        steered = self._widened(own if CORRECTION not in read else {**own, CORRECTION: read[CORRECTION]})
        correction, pull = steered.pop(CORRECTION, None), self._checked(read.get(PULL), rate)
        begun, keys, weighted = self._begun(tasks, start, store), tasks.own["key"], None if is_parted else weight
        train, table = self.trainer.train, self.splits.train
        result = train(table, tasks.clients, begun, keys, rate, weighted, steered, correction, pull)
        parts: Arrays = {UPDATE: result.weights}
        if is_parted:
            work = self._work(tasks, start, result, weight)
            parts = self._weighted(self._parted(tasks, work, result, read, store), weight)
        losses = {} if self._noises else {"loss": np.where(rows > 0, result.loss, 0.0) * rows}
        sums: Arrays = {WEIGHT: weight, **losses, "rows": rows, **parts}
        return sums, self._signals(tasks, sums, result.loss, store)

    def _checked(self, pull: AnyArray | None, rate: float) -> Float64Array | None:
        """Return the strength of each client's pull.

        Raises
        ------
        ClientError
            If a step would undo more than a share of the way so far: the update would be that of the last rows.
        """
        if pull is None:
            return None
        undone = self.trainer.plan.learning_rate * rate * float(np.max(pull))
        if not undone <= MOST_FORGOTTEN:
            raise ClientError(
                f"a step of training may undo at most {MOST_FORGOTTEN} of the way so far, got {undone:g}: "
                "training.learning_rate times the pull of strategy.aggregation for so few rows; lower one of them"
            )
        return np.asarray(pull, np.float64)

    @property
    def _noises(self) -> bool:
        """Whether what training tells of rows is noised here, so that nothing may tell of them beside it."""
        return self.trainer.objective.has_units or is_noised(self.stack)

    def _refuse_unnoised(self, what: str) -> None:
        if self._noises:
            raise ClientError(
                f"tells no {what} of training rows: the run's privacy.unit promises noise, and it has none"
            )

    @property
    def _parts_layers(self) -> bool:
        """Whether some layers stay at the clients."""
        return self.personal is not None and not self.personal.parting.is_whole

    def _begun(self, tasks: Tasks, start: Float32Array, store: Store) -> Float32Array:
        """Train what is the clients' own and not trained with the rest; return the weights that the rest starts from.

        Before the first round there is nothing of their own.
        """
        if self.personal is None or not tasks.round:
            return start
        who = Training(tasks.clients, tasks.own["key"], float(tasks.shared["rate"]))
        self.personal.train_beside(start, who, store)
        return self.personal.begun(start, who)

    def _widened(self, sent: Arrays) -> dict[str, AnyArray]:
        """Return arrays over the common weights, by name, as ones over whole weights."""
        if self.personal is None:
            return dict(sent)
        return {name: self.personal.parting.widened(array) for name, array in sent.items()}

    def _leaving(self, vectors: Float32Array) -> Float32Array:
        """Return what leaves of vectors over whole weights: (clients, common parameters)."""
        return vectors if self.personal is None else self.personal.parting.travelling(vectors)

    def _parted(
        self, tasks: Tasks, work: LocalResult, result: TrainedCohort, sent: Arrays, store: Store
    ) -> dict[str, AnyArray]:
        """Return what leaves of the update, unweighted, and what the method adds; keep what stays."""
        if self.personal is not None:
            self.personal.keep(result.weights, tasks.clients, store)
        beside = self.half.after(sent, work, tasks.clients, store) if self.half and tasks.round else {}
        return {UPDATE: work.update, **beside}

    def _work(self, tasks: Tasks, start: Float32Array, result: TrainedCohort, weight: Float64Array) -> LocalResult:
        """Return what training gave, with what the method may ask of it; in place of its weights if all leave."""
        table, plan = self.splits.train, replace(self.trainer.plan, learning_rate=result.learning_rate)

        def loss() -> Float64Array:
            own = table.take(tasks.clients)
            return loss_signals(self._losses(start, own), own.sizes, ("loss",))["loss"]

        return LocalResult(
            self._leaving(np.subtract(result.weights, start, out=None if self._parts_layers else result.weights)),
            weight,
            table.sizes[tasks.clients].astype(np.float64),
            result.steps,
            result.learning_rate,
            loss,
            lambda: accumulations(plan, result.steps),
            lambda: self._leaving(self.trainer.gradient(table, tasks.clients, start)),
        )

    def _weighted(self, parts: Arrays, weight: Float64Array) -> dict[str, AnyArray]:
        """Return arrays, (clients, ...) by name, of which those that count as the update does have its weight."""
        names = {UPDATE, *(self.half.weighted if self.half else ())}
        return {name: _times(rows, weight, name == UPDATE) if name in names else rows for name, rows in parts.items()}

    def _signals(self, tasks: Tasks, sums: Arrays, train_loss: Float64Array, store: Store) -> Arrays:
        wanted = _wanted(tasks)
        if wanted:
            self._refuse_unnoised(", ".join(sorted(wanted)))
        signals: dict[str, Float64Array] = {}
        if wanted & {*FROM_LOSSES}:
            table = self.splits.train.take(tasks.clients)
            losses = self._losses(self._incoming(tasks, store), table)
            signals |= loss_signals(losses, table.sizes, wanted)
        if "train_loss" in wanted:
            signals["train_loss"] = np.asarray(train_loss, dtype=np.float64)
        if "norm" in wanted:
            signals["norm"] = np.linalg.norm(_unweighted(sums), axis=1)
        if "change" in wanted:
            nothing = np.zeros(self._common.num_parameters)
            signals["change"] = np.linalg.norm(
                _unweighted(sums) - store.rows(_SENT, tasks.clients, nothing).astype(np.float64), axis=1
            )
        return signals

    def _keep_sent(self, tasks: Tasks, sums: Arrays, store: Store) -> None:
        """Keep the updates that leave, where a run wants to know how far the next ones are from them."""
        if "change" in _wanted(tasks):
            store.put(_SENT, tasks.clients, _unweighted(sums).astype(np.float32))

    def _losses(self, weights: Float32Array, table: ClientTable) -> Float64Array:
        """Return the loss of each row of a table as it is trained, (rows,): a failure's times its weight."""
        plan = self.trainer.plan
        return losses_of(self._scores(weights, table), table.followed, plan.positive_weight, plan.loss)

    def _counts(self, tasks: Tasks, weights: Float32Array) -> tuple[Arrays, Arrays]:
        """Return the counts of each client under weights, if the tasks ask for that, or those of all together."""
        each = "each" in tasks.shared
        counts: dict[str, AnyArray] = {}
        for split, table in (("validation", self.splits.validation), ("test", self.splits.test)):
            part = table if len(tasks) == table.num_clients else table.take(tasks.clients)
            logits = self._scores(weights, part)
            offsets = part.offsets if each else part.offsets[[0, -1]]
            scored = count_rows(logits, part, offsets, edges_of(tasks))
            counts |= {f"{split}.{name}": array if each else array[0] for name, array in scored.items()}
        return (counts, {}) if each else ({}, counts)

    def _scores(self, weights: Float32Array, table: ClientTable) -> Float32Array:
        """Return the logits of a table's rows; in the plain way client by client, with the bits of one who is alone."""
        if weights.ndim == 1 and (self.trainer.way != "plain" or table.num_clients == 1):
            return self.trainer.score(weights, table.features)
        own = np.broadcast_to(weights, (table.num_clients, weights.shape[-1]))
        each = [self.trainer.score(own[i], table.features[table.rows(i)]) for i in range(table.num_clients)]
        return np.concatenate(each)


def _weights(tasks: Tasks) -> Float32Array:
    """Return the weights that came: (common parameters,), or (clients, common parameters)."""
    return np.asarray(tasks.own["weights"] if "weights" in tasks.own else tasks.shared["weights"])


def _times(rows: AnyArray, weight: Float64Array, in_place: bool) -> AnyArray:
    """Return rows, (clients, ...), each times its weight, in the type that they have."""
    weights = weight.reshape(-1, *[1] * (rows.ndim - 1)).astype(rows.dtype)
    product: AnyArray = np.multiply(rows, weights, out=rows if in_place else None)
    return product


def _wanted(tasks: Tasks) -> set[str]:
    """Return the names of the signals that a task wants in clear."""
    return set(tasks.shared["needs"].tolist()) if "needs" in tasks.shared else set()


def _unweighted(sums: Arrays) -> Float64Array:
    """Return updates by themselves, (clients, parameters); zeros for a client that counts nothing."""
    weight = np.abs(sums[WEIGHT])[:, None]
    updates = sums[UPDATE].astype(np.float64)
    return np.divide(updates, weight, out=np.zeros_like(updates), where=weight > 0)


def _few_losses(
    losses: Float64Array, table: ClientTable, keys: UInt64Array, most: int
) -> tuple[Float64Array, Int64Array]:
    """Return the losses of at most so many rows of each client, drawn with its own stream, and how many they are."""
    sizes = np.minimum(table.sizes, most)
    orders = shuffles(keys, 0, table.sizes)
    parts = [losses[table.rows(client)][orders[client, :size]] for client, size in enumerate(sizes.tolist())]
    return np.concatenate(parts), sizes
