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
        each, pooled = self._counts(tasks)
        rows = self.splits.train.sizes[tasks.clients].astype(np.float64)
        weight = tasks.own["factor"] * (rows if self.weighting == "examples" else (rows > 0).astype(np.float64))
        rate = float(tasks.shared["rate"])
        result = self.trainer.train(self.splits.train, tasks.clients, weights, tasks.own["key"], rate, weight)
        loss = np.where(rows > 0, result.loss, 0.0) * rows
        sums: Arrays = {"update": result.weights, "weight": weight, "loss": loss, "rows": rows, **each}
        return Replies("train", tasks.round, tasks.clients, sums, {}, self.trainer.layout.fingerprint, pooled)

    def evaluate(self, tasks: Tasks) -> Replies:
        """Score the incoming weights."""
        each, pooled = self._counts(tasks)
        return Replies("evaluate", tasks.round, tasks.clients, each, {}, self.trainer.layout.fingerprint, pooled)

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

    def _scores(self, weights: FloatArray, table: ClientTable) -> npt.NDArray[np.float32]:
        """Return the logits of a table's rows; in the plain way client by client, with the bits of one who is alone."""
        if self.trainer.way != "plain" or table.num_clients == 1:
            return self.trainer.score(weights, table.features)
        each = [self.trainer.score(weights, table.features[table.rows(i)]) for i in range(table.num_clients)]
        return np.concatenate(each)
