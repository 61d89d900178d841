"""Who the federation is compared with: each plant alone, by two kinds of models; all rows in one place; no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from werkbund.baselines import boosting, forest, own_model, probabilities
from werkbund.core.arrays import AnyArray, Arrays, Float64Array, FloatingArray, Int64Array
from werkbund.core.clients import ClientSplits, ClientTable
from werkbund.core.errors import DataError
from werkbund.core.rng import derived_seed, generator
from werkbund.data.times import moments
from werkbund.evaluation import (
    HABITS,
    Contest,
    Costs,
    Counts,
    HeldOut,
    Showing,
    Threshold,
    cheapest_interval,
    choose_threshold,
    hold_contest,
    inspected,
    units_of,
    work_of,
)
from werkbund.evaluation.watch import Watcher
from werkbund.federation.comparison import Comparison, Contender, federated_only
from werkbund.federation.families.contract import Simulation
from werkbund.federation.scoring import count_well
from werkbund.federation.training import Trained, train
from werkbund.learner.counts import logits_of
from werkbund.partition.population import Population

_POOLED_TREES = 200


@dataclass(frozen=True, eq=False)
class Scored:
    """Hold the logits (rows,) that a model gives everybody's test rows, and where it begins to raise alarms.

    Of a model of the run's kind also what was learnt.
    """

    logits: FloatingArray
    threshold: Threshold
    learnt: Arrays = field(default_factory=dict)

    def showing(self, rows: slice) -> Showing:
        """Return what it says of some of the rows."""
        logits = self.logits[rows]
        return Showing(logits >= self.threshold.logit, logits)

    def contender(self, name: str, test: ClientTable, clients: Int64Array) -> Contender:
        """Return it as a contender on everybody's rows."""
        return replace(Contender.of(name, self.logits, test, clients, self.threshold), learnt=self.learnt)


@dataclass(frozen=True)
class OwnRows:
    """Hold the rows that plants are judged on, and those that they know.

    Parameters
    ----------
    population, splits
        The clients' rows, raw and prepared.
    """

    population: Population
    splits: ClientSplits

    @cached_property
    def _machines(self) -> Int64Array:
        """The machine of each row of the whole table: (all rows,)."""
        return self.population.schema.machines(self.population.splits["test"].frame)

    @cached_property
    def _hours(self) -> Float64Array | None:
        """When each row was taken, in hours where the time is one of a calendar; None where that is not known."""
        name, frame = self.population.schema.time, self.population.splits["test"].frame
        if name is None:
            return None
        try:
            hours = moments(frame[name])
        except DataError:
            return None
        return None if np.isnan(hours).any() else hours

    def held_out(self, client: int) -> HeldOut:
        """Return the test rows that judge a client."""
        test = self.splits.test
        return HeldOut(test.names[client], test.labels[test.rows(client)], self._of(self._machines, client, "test"))

    def known_machines(self, client: int) -> Int64Array:
        """Return the machine of each row that does not judge a client: of its training rows, then validation rows."""
        return self._of(self._machines, client, "train", "validation")

    def known(self, client: int) -> tuple[AnyArray, AnyArray]:
        """Return features and labels of the rows that do not judge a client, in the same order."""
        tables = self.splits.train, self.splits.validation
        features = np.concatenate([table.features[table.rows(client)] for table in tables])
        return features, self._known_labels(client)

    def _known_labels(self, client: int) -> AnyArray:
        tables = self.splits.train, self.splits.validation
        return np.concatenate([table.labels[table.rows(client)] for table in tables])

    def habits(self, client: int, costs: Costs) -> dict[str, Showing]:
        """Return what a client decides on its test rows without any model.

        The interval of its inspections is the one that cost least on the rows that do not judge it.
        """
        test, known = self.held_out(client), self.known_machines(client)
        every = cheapest_interval(self._work(client, "train", "validation"), known, self._known_labels(client), costs)
        shape = test.labels.shape
        alarms = (
            np.zeros(shape, bool),
            np.ones(shape, bool),
            inspected(self._work(client, "test"), test.machines, every),
        )
        return {name: Showing(decided) for name, decided in zip(HABITS, alarms, strict=True)}

    def _work(self, client: int, *splits: str) -> Float64Array:
        hours = self._hours
        own = None if hours is None else self._of(hours, client, *splits)
        return work_of(self._of(self._machines, client, *splits), own)

    def _of(self, values: AnyArray, client: int, *splits: str) -> AnyArray:
        """Return a value of the whole table for a client's rows of some splits, one after the other."""
        tables = [self.population.splits[split] for split in splits]
        return np.concatenate([values[t.rows[t.offsets[client] : t.offsets[client + 1]]] for t in tables])


