"""What a finished run found, for people and programs: metrics of all contenders, per client, and over the threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from werkbund.core.arrays import Int64Array
from werkbund.core.rng import generator
from werkbund.evaluation import Costs, Counts, Metrics, cost_curve, lower_probabilities
from werkbund.federation.contenders import Contender, mean_metrics, trained_alone, trees
from werkbund.federation.families.contract import Setup, Simulation
from werkbund.federation.training import Trained
from werkbund.federation.watch import Watcher
from werkbund.federation.wiring import costs_of
from werkbund.learner.counts import no_counts

_EVERY_BIN = 8  # a cost curve of 128 points is smooth enough to look at


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
        found = {"federated": self.federated.pooled(self.costs, self.mode_names)}
        if self.local:
            found["local_mean"] = mean_metrics([one.pooled(self.costs, self.mode_names) for one in self.local.values()])
        return found | {one.name: one.pooled(self.costs, self.mode_names) for one in self.pooled}

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
        for one in (self.federated, *self.pooled):
            curves[one.name] = cost_curve(Counts.from_arrays(one.counts), self.costs)[::_EVERY_BIN].tolist()
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


def compare_with(setup: Simulation, trained: Trained, full: bool, watcher: Watcher) -> Comparison:
    """Train the baselines, if wanted, and gather all contenders."""
    alone = federated_only(setup, trained)
    if not full:
        return alone
    costs, mode_names, clients = alone.costs, alone.mode_names, alone.clients
    local, names = {}, setup.splits.train.names
    chosen = _with_models_of_their_own(setup)
    for place, client in enumerate(chosen):
        watcher.stage(f"{names[client]} alone, {place + 1} of {len(chosen)}")
        local[client] = trained_alone(setup, client, names[client], clients)
    watcher.stage("all rows in one place: the same model")
    pooled = trained_alone(setup, None, "pooled", clients)
    watcher.stage("all rows in one place: boosted trees and forest")
    return Comparison(alone.federated, clients, local, (pooled, *trees(setup, costs, clients)), costs, mode_names)


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
        "metrics": {who: one.to_json() for who, one in comparison.metrics().items()},
        "per_client": comparison.by_client(names),
        "curve": {"test": {"histogram": test.histogram.tolist(), "calibration": test.calibration.tolist()}},
        "cost_curve": comparison.cost_curves(),
    }
