"""Who the federation is compared with: each plant alone, by two kinds of models; all rows in one place; no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from werkbund.baselines import boosting, forest, own_model, own_numbers, probabilities
from werkbund.baselines.rows import OwnRows
from werkbund.core.arrays import AnyArray, Arrays, FloatingArray, Int64Array
from werkbund.core.clients import ClientTable
from werkbund.core.rng import derived_seed, generator
from werkbund.core.target import FAILURE, NumberTarget, Target
from werkbund.engine import Personalised
from werkbund.evaluation import (
    FEDERATED,
    GLOBAL,
    HABITS,
    Contest,
    Costs,
    Counts,
    Showing,
    Threshold,
    choose_threshold,
    hold_contest,
    units_of,
)
from werkbund.evaluation.watch import Watcher
from werkbund.federation.comparison import Comparison, Contender, federated_only
from werkbund.federation.families.contract import Simulation
from werkbund.federation.scoring import count_well
from werkbund.federation.training import Trained, train
from werkbund.learner.counts import count_rows, logits_of
from werkbund.partition.population import Population

_POOLED_TREES = 200


@dataclass(frozen=True, eq=False)
class Scored:
    """Hold the logits (rows,) that a model gives everybody's test rows, and where it begins to raise alarms.

    Of a model of the run's kind also what was learnt. `target` is what the logits are risks of.
    """

    logits: FloatingArray
    threshold: Threshold
    learnt: Arrays = field(default_factory=dict)
    target: Target = FAILURE

    def showing(self, rows: slice) -> Showing:
        """Return what it says of some of the rows."""
        logits = self.logits[rows]
        numbers = self.target.numbers(logits) if isinstance(self.target, NumberTarget) else None
        return Showing(logits >= self.threshold.logit, logits, numbers)

    def contender(self, name: str, test: ClientTable, clients: Int64Array) -> Contender:
        """Return it as a contender on everybody's rows."""
        judged = replace(test, target=self.target)
        return replace(Contender.of(name, self.logits, judged, clients, self.threshold), learnt=self.learnt)


def compare_with(setup: Simulation, trained: Trained, population: Population, watcher: Watcher) -> Comparison:
    """Train the rivals, and return all contenders, on everybody's test rows and each plant on its own.

    Parameters
    ----------
    setup, trained, population
        The federation, what came of its training, and its rows in raw units.
    watcher
        Is told before each model.
    """
    alone, test, rows = federated_only(setup, trained), setup.splits.test, OwnRows(population, setup.splits)
    if not trained.each:  # no client told how the model does on its rows; they are all here
        alone = replace(alone, federated=_counted_here(setup, trained), clients=trained.clients)
    clients = alone.clients
    chosen = _with_models_of_their_own(setup)
    local, trees = {}, {}
    for place, client in enumerate(chosen):
        watcher.stage(f"{test.names[client]} alone, {place + 1} of {len(chosen)}")
        local[client], trees[client] = _trained_alone(setup, client), _own_trees(setup, rows, client, alone.costs)
    watcher.stage("all rows in one place: the same model, boosted trees, a forest")
    pooled = {"pooled": _trained_alone(setup, None), **_pooled_trees(setup, alone.costs)}
    watcher.stage("how sure the differences are")
    own = {"local_mean": local, "local_trees_mean": trees}
    everywhere = {FEDERATED: _scored(setup, trained), **pooled}
    return replace(
        alone,
        local={client: own.contender(test.names[client], test, clients) for client, own in local.items()},
        local_trees={client: own.contender(test.names[client], test, clients) for client, own in trees.items()},
        pooled=tuple(rival.contender(name, test, clients) for name, rival in pooled.items()),
        own_rows=_contest(setup, trained, rows, everywhere, own, alone.costs),
    )


def _counted_here(setup: Simulation, trained: Trained) -> Contender:
    """Return the federation's model with counts of each client's test rows, on the edges of those of all."""
    test = setup.splits.test.take(trained.clients)
    logits = setup.logits(trained.learnt)[setup.splits.test.row_numbers(trained.clients)]
    each = count_rows(logits, test, edges=trained.edges)
    return Contender("federated", trained.counts["test"], each, trained.threshold, trained.edges)


