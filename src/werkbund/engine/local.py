"""What clients do in training and evaluation, for one client at a plant and a whole cohort in process alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from werkbund.aggregation.contract import Weighting
from werkbund.core.clients import ClientSplits, ClientTable
from werkbund.core.types import Arrays, Replies, Tasks
from werkbund.core.weights import FloatArray
from werkbund.engine.worker import Handler
from werkbund.learner.counts import count_scores
from werkbund.learner.train import CohortTrainer

IntArray = npt.NDArray[np.int64]


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
    """

    splits: ClientSplits
    trainer: CohortTrainer
    weighting: Weighting

    def handlers(self) -> dict[str, Handler]:
        """Return the functions for the kinds `train` and `evaluate`."""
        return {"train": self.train, "evaluate": self.evaluate}

    def train(self, tasks: Tasks) -> Replies:
        """Score the incoming weights, then train from them and answer with weighted updates."""
        weights = tasks.shared["weights"]
        counts = self._counts(tasks.clients, weights)
        rate = float(tasks.shared["rate"])
        result = self.trainer.train(self.splits.train, tasks.clients, weights, tasks.own["key"], rate)
        rows = self.splits.train.sizes[tasks.clients].astype(np.float64)
        weight = tasks.own["factor"] * (rows if self.weighting == "examples" else (rows > 0).astype(np.float64))
        update = result.weights
        update -= weights
        update *= weight[:, None].astype(np.float32)
        loss = np.where(rows > 0, result.loss, 0.0) * rows
        sums: Arrays = {"update": update, "weight": weight, "loss": loss, "rows": rows, **counts}
        return Replies("train", tasks.round, tasks.clients, sums, {}, self.trainer.layout.fingerprint)

    def evaluate(self, tasks: Tasks) -> Replies:
        """Score the incoming weights."""
        counts = self._counts(tasks.clients, tasks.shared["weights"])
        return Replies("evaluate", tasks.round, tasks.clients, counts, {}, self.trainer.layout.fingerprint)

    def _counts(self, clients: IntArray, weights: FloatArray) -> Arrays:
        counts: dict[str, npt.NDArray[np.generic]] = {}
        for split, table in (("validation", self.splits.validation), ("test", self.splits.test)):
            part = table if len(clients) == table.num_clients else _rows_of(table, clients)
            logits = self.trainer.score(weights, part.features)
            scored = count_scores(logits, part.labels, part.modes, part.offsets)
            counts |= {f"{split}.{name}": array for name, array in scored.items()}
        return counts


def _rows_of(table: ClientTable, clients: IntArray) -> ClientTable:
    """Return the table of some clients alone."""
    sizes = table.sizes[clients]
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    rows = np.arange(offsets[-1]) + np.repeat(table.offsets[clients] - offsets[:-1], sizes)
    names = tuple(table.names[client] for client in clients)
    return ClientTable(names, offsets, table.features[rows], table.labels[rows], table.modes[rows], table.mode_names)
