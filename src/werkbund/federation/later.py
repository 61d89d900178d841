"""The finished models on a later period than all rows that they were made with, which nobody has looked at before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from werkbund.core.arrays import Arrays, Int64Array
from werkbund.engine.clusters import models_apart
from werkbund.evaluation import ClientPeriods, Counts, Metrics, Threshold, compare_periods, metrics
from werkbund.federation.comparison import Comparison
from werkbund.federation.families.contract import Simulation
from werkbund.federation.scoring import count_raw
from werkbund.federation.training import Trained
from werkbund.federation.wiring import costs_of
from werkbund.partition.population import Population


def with_later_period(
    result: Mapping[str, Any], setup: Simulation, population: Population, trained: Trained, comparison: Comparison
) -> dict[str, Any]:
    """Add to the content of result.json how the models do in the later period; nothing where there is none.

    Parameters
    ----------
    result
        Its `per_client` says how each client's test rows are scored.
    setup, population
        The run's parts and rows.
    trained, comparison
        The federation's model, and those that plants trained alone.
    """
    has_later = np.diff(population.splits["later"].offsets)[comparison.clients] > 0
    if not has_later.any():
        return dict(result)
    rows, clients = RawFigures(setup, population), comparison.clients[has_later]
    earlier, federated = (rows.of(trained.learnt, trained.threshold, clients, at) for at in ("test", "later"))
    alone = {
        client: rows.of(own.learnt, own.threshold, np.array([client]))[0].to_json()
        for client, own in comparison.local.items()
        if client in clients
    }
    lines = [line for line, is_in in zip(result["per_client"], has_later, strict=True) if is_in]
    periods = [
        ClientPeriods(line["name"], before.to_json(), later.to_json(), line.get("local"), alone.get(client))
        for line, before, later, client in zip(lines, earlier, federated, clients.tolist(), strict=True)
    ]
    return {**result, "later": compare_periods(periods)}


@dataclass(frozen=True)
class RawFigures:
    """Say how models do on raw rows.

    Parameters
    ----------
    setup, population
        A run's parts and rows.
    """

    setup: Simulation
    population: Population

    def of(
        self, learnt: Arrays, threshold: Threshold, clients: Int64Array, split: str = "later"
    ) -> tuple[Metrics, ...]:
        """Return how a model does on a split of each of these clients, each counted as at the plant itself."""
        raw, schema = self.population.splits[split], self.population.schema
        apart = models_apart(learnt, len(self.population.names))
        models = [(who, self.setup.model(own, threshold.probability, schema.label)) for who, own in apart]
        counted = [
            count_raw(model, raw.of(np.array([client])), schema, threshold)
            for client in clients.tolist()
            for members, model in models
            if client in members
        ]
        costs, names = costs_of(self.setup.config), self.setup.mode_names
        return tuple(metrics(Counts.from_arrays(counts, edges=at), threshold, costs, names) for counts, at in counted)
