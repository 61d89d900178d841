"""A federation of trees in one process: the server's parts beside all clients' rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.arrays import FloatingArray
from werkbund.core.clients import ClientSplits
from werkbund.data import Preparation, Schema
from werkbund.engine import Grid, InProcessGrid, Worker
from werkbund.federation.families.growing import plan_of
from werkbund.federation.families.simulation import learnt_in_process
from werkbund.federation.families.tree_setup import TreeSetup, agree, kept_to_the_end, rules_for
from werkbund.federation.population import SPLITS, Population, RawTable
from werkbund.trees.arithmetic import Ensemble, logits
from werkbund.trees.protocol.work import TreeWork
from werkbund.trees.rows.table import TreeTable


@dataclass(frozen=True)
class TreeRows:
    """Hold all clients' rows as trees read them: neither scaled nor filled."""

    train: TreeTable
    validation: TreeTable
    test: TreeTable

    def map(self, client: int | None) -> TreeRows:
        """Return the rows of one client; without a number, all rows as one client's."""
        some = (self.train, self.validation, self.test)
        if client is None:
            return TreeRows(*(replace(table, offsets=table.offsets[[0, -1]]) for table in some))
        return TreeRows(*(table.take(np.array([client])) for table in some))

    def work(self, config: Config) -> TreeWork:
        """Return what counts these rows."""
        return TreeWork(self.train, self.validation, self.test, config.trees.min_cell_rows)

    def grid(self, names: tuple[str, ...], config: Config) -> Grid:
        """Return a grid that reaches these clients."""
        return InProcessGrid(names, Worker(self.work(config).handlers()))


@dataclass(frozen=True)
class TreeSimulation(TreeSetup):
    """Hold the parts of a run of trees in process.

    Parameters
    ----------
    prepare
        Gives the clients' rows as networks read them.
    rows
        The same rows as trees read them.
    """

    prepare: Callable[[], ClientSplits]
    rows: TreeRows

    @cached_property
    def splits(self) -> ClientSplits:
        """The clients' rows as networks read them, made when a baseline first needs them."""
        return self.prepare()

    def alone(self, client: int | None) -> TreeSimulation:
        """Return one client as a federation by itself; without a number, all rows in one place.

        It agrees with itself on bins: those of all rows are again the federation's, a plant's are its own.
        """
        rows, names = self.rows.map(client), ("pooled",) if client is None else (self.grid.clients()[client],)
        # Whoever is alone withholds nothing from itself, and always asks itself.
        config = changed(
            self.config, federation={"quorum": 1.0}, trees={"min_cell_rows": 0}, strategy={"selection": {"name": "all"}}
        )
        grid = rows.grid(names, config)
        terms = self.terms
        if len(rows.train.targets):
            terms = agree(config, self.preparation, self.plan, grid).terms
        rules = rules_for(config, self.plan, terms, rows.train.sizes, len(self.mode_names))
        return replace(
            self, config=config, grid=grid, rules=rules, terms=terms, rows=rows, prepare=lambda: self._own(client)
        )

    def _own(self, client: int | None) -> ClientSplits:
        return self.splits.pooled() if client is None else self.splits.only(client)

    def logits(self, learnt: Ensemble) -> FloatingArray:
        """Return the logits of everybody's test rows: (rows,)."""
        return logits(learnt, self.rows.test.features)

    def work(self) -> TreeWork:
        """Return what clients do, with these rows."""
        return self.rows.work(self.config)


def set_up_trees(config: Config, population: Population) -> TreeSimulation:
    """Learn the preparation, agree on bins and scales, and wire grid and worker.

    Raises
    ------
    ConfigError, DataError
        If the configuration does not fit, or there is nothing to learn from.
    """
    return trees_in_process(config, population, learnt_in_process(config, population).preparation)


def trees_in_process(config: Config, population: Population, preparation: Preparation) -> TreeSimulation:
    """Agree on bins and scales, and wire grid and worker of clients that are all here; errors as `set_up_trees`."""
    plan = plan_of(config, preparation)
    config = kept_to_the_end(config, plan)
    rows = TreeRows(*(tree_table(population.splits[split], population.schema, preparation) for split in SPLITS))
    grid = rows.grid(population.names, config)
    terms, modes = agree(config, preparation, plan, grid).terms, population.mode_names
    rules = rules_for(config, plan, terms, rows.train.sizes, len(modes))
    prepare = partial(population.prepared, preparation)
    return TreeSimulation(config, preparation, modes, grid, rules, plan, terms, {}, prepare, rows)


def tree_table(raw: RawTable, schema: Schema, how: Preparation) -> TreeTable:
    """Return what trees read of raw rows."""
    features = np.empty((len(raw.rows), len(how.raw_names)))
    targets = raw.read_into(features, schema, how.raw).astype(np.float64)
    return TreeTable(raw.offsets, features, targets, raw.modes[raw.rows])
