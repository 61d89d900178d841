"""A federation of trees in process, for tests: rows of a table divided anyhow, and a worker that can fail or forget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.conftest import Doing
from werkbund.core import ClientError, Replies, Tasks
from werkbund.core.arrays import AnyArray, Float64Array
from werkbund.engine import InProcessGrid, Rules, Worker
from werkbund.trees.arithmetic import ObjectiveKind, TreePlan
from werkbund.trees.protocol.bins import Agreed, Binning, agree_terms
from werkbund.trees.protocol.rounds import tree_rounds
from werkbund.trees.protocol.state import TreeRecord, TreeState
from werkbund.trees.protocol.work import TreeWork
from werkbund.trees.rows.table import TreeTable

RULES = Rules(seed=1, quorum=0.5, timeout_s=60.0, fingerprint="")
LEVELS = (0, 0, 0, 4)


def rows(n: int, seed: int = 0) -> tuple[Float64Array, Float64Array]:
    """Draw rows of three numbers and a category, some values missing, and a score that they explain in part."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    x[:, 1] = np.round(x[:, 1], 1)
    x[:, 3] = rng.integers(0, 4, n)
    score = x[:, 0] * 2 + np.sin(3 * x[:, 1]) + np.array([0.0, 2.0, 0.5, -1.0])[x[:, 3].astype(int)]
    score += rng.normal(size=n) * 0.5
    x[rng.random(x.shape) < 0.08] = np.nan
    return x, score


@dataclass
class TreeFederation:
    """Hold clients that share a table, and what a test does to their work.

    Parameters
    ----------
    table
        The rows.
    work
        Of all clients.
    alone
        Each client answers for itself, as at a plant.
    before
        Called with every question before it is answered; may raise.
    seen
        All questions, in order.
    """

    table: TreeTable
    work: TreeWork
    alone: bool = False
    before: Callable[[Tasks], None] | None = None
    seen: list[Tasks] = field(default_factory=list)

    @classmethod
    def of(cls, table: TreeTable, validation: TreeTable | None = None, **how: Any) -> TreeFederation:
        work = TreeWork(table, validation or table, min_rows=how.pop("min_rows", 0))
        return cls(table, work, **how)

    @property
    def grid(self) -> InProcessGrid:
        return InProcessGrid([f"plant {i}" for i in range(self.table.num_clients)], Doing(self._answer))

    def _answer(self, tasks: Tasks) -> Replies:
        if self.alone and len(tasks) > 1:
            raise ClientError("one by one")
        self.seen.append(tasks)
        if self.before:
            self.before(tasks)
        return Worker(self.work.handlers())(tasks)

    def agree(self, plan: TreePlan, kind: ObjectiveKind, num_classes: int = 2, **how: Any) -> Agreed:
        levels = how.pop("levels", LEVELS)
        binning = Binning(levels, **how.pop("binning", {}))
        return agree_terms(self.grid, plan, kind, binning, 60.0, num_classes, **how)

    def grow(self, plan: TreePlan, state: TreeState, last: int | None = None, **how: Any) -> list[Any]:
        rules = how.pop("rules", RULES)
        return list(tree_rounds(self.grid, plan, rules, state, plan.rounds if last is None else last, **how))


def run(
    table: TreeTable, plan: TreePlan, kind: ObjectiveKind, num_classes: int = 2, **how: Any
) -> tuple[Any, list[TreeRecord]]:
    """Agree, grow, and return the last state and all records."""
    federation = TreeFederation.of(table, **how)
    agreed = federation.agree(plan, kind, num_classes)
    found = federation.grow(plan, TreeState.begin(agreed.terms))
    return found[-1][0], [record for _, record in found]


def divided(x: AnyArray, y: AnyArray, owner: Sequence[int] | AnyArray, clients: int) -> TreeTable:
    """Return the same rows as those of clients."""
    order = np.argsort(owner, kind="stable")
    ends = np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=clients))))
    return TreeTable.build(x[order], y[order], ends)
