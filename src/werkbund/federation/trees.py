"""A federation of trees in one process: what is agreed beforehand, the grid, and all clients' rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from werkbund.core.clients import ClientSplits
from werkbund.core.types import RoundRecord
from werkbund.data import Preparation, Schema
from werkbund.engine import Grid, InProcessGrid, Rules, Worker
from werkbund.engine.trees import evaluate_trees, tree_rounds
from werkbund.engine.trees_bagging import bagging_rounds
from werkbund.engine.trees_bins import agree_terms
from werkbund.engine.trees_state import TreeState
from werkbund.engine.trees_work import TreeWork
from werkbund.federation.config import changed
from werkbund.federation.growing import binning_of, class_weights_of, objective_of, plan_of
from werkbund.federation.population import SPLITS, Population, RawTable
from werkbund.federation.sections import Config
from werkbund.federation.simulation import learnt_in_process
from werkbund.federation.wiring import rules_of
from werkbund.learner.trees import TreeTable
from werkbund.model.trees import TreeModel
from werkbund.trees import Ensemble, Terms, TreePlan, logits

IntArray = npt.NDArray[np.int64]


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

    def grid(self, names: tuple[str, ...]) -> Grid:
        """Return a grid that reaches these clients."""
        return InProcessGrid(names, Worker(TreeWork(self.train, self.validation, self.test).handlers()))


@dataclass(frozen=True)
class TreeSimulation:
    """Hold the parts of a run of trees in process.

    Parameters
    ----------
    config, preparation, mode_names, grid, rules
        As of any run.
    plan, terms
        How trees grow, and what all clients agreed on.
    splits
        The clients' rows as networks read them, for baselines.
    rows
        The same rows as trees read them.
    """

    config: Config
    preparation: Preparation
    mode_names: tuple[str, ...]
    grid: Grid
    rules: Rules
    plan: TreePlan
    terms: Terms
    splits: ClientSplits
    rows: TreeRows

    @property
    def num_rounds(self) -> int:
        """Rounds that are planned."""
        return self.plan.rounds

    @property
    def num_parameters(self) -> None:
        """Nothing: how many leaves trees have shows when they are grown."""
        return None

    def begin(self) -> TreeState:
        """Return the state before the first tree."""
        return TreeState.begin(self.terms)

    def rounds(self, state: TreeState) -> Iterator[tuple[TreeState, RoundRecord]]:
        """Grow the trees that are left from a state on, of all rows or, where so configured, each client's own."""
        grow = bagging_rounds if self.config.trees.combine == "bagging" else tree_rounds
        for after, record in grow(self.grid, self.plan, self.rules, state, self.num_rounds):
            yield after, record.round

    def evaluate(self, state: TreeState, clients: IntArray | None = None) -> RoundRecord:
        """Let clients count the trees: if given, these, one row of counts each; else everybody."""
        return evaluate_trees(self.grid, self.rules, state, None, clients)

    def model(self, learnt: Ensemble, threshold: float, label: str) -> TreeModel:
        """Return these trees as a model that scores raw tables."""
        rules = {name: value for name, value in vars(self.plan.rules).items() if name != "monotone"}
        options = {**rules, "monotone": list(self.plan.rules.monotone), "together": self.plan.together}
        return TreeModel(self.preparation, learnt, self.config.model.kind, threshold, label, options)

    def alone(self, client: int | None) -> TreeSimulation:
        """Return one client as a federation by itself; without a number, all rows in one place.

        It agrees with itself on bins: those of all rows are again the federation's, a plant's are its own.
        """
        splits = self.splits.pooled() if client is None else self.splits.only(client)
        config, rows = changed(self.config, federation={"quorum": 1.0}), self.rows.map(client)
        grid = rows.grid(splits.train.names)
        terms = _agreed(config, self.preparation, self.plan, grid) if len(rows.train.targets) else self.terms
        rules = _rules(config, self.plan, terms, rows.train.sizes, len(self.mode_names))
        return replace(self, config=config, grid=grid, rules=rules, terms=terms, splits=splits, rows=rows)

    def logits(self, learnt: Ensemble) -> npt.NDArray[np.floating[Any]]:
        """Return the logits of everybody's test rows: (rows,)."""
        return logits(learnt, self.rows.test.features)


def set_up_trees(config: Config, population: Population) -> TreeSimulation:
    """Learn the preparation, agree on bins and scales, and wire grid and worker.

    Raises
    ------
    ConfigError, DataError
        If the configuration does not fit, or there is nothing to learn from.
    """
    preparation = learnt_in_process(config, population).preparation
    plan = plan_of(config, preparation)
    if plan.forest:  # a mean of more trees is no worse: to stop where validation rows like it best follows their chance
        config = changed(config, evaluation={"keep_best": False})
    rows = TreeRows(*(tree_table(population.splits[split], population.schema, preparation) for split in SPLITS))
    grid = rows.grid(population.names)
    terms = _agreed(config, preparation, plan, grid)
    modes = population.mode_names
    rules = _rules(config, plan, terms, rows.train.sizes, len(modes))
    splits = population.prepared(preparation)
    return TreeSimulation(config, preparation, modes, grid, rules, plan, terms, splits, rows)


def tree_table(raw: RawTable, schema: Schema, how: Preparation) -> TreeTable:
    """Return what trees read of raw rows."""
    features = np.empty((len(raw.rows), len(how.raw_names)))
    targets = raw.read_into(features, schema, how.raw).astype(np.float64)
    return TreeTable(raw.offsets, features, targets, raw.modes[raw.rows])


def _agreed(config: Config, preparation: Preparation, plan: TreePlan, grid: Grid) -> Terms:
    section = config.federation
    return agree_terms(
        grid,
        plan,
        objective_of(plan),
        binning_of(config, preparation),
        float(section.round_timeout_s),
        class_weights=class_weights_of(config),
        quorum=float(section.quorum),
    ).terms


def _rules(config: Config, plan: TreePlan, terms: Terms, sizes: IntArray, num_modes: int) -> Rules:
    growth = replace(plan, rounds=1)  # a run may be continued for longer
    combined = "" if config.trees.combine == "exact" else f" {config.trees.combine}"
    fingerprint = hashlib.sha256(f"{terms.digest()} {growth}{combined}".encode()).hexdigest()[:16]
    return rules_of(config, fingerprint, {"rows": sizes}, num_modes)
