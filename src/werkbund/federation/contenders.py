"""Who is compared on the same test rows: the federation, each plant alone, all rows in one place, trees on these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from werkbund.core.arrays import Arrays, FloatingArray, Int64Array
from werkbund.core.clients import ClientTable
from werkbund.core.rng import derived_seed
from werkbund.evaluation import Costs, Counts, Metrics, Threshold, choose_threshold, metrics, per_client
from werkbund.federation.families.contract import Simulation
from werkbund.federation.training import train
from werkbund.learner import count_scores
from werkbund.learner.counts import logits_of as logits_of_probabilities


@dataclass(frozen=True)
class Contender:
    """Hold how one model does on the test rows of all clients.

    Parameters
    ----------
    name
        `federated`, `pooled`, `pooled_gbdt`, `pooled_forest`, or a client's name for its local model.
    counts
        Evaluation counts of all test rows.
    each
        The same with one row a client, for those clients that the comparison names.
    threshold
        Chosen by cost on the validation rows that this model may see.
    """

    name: str
    counts: Arrays
    each: Arrays
    threshold: Threshold

    @classmethod
    def of(
        cls, name: str, logits: FloatingArray, table: ClientTable, clients: Int64Array, threshold: Threshold
    ) -> Contender:
        """Return the contender that gave these logits (rows,) to the rows of a table."""
        counts = count_scores(logits, table.labels, table.modes, table.offsets[[0, -1]])
        some = table.take(clients)
        each = count_scores(logits[table.row_numbers(clients)], some.labels, some.modes, some.offsets)
        return cls(name, counts, each, threshold)

    def pooled(self, costs: Costs, mode_names: Sequence[str]) -> Metrics:
        """Return the metrics over all clients' test rows."""
        return metrics(Counts.from_arrays(self.counts), self.threshold, costs, mode_names)

    def by_client(self, costs: Costs, mode_names: Sequence[str]) -> tuple[Metrics, ...]:
        """Return the metrics on each client's test rows."""
        return per_client(self.each, self.threshold, costs, mode_names)


def trained_alone(setup: Simulation, client: int | None, name: str, clients: Int64Array) -> Contender:
    """Train on one party's rows as a federation of one, and score everybody's test rows.

    Parameters
    ----------
    setup
        The federation's.
    client
        Whose rows: a plant's by itself, or without a number all plants' in one place.
    name
        Of the contender.
    clients
        Whose test rows are also scored for each of them.
    """
    trained = train(setup.alone(client))
    return Contender.of(name, setup.logits(trained.learnt), setup.splits.test, clients, trained.threshold)


def trees(setup: Simulation, costs: Costs, clients: Int64Array) -> tuple[Contender, ...]:
    """Train scikit-learn's boosted trees and forest, with their defaults, on all training rows in one place.

    They read the same features as the network and take their threshold from the same validation rows.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier  # slow to import

    seed = derived_seed(setup.config.federation.seed, "trees") % 2**32
    models = {
        "pooled_gbdt": HistGradientBoostingClassifier(random_state=seed),
        "pooled_forest": RandomForestClassifier(n_estimators=200, n_jobs=-1, random_state=seed),
    }
    return tuple(_tree_contender(name, model, setup, costs, clients) for name, model in models.items())


def _tree_contender(name: str, model: Any, setup: Simulation, costs: Costs, clients: Int64Array) -> Contender:
    splits = setup.splits
    model.fit(splits.train.features, splits.train.labels)
    validation, test = (
        logits_of_probabilities(model.predict_proba(table.features)[:, 1]) if len(table.labels) else np.empty(0)
        for table in (splits.validation, splits.test)
    )
    table = splits.validation
    counts = count_scores(validation, table.labels, table.modes, table.offsets[[0, -1]])
    return Contender.of(name, test, splits.test, clients, choose_threshold(Counts.from_arrays(counts), costs))


def mean_metrics(all_metrics: Sequence[Metrics]) -> Metrics:
    """Return the mean of each figure over models; a figure that no model defines stays undefined."""
    first = all_metrics[0]
    names = [name for name, value in vars(first).items() if isinstance(value, int | float)]
    means = {name: _mean([getattr(one, name) for one in all_metrics]) for name in names}
    modes = {mode: _mean_or_none([one.recall_by_mode[mode] for one in all_metrics]) for mode in first.recall_by_mode}
    counted = {"rows": first.rows, "positives": first.positives, "recall_by_mode": modes}
    return Metrics(**{**means, **counted})  # type: ignore[arg-type]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
