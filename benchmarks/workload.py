"""The work that every row of a comparison does: the same clients, first weights and batches, made from one seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from torch import nn

from werkbund.core.arrays import Float32Array, Int64Array, UInt64Array
from werkbund.core.clients import ClientSplits, ClientTable
from werkbund.core.rng import generator, keys, shuffles
from werkbund.learner import ModelSpec, TrainingPlan, build_network, weights_of


@dataclass(frozen=True)
class Workload:
    """Describe a federation whose clients all train in every round.

    Features are standard normal, the label is x0 * x1 + x2 > 1.5. A client trains one epoch of plain SGD a round.

    Parameters
    ----------
    num_clients, num_rows, num_features
        Clients, rows of each, and width of a row.
    batch_size, learning_rate
        Of the local SGD.
    spec
        The network; by default an MLP 8-64-32-1 with ReLU.
    seed
        Of rows, first weights and batches.
    """

    num_clients: int = 1000
    num_rows: int = 100
    num_features: int = 8
    batch_size: int = 32
    learning_rate: float = 0.05
    spec: ModelSpec = field(default_factory=ModelSpec)
    seed: int = 0

    def rows(self, client: int) -> tuple[Float32Array, Float32Array]:
        """Draw one client's features (rows, features) and labels (rows,)."""
        rng = generator(self.seed, "benchmark rows", 0, client)
        features = rng.standard_normal((self.num_rows, self.num_features), dtype=np.float32)
        return features, (features[:, 0] * features[:, 1] + features[:, 2] > 1.5).astype(np.float32)

    @cached_property
    def table(self) -> ClientTable:
        """Rows of all clients."""
        total = self.num_clients * self.num_rows
        features, labels = np.empty((total, self.num_features), np.float32), np.empty(total, np.float32)
        for client in range(self.num_clients):
            place = slice(client * self.num_rows, (client + 1) * self.num_rows)
            features[place], labels[place] = self.rows(client)
        return self._table(features, labels, self.num_rows)

    @property
    def splits(self) -> ClientSplits:
        """Train on all rows and score the same rows; nothing for validation."""
        table = self.table
        return ClientSplits(table, self._table(table.features[:0], table.labels[:0], 0), table)

    @property
    def plan(self) -> TrainingPlan:
        """How a client trains."""
        return TrainingPlan(learning_rate=self.learning_rate, weight_decay=0.0, batch_size=self.batch_size)

    def network(self) -> nn.Module:
        """Build the network with its first weights."""
        return build_network(self.spec, self.num_features, self.seed)

    def start(self) -> Float32Array:
        """Return the first weights: (parameters,)."""
        return weights_of(self.network())

    def keys(self, round: int, clients: npt.ArrayLike) -> UInt64Array:
        """Return the keys of these clients' batches in a round, those that the engine hands out: (clients,)."""
        return keys(self.seed, "training", round, clients)

    def orders(self, round: int, clients: Int64Array) -> Int64Array:
        """Return the order in which clients see their rows in a round: (clients, rows)."""
        return shuffles(self.keys(round, clients), 0, np.full(len(clients), self.num_rows))

    def _table(self, features: Float32Array, labels: Float32Array, num_rows: int) -> ClientTable:
        names = tuple(f"client {i}" for i in range(self.num_clients))
        offsets = np.arange(self.num_clients + 1, dtype=np.int64) * num_rows
        return ClientTable(names, offsets, features, labels, np.zeros((len(features), 0), np.bool_))
