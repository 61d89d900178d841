"""Contenders on the same test rows, and what a finished run says of them: metrics, per client, over the threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from werkbund.core.arrays import Arrays, Float32Array, FloatingArray, Int64Array
from werkbund.core.clients import ClientTable
from werkbund.evaluation import (
    LASTING_EDGES,
    Contest,
    Costs,
    Counts,
    Metrics,
    Threshold,
    cost_curve,
    lower_probabilities,
    mean_metrics,
    metrics,
    own_figures,
    per_client,
)
from werkbund.federation.families.contract import Setup
from werkbund.federation.scoring import count_table_well
from werkbund.federation.training import Trained
from werkbund.federation.wiring import costs_of
from werkbund.learner.counts import count_rows, no_counts


@dataclass(frozen=True)
class Contender:
    """Hold how one model does on the test rows of all clients.

    Parameters
    ----------
    name
        `federated`, `pooled`, `pooled_gbdt`, `pooled_forest`, or a client's name for a model of its own.
    counts
        Evaluation counts of all test rows.
    each
        The same with one row a client, for those clients that the comparison names.
    threshold
        Chosen by cost on the validation rows that this model may see.
    edges
        The logits between the bins of the counts; the threshold is one of them.
    learnt
        What it learnt, of a model that a plant trained alone; empty of others.
    alarms
        The threshold at each of those clients; empty where it is this one at all.
    """

    name: str
    counts: Arrays
    each: Arrays
    threshold: Threshold
    edges: Float32Array
    learnt: Arrays = field(default_factory=dict)
    alarms: tuple[Threshold, ...] = ()

    @classmethod
    def of(
        cls, name: str, logits: FloatingArray, table: ClientTable, clients: Int64Array, threshold: Threshold
    ) -> Contender:
        """Return the contender that gave these logits (rows,) to the rows of a table."""
        counts, edges = count_table_well(logits, table, threshold)
        theirs = table.take(clients)
        each = count_rows(logits[table.row_numbers(clients)], theirs, edges=edges)
        return cls(name, counts, each, threshold, edges)

    @property
    def all_rows(self) -> Counts:
        """The counts of all test rows together."""
        return Counts.from_arrays(self.counts, edges=self.edges)

    def pooled(self, costs: Costs, mode_names: Sequence[str]) -> Metrics:
        """Return the metrics over all clients' test rows."""
        return metrics(self.all_rows, self.threshold, costs, mode_names)

    def by_client(self, costs: Costs, mode_names: Sequence[str]) -> tuple[Metrics, ...]:
        """Return the metrics on each client's test rows."""
        return per_client(self.each, self.alarms or self.threshold, costs, mode_names, self.edges)


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
    local_trees
        Plants' own forests or boosted trees by client number, as `local`.
    own_rows
        The contest on the plants' own test rows; None if there was none.
    """

    federated: Contender
    clients: Int64Array
    local: Mapping[int, Contender]
    pooled: tuple[Contender, ...]
    costs: Costs
    mode_names: tuple[str, ...]
    local_trees: Mapping[int, Contender] = field(default_factory=dict)
    own_rows: Contest | None = None

    def metrics(self) -> dict[str, Metrics]:
        """Return each contender's figures over all test rows; those named `local` are means over the plants' models."""
        figures = {"federated": self.federated.pooled(self.costs, self.mode_names)}
        for name, models in (("local_mean", self.local), ("local_trees_mean", self.local_trees)):
            if models:
                everywhere = [own.pooled(self.costs, self.mode_names) for own in models.values()]
                figures[name] = mean_metrics(everywhere)
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
        curves = {"threshold": lower_probabilities(LASTING_EDGES).tolist()}
        for contender in (self.federated, *self.pooled):
            places = [0, *(1 + np.searchsorted(contender.edges, LASTING_EDGES)).tolist()]
            curves[contender.name] = cost_curve(contender.all_rows, self.costs)[places].tolist()
        return curves


def federated_only(setup: Setup, trained: Trained) -> Comparison:
    """Return the federation's model without others to compare it with.

    Where no client says how the model does on its rows, its figures are undefined.
    """
    costs, mode_names = costs_of(setup.config), setup.mode_names
    nobody = no_counts(len(mode_names), setup.target)
    test, each = trained.counts.get("test", nobody), trained.each.get("test", nobody)
    clients = trained.clients if "test" in trained.each else trained.clients[:0]
    alarms = tuple(trained.of_client(client)[1] for client in clients.tolist()) if trained.personal is None else ()
    federated = Contender("federated", test, each, trained.threshold, trained.edges, alarms=alarms)
    return Comparison(federated, clients, {}, (), costs, mode_names)


def result_of(comparison: Comparison, trained: Trained, names: Sequence[str], seconds: float) -> dict[str, Any]:
    """Return the content of result.json."""
    test = comparison.federated.all_rows
    histogram, calibration = test.histogram.tolist(), test.calibration.tolist()
    lines = comparison.by_client(names)
    return {
        "best_round": trained.kept_round,
        "rounds": trained.num_rounds,
        "stopped": trained.stopped,
        "seconds": seconds,
        "training_seconds": trained.seconds,
        "spent": trained.spent.to_json(),
        "threshold": trained.threshold.probability,
        "metrics": {who: figures.to_json() for who, figures in comparison.metrics().items()},
        "per_client": lines,
        "own_rows": comparison.own_rows.to_json() if comparison.own_rows else None,
        "curve": {"test": {"histogram": histogram, "edges": test.edges.tolist(), "calibration": calibration}},
        "cost_curve": comparison.cost_curves(),
        **({"privacy": trained.privacy} if trained.privacy else {}),
        **_of_their_own(comparison, trained, lines),
    }


def _of_their_own(comparison: Comparison, trained: Trained, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the lines of `per_client` with how each client's own model does, and who never trained; else nothing."""
    if trained.personal is None:
        return {}
    costs, modes, clients = comparison.costs, comparison.mode_names, comparison.clients.tolist()
    figures = own_figures(trained.personal.record, trained.alarms, trained.threshold, costs, modes)
    own = [figures[client].to_json() if client in figures else None for client in clients]
    never = [line["name"] for client, line in zip(clients, lines, strict=True) if client in trained.personal.untrained]
    told = [{**line, "personal": mine} for line, mine in zip(lines, own, strict=True)]
    return {"per_client": told, "personal": {"untrained": never}}
