"""The finished models on a later period than all rows that they were made with, which nobody has looked at before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from werkbund.core.arrays import Arrays
from werkbund.evaluation import ClientPeriods, Counts, Threshold, compare_periods, metrics
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
    clients = comparison.clients[has_later].tolist()
    models = {client: trained.of_client(client) for client in clients}
    earlier, federated = (raw_figures(setup, population, models, split) for split in ("test", "later"))
    own = {client: (one.learnt, one.threshold) for client, one in comparison.local.items() if client in models}
    alone = raw_figures(setup, population, own, "later")
    lines = [line for line, is_in in zip(result["per_client"], has_later, strict=True) if is_in]
    periods = [
        ClientPeriods(line["name"], earlier[client], federated[client], line.get("local"), alone.get(client))
        for line, client in zip(lines, clients, strict=True)
    ]
    return {**result, "later": compare_periods(periods)}


def raw_figures(
    setup: Simulation, population: Population, models: Mapping[int, tuple[Arrays, Threshold]], split: str
) -> dict[int, dict[str, Any]]:
    """Return how clients' models do on a split of their raw rows, by client, each counted as at the plant itself.

    Parameters
    ----------
    setup, population
        A run's parts and rows.
    models
        By the client's number what was learnt, and where it begins to raise alarms.
    split
        Its name.
    """
    raw, schema, figures = population.splits[split], population.schema, dict[int, dict[str, Any]]()
    for client, (learnt, threshold) in models.items():
        model = setup.model(learnt, threshold.probability, schema.label)
        counts, edges = count_raw(model, raw.of(np.array([client])), schema, threshold)
        told = metrics(Counts.from_arrays(counts, edges=edges), threshold, costs_of(setup.config), setup.mode_names)
        figures[client] = told.to_json()
    return figures
