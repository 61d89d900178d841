"""Trees grown by one party on its own rows, without a server: the same steps, with nobody to add sums of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from werkbund.core.arrays import Int64Array
from werkbund.trees.arithmetic import Ensemble, Ground, Group, Terms, TreePlan, Trees, advance, begin, ground_of
from werkbund.trees.rows.grove import Grove
from werkbund.trees.rows.table import Standing, TreeTable


def train_trees(
    table: TreeTable, terms: Terms, plan: TreePlan, seed: int, start: Ensemble | None = None
) -> Iterator[Ensemble]:
    """Grow an ensemble on all rows of a table: the pooled model, or one party's own.

    Parameters
    ----------
    table
        The rows.
    terms
        Agreed for at least so many rows.
    plan, seed
        As in a federation; the trees are then the same, bit for bit, as those of clients that share these rows.
    start
        Trees that were grown so before; none if left out.

    Yields
    ------
    ensemble
        After each round.
    """
    standing, everyone = Standing(table), np.arange(table.num_clients)
    standing.agree(terms)
    ensemble = start or terms.nothing()
    standing.learn(everyone, ensemble, "")
    ground, width = ground_of(terms, plan), terms.num_outputs * plan.together
    for round in range(len(ensemble.trees) // width + 1, plan.rounds + 1):
        group = Group.of(seed, round, terms.num_outputs, plan.together)
        grove, trees = _grown(standing, everyone, ground, group)
        if standing.scored:
            grove.settle(standing.sums, trees)
        ensemble = ensemble.with_trees(trees)
        yield ensemble


def grow_alone(standing: Standing, clients: Int64Array, ground: Ground, group: Group) -> Trees:
    """Grow one round's trees on some clients' rows, from the scores that these have."""
    return _grown(standing, clients, ground, group)[1]


def _grown(standing: Standing, clients: Int64Array, ground: Ground, group: Group) -> tuple[Grove, Trees]:
    grove, growth = Grove.plant(standing, clients, group.row_keys), begin(ground, group.outputs, group.keys)
    while not growth.finished:
        grove.follow(growth.trees)
        growth = advance(ground, growth, grove.histograms(growth.asked, group.outputs))
    return grove, growth.trees
