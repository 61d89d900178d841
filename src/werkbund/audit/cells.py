"""What cells of trees tell: rows, by the bin of each feature; and the share of failures, which is asked for as such."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import ClassVar

import numpy as np

from werkbund.audit.contract import AttackCard, Reached, without_promise
from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.arrays import Int64Array
from werkbund.core.store import Store
from werkbund.core.types import Replies, Tasks
from werkbund.engine import InProcessGrid, Worker
from werkbund.federation.families.trees import TreeSetup, simulate_trees
from werkbund.partition.population import Population
from werkbund.trees.arithmetic import Trees
from werkbund.trees.arithmetic.ensemble import LEAF
from werkbund.trees.protocol.kinds import TREE_LEVEL

_ROWS = 2
"""Place of the number of rows among the three numbers of a cell."""

LEAST = 5
"""Rows below which a cell stays at its plant, where that is tried as a protection."""

Bins = tuple[int, ...]


@dataclass
class _Watched:
    """Keep what a server of trees receives of each plant.

    Parameters
    ----------
    setup
        The server's parts of the run.
    true
        Of each plant, the bins of all features of each of its training rows.
    asked
        Each question about nodes, and the rows in each cell of each plant: (plants, cells).
    """

    setup: TreeSetup
    true: list[set[Bins]]
    asked: list[tuple[Tasks, Int64Array]] = field(default_factory=list)

    @classmethod
    def at(cls, config: Config, population: Population) -> _Watched:
        """Set up a run of trees whose answers about nodes are kept."""
        simulation = simulate_trees(without_promise(config), population)
        train, handlers = simulation.rows.train, dict(simulation.work().handlers())
        codes, level = simulation.terms.edges.encode(train.features), handlers[TREE_LEVEL]
        places = [train.rows(np.array([client])) for client in range(train.num_clients)]
        watched = cls(simulation.server, [{tuple(map(int, row)) for row in codes[rows]} for rows in places])

        def watching(tasks: Tasks, store: Store) -> Replies:
            each = [level(tasks.take(slice(place, place + 1)), store) for place in range(len(tasks))]
            cells = [reply.figures["histograms"][0, :, _ROWS] for reply in each]  # a plant sends its own answer
            watched.asked.append((tasks, np.stack(cells)))
            return level(tasks, store)

        grid = InProcessGrid(simulation.names, Worker({**handlers, TREE_LEVEL: watching}))
        watched.setup = replace(simulation.server, grid=grid)
        return watched

    def told(self, in_sum: bool = False) -> set[tuple[int, Bins]]:
        """Return (plant, bins) of the rows that are told, and true; number 0 where plants are added up."""
        true = [set().union(*self.true)] if in_sum else self.true
        return {(plant, bins) for plant, bins in self._alone(in_sum) if bins in true[plant]}

    def _alone(self, in_sum: bool) -> Iterator[tuple[int, Bins]]:
        """Yield (plant, bins) of each node that holds one row of the plant alone."""
        sizes = self.setup.terms.edges.sizes
        known: dict[int, Int64Array] = {}
        for tasks, rows in self.asked:
            nodes, trees = np.asarray(tasks.shared["asked"], np.int64), Trees.from_arrays(tasks.shared, "grown.")
            if "features" in tasks.shared:  # each node of some features alone
                continue
            known = {} if (nodes[:, None] == trees.roots).all(axis=0).any() else known
            counts = rows.sum(axis=0, keepdims=True) if in_sum else rows
            asked = dict(zip(nodes.tolist(), np.split(counts, len(nodes), axis=1), strict=True))
            known |= asked
            new = asked | _siblings(trees, asked, known)
            known |= new
            for cells in new.values():
                yield from ((plant, bins) for plant, own in enumerate(cells) for bins in _single(own, sizes))


@dataclass(frozen=True)
class RowsOfCells:
    """Tell rows by nodes in which a plant has one row alone: there each feature has one cell that is not empty.

    Nodes that are not asked for follow from those above them by subtraction.

    Parameters
    ----------
    trees
        How many of the run's trees are looked at.
    """

    trees: int = 10

    card: ClassVar[AttackCard] = AttackCard(
        "rows of cells", "the server", "answers about nodes of the first ten trees, as they come", "by calculation"
    )

    def play(self, config: Config, population: Population) -> Iterator[Reached]:
        """Yield what it comes to against each protection; the error is the share of rows that were not told."""
        rows = len(population.splits["train"].rows)
        seen = self.seen(config, population)
        yield self._finding("none", len(seen.told()), rows)
        sums = "secure sums" if config.privacy.secure_sums else "sums alone, if they were on"
        yield self._finding(sums, len(seen.told(in_sum=True)), rows, ", and not of which plant they are")
        least = changed(config, trees={"min_cell_rows": max(LEAST, config.trees.min_cell_rows)})
        yield self._finding(f"cells of {LEAST} rows or more", len(self.seen(least, population).told()), rows)

    def seen(self, config: Config, population: Population) -> _Watched:
        """Return what a server receives while the first trees grow."""
        seen = _Watched.at(config, population)
        for _ in islice(seen.setup.begin().rounds(), self.trees):
            pass
        return seen

    def _finding(self, protection: str, told: int, rows: int, more: str = "") -> Reached:
        says = f"{told} of {rows} rows told by the bins of all features{more}"
        return Reached(self.card, protection, says, error=1 - told / rows)


def _siblings(trees: Trees, asked: Mapping[int, Int64Array], known: Mapping[int, Int64Array]) -> dict[int, Int64Array]:
    """Return the cells of nodes beside those asked, which are what is left of the node above."""
    found = {}
    for node, cells in asked.items():
        for above in np.flatnonzero((trees.left == node) | (trees.left == node - 1)).tolist():
            other = int(trees.left[above]) * 2 + 1 - node
            if trees.feature[above] != LEAF and above in known and other not in asked:
                found[other] = known[above] - cells
    return found


def _single(cells: Int64Array, sizes: Int64Array) -> Iterator[Bins]:
    """Yield the bins of the row of a node, (cells,), that holds but one."""
    parts = np.split(cells, np.cumsum(sizes)[:-1])
    if all(part.sum() == 1 and part.max() == 1 for part in parts):
        yield tuple(int(np.argmax(part)) for part in parts)
