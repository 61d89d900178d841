"""The federation beside others on the same test rows: each plant alone, all rows in one place, trees on these.

And what a finished run says of them, for people and programs: metrics, also per client and over the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from werkbund.core.arrays import Arrays, FloatingArray, Int64Array
from werkbund.core.clients import ClientTable
from werkbund.core.rng import derived_seed, generator
from werkbund.evaluation import (
    Costs,
    Counts,
    Metrics,
    Threshold,
    choose_threshold,
    cost_curve,
    lower_probabilities,
    metrics,
    per_client,
)
from werkbund.federation.families.contract import Setup, Simulation
from werkbund.federation.training import Trained, train
from werkbund.federation.watch import Watcher
from werkbund.federation.wiring import costs_of
from werkbund.learner import count_scores
from werkbund.learner.counts import logits_of as logits_of_probabilities
from werkbund.learner.counts import no_counts

_EVERY_BIN = 8  # a cost curve of 128 points is smooth enough to look at


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
        theirs = table.take(clients)
        each = count_scores(logits[table.row_numbers(clients)], theirs.labels, theirs.modes, theirs.offsets)
        return cls(name, counts, each, threshold)

    def pooled(self, costs: Costs, mode_names: Sequence[str]) -> Metrics:
        """Return the metrics over all clients' test rows."""
        return metrics(Counts.from_arrays(self.counts), self.threshold, costs, mode_names)

    def by_client(self, costs: Costs, mode_names: Sequence[str]) -> tuple[Metrics, ...]:
        """Return the metrics on each client's test rows."""
        return per_client(self.each, self.threshold, costs, mode_names)


@dataclass(frozen=True)
class Comparison:
    """Hold all contenders on the same test rows.

    Parameters
    ----------
    federated
        The federation's model.
    clients
        (clients,), client numbers whose test rows are scored for each of them: all, or a sample of very many.
    local
        Plants' own models by client number: of all, or of a sample; empty if none were trained.
    pooled
        Models of all rows in one place: the same kind, boosted trees, forest; empty if none were trained.
    costs, mode_names
        How decisions are priced, and the failure modes counted.
    """

    federated: Contender
    clients: Int64Array
    local: Mapping[int, Contender]
    pooled: tuple[Contender, ...]
    costs: Costs
    mode_names: tuple[str, ...]

    def metrics(self) -> dict[str, Metrics]:
        """Return each contender's figures over all test rows; `local_mean` is the mean over the plants' models."""
        figures = {"federated": self.federated.pooled(self.costs, self.mode_names)}
        if self.local:
            figures["local_mean"] = mean_metrics(
                [own.pooled(self.costs, self.mode_names) for own in self.local.values()]
            )
        return figures | {rival.name: rival.pooled(self.costs, self.mode_names) for rival in self.pooled}

    def by_client(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return each client's figures: the federated model on its rows, its own on its rows and on all rows."""
        federated = self.federated.by_client(self.costs, self.mode_names)
        lines: list[dict[str, Any]] = []
        for place, (number, scores) in enumerate(zip(self.clients.tolist(), federated, strict=True)):
            own = self.local.get(number)
            here = own.by_client(self.costs, self.mode_names)[place].to_json() if own else None
            everywhere = own.pooled(self.costs, self.mode_names).to_json() if own else None
            lines.append({"name": names[number], **scores.to_json(), "local": here, "local_global": everywhere})
        return lines

    def cost_curves(self) -> dict[str, list[float]]:
        """Return the cost per 1000 rows over the threshold, for models of all rows and the federation's."""
        curves = {"threshold": lower_probabilities()[::_EVERY_BIN].tolist()}
        for contender in (self.federated, *self.pooled):
            curves[contender.name] = cost_curve(Counts.from_arrays(contender.counts), self.costs)[::_EVERY_BIN].tolist()
        return curves


def federated_only(setup: Setup, trained: Trained) -> Comparison:
    """Return the federation's model without others to compare it with.

    Where no client says how the model does on its rows, its figures are undefined.
    """
    costs, mode_names = costs_of(setup.config), setup.mode_names
    nobody = no_counts(len(mode_names))
    test, each = trained.counts.get("test", nobody), trained.each.get("test", nobody)
    clients = trained.clients if "test" in trained.each else trained.clients[:0]
    return Comparison(Contender("federated", test, each, trained.threshold), clients, {}, (), costs, mode_names)


def compare_with(setup: Simulation, trained: Trained, watcher: Watcher) -> Comparison:
    """Train the baselines, and return all contenders: plants alone, and models of all rows in one place.

    Parameters
    ----------
    setup, trained
        The federation, and what came of its training.
    watcher
        Is told before each model.
    """
    alone = federated_only(setup, trained)
    costs, mode_names, clients = alone.costs, alone.mode_names, alone.clients
    local, names = {}, setup.splits.train.names
    chosen = _with_models_of_their_own(setup)
    for place, client in enumerate(chosen):
        watcher.stage(f"{names[client]} alone, {place + 1} of {len(chosen)}")
        local[client] = trained_alone(setup, client, names[client], clients)
    watcher.stage("all rows in one place: the same model")
    pooled = trained_alone(setup, None, "pooled", clients)
    watcher.stage("all rows in one place: boosted trees and forest")
    return Comparison(
        alone.federated, clients, local, (pooled, *pooled_trees(setup, costs, clients)), costs, mode_names
    )


def _with_models_of_their_own(setup: Simulation) -> list[int]:
    """Return the clients that are trained alone too: all, or a seeded sample of at most `evaluation.local_models`."""
    num_clients, most = setup.splits.train.num_clients, setup.config.evaluation.local_models
    if num_clients <= most:
        return list(range(num_clients))
    rng = generator(setup.config.federation.seed, "local models")
    return sorted(rng.choice(num_clients, most, replace=False).tolist())


def result_of(comparison: Comparison, trained: Trained, names: Sequence[str], seconds: float) -> dict[str, Any]:
    """Return the content of result.json."""
    test = Counts.from_arrays(comparison.federated.counts)
    return {
        "best_round": trained.kept_round,
        "rounds": trained.num_rounds,
        "stopped": trained.stopped,
        "seconds": seconds,
        "training_seconds": trained.seconds,
        "spent": trained.spent.to_json(),
        "threshold": trained.threshold.probability,
        "metrics": {who: figures.to_json() for who, figures in comparison.metrics().items()},
        "per_client": comparison.by_client(names),
        "curve": {"test": {"histogram": test.histogram.tolist(), "calibration": test.calibration.tolist()}},
        "cost_curve": comparison.cost_curves(),
    }


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


def pooled_trees(setup: Simulation, costs: Costs, clients: Int64Array) -> tuple[Contender, ...]:
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
    means = {name: _mean([getattr(figures, name) for figures in all_metrics]) for name in names}
    modes = {
        mode: _mean_or_none([figures.recall_by_mode[mode] for figures in all_metrics]) for mode in first.recall_by_mode
    }
    counted = {"rows": first.rows, "positives": first.positives, "recall_by_mode": modes}
    return Metrics(**{**means, **counted})  # type: ignore[arg-type]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
