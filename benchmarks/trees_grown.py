"""Federations of trees on arrays, in process: agree, grow, and keep account of time, messages and bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.engine import InProcessGrid, Rules, Worker
from werkbund.trees.arithmetic import Ensemble, ObjectiveKind, TreePlan
from werkbund.trees.protocol.bins import Binning, agree_terms
from werkbund.trees.protocol.rounds import tree_rounds
from werkbund.trees.protocol.state import TreeRecord, TreeState
from werkbund.trees.protocol.work import TreeWork
from werkbund.trees.rows.table import TreeTable

RULES = Rules(seed=1, quorum=1.0, timeout_s=3600.0, fingerprint="")


@dataclass(frozen=True)
class Grown:
    """Hold trees, and what they took.

    Parameters
    ----------
    ensemble
        The trees.
    bins_s, trees_s
        Seconds until everything was agreed on, and from there to the last tree.
    records
        One a round.
    """

    ensemble: Ensemble
    bins_s: float
    trees_s: float
    records: list[TreeRecord] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.bins_s + self.trees_s


def grow(
    table: TreeTable,
    plan: TreePlan,
    kind: ObjectiveKind,
    num_classes: int = 2,
    clock: Callable[[], float] = time.perf_counter,
    min_rows: int = 0,
) -> Grown:
    """Let the clients of a table, whose features are all numbers, agree on bins and grow all trees.

    Cells with fewer than `min_rows` rows of one client stay there.
    """
    none = table.take(np.empty(0, np.int64))
    nothing = TreeTable.build(none.features, none.targets, np.zeros(table.num_clients + 1, np.int64))
    names = [f"plant {i + 1}" for i in range(table.num_clients)]
    grid = InProcessGrid(names, Worker(TreeWork(table, nothing, min_rows=min_rows).handlers()))
    began = clock()
    binning = Binning([0] * table.features.shape[1])
    terms = agree_terms(grid, plan, kind, binning, RULES.timeout_s, num_classes).terms
    agreed = clock()
    done = list(tree_rounds(grid, plan, RULES, TreeState.begin(terms), plan.rounds, evaluate=False))
    return Grown(done[-1][0].ensemble, agreed - began, clock() - agreed, [record for _, record in done])


def divided(x: Float64Array, y: Float64Array, owner: Int64Array, clients: int) -> TreeTable:
    """Return rows as those of clients, whose numbers `owner` holds: (rows,)."""
    order = np.argsort(owner, kind="stable")
    ends = np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=clients))))
    return TreeTable.build(x[order], y[order], ends)