def _contest(
    setup: Simulation,
    trained: Trained,
    rows: OwnRows,
    everywhere: Mapping[str, Scored],
    own: Mapping[str, Mapping[int, Scored]],
    costs: Costs,
) -> Contest:
    """Judge each plant that has models of its own on its own test rows; with personal parts the federation's is one."""
    clients = sorted(own["local_mean"])
    places = [setup.splits.test.rows(client) for client in clients]
    showings: dict[str, list[Showing | None]] = {
        who: [model.showing(place) for place in places] for who, model in everywhere.items()
    }
    for who, models in own.items():
        showings[who] = [models[client].showing(place) for client, place in zip(clients, places, strict=True)]
    if trained.personal is not None:
        showings[GLOBAL] = showings[FEDERATED]
        showings[FEDERATED] = _own_showings(setup, trained, trained.personal, clients)
    elif trained.alarms:
        shared = [replace(everywhere[FEDERATED], threshold=trained.of_client(client)[1]) for client in clients]
        showings[FEDERATED] = [model.showing(place) for model, place in zip(shared, places, strict=True)]
    seed = setup.config.federation.seed
    rngs = [generator(seed, "bootstrap", client=client) for client in clients]
    held_out = [rows.held_out(client) for client in clients]
    return hold_contest(held_out, {**showings, **_all_habits(rows, clients, costs)}, costs, rngs)


def _own_showings(
    setup: Simulation, trained: Trained, personal: Personalised, clients: Sequence[int]
) -> list[Showing | None]:
    """Return what each of these clients' own models says of the client's test rows; None for those without one."""
    showings = list[Showing | None]()
    for client in clients:
        if client not in personal.models:
            showings.append(None)
            continue
        learnt, threshold = trained.of_client(client)
        logits = setup.alone(client).logits(learnt)
        showings.append(Scored(logits, threshold, target=setup.target).showing(slice(None)))
    return showings


def _all_habits(rows: OwnRows, clients: Sequence[int], costs: Costs) -> dict[str, list[Showing | None]]:
    """Return the habits of some clients, by name."""
    by_client = [rows.habits(client, costs) for client in clients]
    return {name: [habits[name] for habits in by_client] for name in HABITS}


def _with_models_of_their_own(setup: Simulation) -> list[int]:
    """Return the clients that are trained alone too: all, or a seeded sample of at most `evaluation.local_models`."""
    num_clients, most = setup.splits.train.num_clients, setup.config.evaluation.local_models
    if num_clients <= most:
        return list(range(num_clients))
    rng = generator(setup.config.federation.seed, "local models")
    return sorted(rng.choice(num_clients, most, replace=False).tolist())


def _scored(setup: Simulation, trained: Trained) -> Scored:
    return Scored(setup.logits(trained.learnt), trained.threshold, trained.learnt, setup.target)


def _trained_alone(setup: Simulation, client: int | None) -> Scored:
    """Train on one plant's rows as a federation of one; without a number, on all plants' rows in one place."""
    return _scored(setup, train(setup.alone(client)))


def _own_trees(setup: Simulation, rows: OwnRows, client: int, costs: Costs) -> Scored:
    """Fit the best cheap model of one plant to the rows that do not judge it."""
    features, labels = rows.known(client)
    seed = derived_seed(setup.config.federation.seed, "own trees", client=client) % 2**32
    machines, test = units_of(rows.known_machines(client)), setup.splits.test.features
    if isinstance(setup.target, NumberTarget):
        lives = own_numbers(features, rows.known_risks(client), machines, seed)
        at = _cheapest(lives.validated, labels[: len(lives.validated)], costs)
        return Scored(lives.numbers(test), at, target=setup.target)
    model = own_model(features, labels, machines, seed)
    validated, known = logits_of(model.validated), labels[: len(model.validated)]
    return Scored(logits_of(model.probabilities(test)), _cheapest(validated, known, costs))


def _pooled_trees(setup: Simulation, costs: Costs) -> dict[str, Scored]:
    """Fit boosted trees and a forest, with their defaults, to all training rows in one place.

    They read the same features as the network and take their threshold from the same validation rows.
    """
    splits, seed = setup.splits, derived_seed(setup.config.federation.seed, "trees") % 2**32
    scored = {}
    for name, learner in (("pooled_gbdt", boosting()), ("pooled_forest", forest(_POOLED_TREES))):
        model = learner.fit(splits.train.features, splits.train.labels, seed)
        tables = splits.validation, splits.test
        validation, test = (logits_of(probabilities(model, table.features)) for table in tables)
        scored[name] = Scored(test, _cheapest(validation, splits.validation.labels, costs))
    return scored


def _cheapest(logits: FloatingArray, labels: AnyArray, costs: Costs) -> Threshold:
    """Return the threshold that costs least on some rows (rows,)."""
    counts, edges = count_well(logits, labels, np.zeros((len(labels), 0), np.bool_))
    return choose_threshold(Counts.from_arrays(counts, edges=edges), costs)
