"""What a clustered federation leaves: a model for each cluster, and who is better off with a model of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from werkbund.core.rng import generator
from werkbund.engine.clusters import CLUSTER, models_apart
from werkbund.evaluation import HeldOut, Showing, hold_contest, rule
from werkbund.federation.comparison import Comparison
from werkbund.federation.families.contract import Setup, Simulation
from werkbund.federation.training import Trained
from werkbund.model import MembersModel
from werkbund.partition.population import Population


def worse_off(setup: Simulation, trained: Trained, comparison: Comparison, population: Population) -> list[int]:
    """Return the clients whose own model ranks their validation rows clearly better than their cluster's.

    It is judged as the verdict judges a plant by its test rows. The client's model alone was chosen by these rows too,
    which favours it.
    """
    if CLUSTER not in trained.learnt or not comparison.local:
        return []
    clients, schema, raw = sorted(comparison.local), population.schema, population.splits["validation"]
    held_out, showings = list[HeldOut](), dict[str, list[Showing | None]](federated=[], local_mean=[])
    for client in clients:
        rows = raw.of(np.array([client]))
        frame, own = rows.frame[rows.rows], comparison.local[client]
        held_out.append(HeldOut(str(client), schema.labels(frame), schema.machines(frame)))
        models = {"federated": trained.of_client(client), "local_mean": (own.learnt, own.threshold)}
        for who, (learnt, at) in models.items():
            logits = setup.model(learnt, at.probability, schema.label).logits(frame)
            showings[who].append(Showing(logits >= at.logit, logits))
    rngs = [generator(setup.config.federation.seed, "models of their own", client=client) for client in clients]
    return [int(name) for name in rule(hold_contest(held_out, showings, comparison.costs, rngs)).worse]


def members_models(
    setup: Setup, trained: Trained, label: str, alone: Mapping[int, Any] | None = None
) -> list[MembersModel]:
    """Return each model with the names of its clients, the one of most clients first.

    Parameters
    ----------
    setup, trained
        The federation and what it learnt.
    label
        Name of what the probability is about.
    alone
        Clients that keep a model of their own, each with the `Contender` of it; none if left out.
    """
    names, alone, alarms = setup.grid.clients(), alone or {}, {} if trained.personal else trained.alarms
    shared = [
        (np.setdiff1d(members, list(alone)), learnt, alarms.get(int(members[0]), trained.threshold))
        for members, learnt in models_apart(trained.learnt, len(names))
    ]
    kept = [(np.array([client]), own.learnt, own.threshold) for client, own in alone.items()]
    groups = sorted((one for one in [*shared, *kept] if len(one[0])), key=lambda one: -len(one[0]))
    return [
        MembersModel(tuple(names[client] for client in members), setup.model(learnt, at.probability, label))
        for members, learnt, at in groups
    ]


def with_clusters(
    result: Mapping[str, Any], trained: Trained, names: Sequence[str], kept: Iterable[int] = ()
) -> dict[str, Any]:
    """Add to the content of result.json who is in which cluster, how many models nobody takes, and who keeps its own.

    Nothing is added where there are no clusters.
    """
    if CLUSTER not in trained.learnt:
        return dict(result)
    apart = models_apart(trained.learnt, len(names))
    members = [[names[client] for client in clients] for clients, _ in apart]
    unused, own = len(trained.learnt["weights"]) - len(apart), [names[client] for client in kept]
    return {**result, "clusters": {"members": members, "unused": unused, "keep_their_own": own}}