def compare_with(setup: Simulation, trained: Trained, population: Population, watcher: Watcher) -> Comparison:
    """Train the rivals, and return all contenders, on everybody's test rows and each plant on its own.

    Parameters
    ----------
    setup, trained, population
        The federation, what came of its training, and its rows in raw units.
    watcher
        Is told before each model.
    """
    alone = federated_only(setup, trained)
    test, clients, rows = setup.splits.test, alone.clients, OwnRows(population, setup.splits)
    chosen = _with_models_of_their_own(setup)
    local, trees = {}, {}
    for place, client in enumerate(chosen):
        watcher.stage(f"{test.names[client]} alone, {place + 1} of {len(chosen)}")
        local[client], trees[client] = _trained_alone(setup, client), _own_trees(setup, rows, client, alone.costs)
    watcher.stage("all rows in one place: the same model, boosted trees, a forest")
    pooled = {"pooled": _trained_alone(setup, None), **_pooled_trees(setup, alone.costs)}
    watcher.stage("how sure the differences are")
    everywhere = {"federated": _scored(setup, trained), **pooled}
    return replace(
        alone,
        local={client: own.contender(test.names[client], test, clients) for client, own in local.items()},
        local_trees={client: own.contender(test.names[client], test, clients) for client, own in trees.items()},
        pooled=tuple(rival.contender(name, test, clients) for name, rival in pooled.items()),
        own_rows=_contest(setup, rows, everywhere, {"local_mean": local, "local_trees_mean": trees}, alone.costs),
    )


def _contest(
    setup: Simulation,
    rows: OwnRows,
    everywhere: Mapping[str, Scored],
    own: Mapping[str, Mapping[int, Scored]],
    costs: Costs,
) -> Contest:
    """Judge each plant that has models of its own on its own test rows."""
    clients = sorted(own["local_mean"])
    places = [setup.splits.test.rows(client) for client in clients]
    showings = {who: [model.showing(place) for place in places] for who, model in everywhere.items()}
    for who, models in own.items():
        showings[who] = [models[client].showing(place) for client, place in zip(clients, places, strict=True)]
    seed = setup.config.federation.seed
    rngs = [generator(seed, "bootstrap", client=client) for client in clients]
    held_out = [rows.held_out(client) for client in clients]
    return hold_contest(held_out, {**showings, **_all_habits(rows, clients, costs)}, costs, rngs)


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
    return Scored(setup.logits(trained.learnt), trained.threshold, trained.learnt)


def _trained_alone(setup: Simulation, client: int | None) -> Scored:
    """Train on one plant's rows as a federation of one; without a number, on all plants' rows in one place."""
    return _scored(setup, train(setup.alone(client)))


def _own_trees(setup: Simulation, rows: OwnRows, client: int, costs: Costs) -> Scored:
    """Fit the best cheap model of one plant to the rows that do not judge it."""
    features, labels = rows.known(client)
    seed = derived_seed(setup.config.federation.seed, "own trees", client=client) % 2**32
    model = own_model(features, labels, units_of(rows.known_machines(client)), seed)
    validated, known = logits_of(model.validated), labels[: len(model.validated)]
    return Scored(logits_of(model.probabilities(setup.splits.test.features)), _cheapest(validated, known, costs))


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
