"""A run of trees: the server's parts, whatever grid reaches the clients, and a federation in one process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.arrays import Arrays, Float64Array, FloatingArray, Int64Array
from werkbund.core.clients import ClientSplits
from werkbund.core.target import NumberTarget, Target
from werkbund.data import Preparation, Schema
from werkbund.engine import Checkpoint, Grid, Rules, grid_in_process
from werkbund.federation.families.tree_plan import binning_of, class_weights_of, cohort_of, objective_of, plan_of
from werkbund.federation.preparing import CommonPreparation, learn_in_process
from werkbund.federation.wiring import rules_of, sums_of
from werkbund.model.trees import TreeModel
from werkbund.partition.population import Population, RawTable
from werkbund.partition.split import SPLITS
from werkbund.trees.arithmetic import Ensemble, Terms, TreePlan, logits
from werkbund.trees.protocol.bins import Agreed, agree_terms
from werkbund.trees.protocol.rounds import TREES, TreeStage
from werkbund.trees.protocol.state import TreeState
from werkbund.trees.protocol.work import TreeWork
from werkbund.trees.rows.table import TreeTable


@dataclass(frozen=True)
class TreeSetup:
    """Hold the server's parts of a run of trees.

    Parameters
    ----------
    config, preparation, mode_names, grid, rules
        As of any run.
    plan, terms
        How trees grow, and what all clients agreed on.
    absent
        Why each client that had no part in that agreement is missing, by name.
    target
        What is foretold.
    """

    config: Config
    preparation: Preparation
    mode_names: tuple[str, ...]
    grid: Grid
    rules: Rules
    plan: TreePlan
    terms: Terms
    absent: Mapping[str, str]
    target: Target

    @property
    def num_rounds(self) -> int:
        """Rounds that are planned."""
        return self.plan.rounds

    @property
    def num_parameters(self) -> None:
        """None: how many leaves trees have shows only when they are grown."""
        return None

    def begin(self) -> TreeStage:
        """Return the stage before the first tree."""
        return self._stage(TreeState.begin(self.terms))

    def restore(self, checkpoint: Checkpoint) -> TreeStage:
        """Return the stage that a checkpoint was made of."""
        return self._stage(TreeState.of_checkpoint(checkpoint))

    def _stage(self, state: TreeState) -> TreeStage:
        cohort = cohort_of(self.config, self.rules, len(self.grid.clients()))
        is_united = self.config.trees.combine == "bagging"
        return TreeStage(self.grid, self.plan, self.rules, self.num_rounds, is_united, cohort, state)

    def model(self, learnt: Arrays, threshold: float, label: str) -> TreeModel:
        """Return these trees as a model that scores raw tables."""
        return _model(self.config, self.preparation, self.plan, learnt, threshold, label, self.target)


def trees_in(learnt: Arrays) -> Ensemble:
    """Return the trees among named arrays.

    Raises
    ------
    ModelError
        If there are none.
    """
    return Ensemble.from_arrays(learnt, TREES)


def tree_server(
    config: Config,
    common: CommonPreparation,
    mode_names: tuple[str, ...],
    grid: Grid,
    start: Checkpoint | None,
    target: Target,
) -> TreeSetup:
    """Wire the server of trees whose clients are elsewhere; the clients agree on bins, unless a checkpoint holds them.

    Raises
    ------
    ConfigError
        If an option does not belong to the kind of trees, or names a feature that is not there.
    DataError
        If no client has training rows.
    QuorumError
        If too few clients answer when they agree on bins.
    """
    plan = plan_of(config, common.preparation)
    absent: Mapping[str, str] = {}
    if start is None:
        agreed = agree(config, common.preparation, plan, grid, target, common.counted)
        terms, absent = agreed.terms, agreed.missing
    else:
        terms = TreeState.of_checkpoint(start).terms
    config = kept_to_the_end(config, plan)
    rules = rules_for(config, plan, terms, common.rows, len(mode_names), target)
    rules = common.held_to_its_word(rules, grid.clients())
    return TreeSetup(config, common.preparation, mode_names, grid, rules, plan, terms, absent, target)


def kept_to_the_end(config: Config, plan: TreePlan) -> Config:
    """Return the configuration of a forest that keeps all its trees; of boosting as it is.

    A mean of more trees is no worse: to stop where validation rows like it best would follow their chance.
    """
    return changed(config, evaluation={"keep_best": False}) if plan.forest else config


def agree(
    config: Config,
    preparation: Preparation,
    plan: TreePlan,
    grid: Grid,
    target: Target,
    training_rows: Float64Array | None = None,
) -> Agreed:
    """Let clients agree on bins, the objective's numbers and scales, held to the training rows that they said."""
    section = config.federation
    return agree_terms(
        grid,
        plan,
        objective_of(plan, target),
        binning_of(config, preparation, len(grid.clients())),
        float(section.round_timeout_s),
        class_weights=class_weights_of(config),
        quorum=float(section.quorum),
        training_rows=training_rows,
        secure_sums=config.privacy.secure_sums,
    )


def rules_for(config: Config, plan: TreePlan, terms: Terms, sizes: Int64Array, num_modes: int, target: Target) -> Rules:
    """Return what every round obeys; its fingerprint follows from the terms and from how trees grow."""
    growth = replace(plan, rounds=1)  # a run may be continued for longer
    how = (config.trees.combine, max(config.trees.min_cell_rows, 1))
    inexact = "" if how == ("exact", 1) else f" {how}"
    fingerprint = hashlib.sha256(f"{terms.digest()} {growth}{inexact}".encode()).hexdigest()[:16]
    return rules_of(config, fingerprint, {"rows": sizes}, num_modes, target)


@dataclass(frozen=True)
class TreeRows:
    """Hold all clients' rows as trees read them: neither scaled nor filled."""

    train: TreeTable
    validation: TreeTable
    test: TreeTable

    def of_client(self, client: int | None) -> TreeRows:
        """Return the rows of one client; without a number, all rows as one client's."""
        tables = (self.train, self.validation, self.test)
        if client is None:
            return TreeRows(*(replace(table, offsets=table.offsets[[0, -1]]) for table in tables))
        return TreeRows(*(table.take(np.array([client])) for table in tables))

    def work(self, config: Config, plan: TreePlan) -> TreeWork:
        """Return what clients do for trees that grow by this plan, with these rows."""
        draws = (plan.rules.row_share, plan.rules.bootstrap)
        return TreeWork(self.train, self.validation, self.test, config.trees.min_cell_rows, draws)


@dataclass(frozen=True)
class TreeSimulation:
    """Hold a run of trees in process: the clients' rows, and the server's parts as soon as somebody needs them.

    Parameters
    ----------
    config, preparation, mode_names
        As of any run.
    names
        Of the clients.
    plan
        How trees grow.
    prepare
        Gives the clients' rows as networks read them.
    rows
        The same rows as trees read them.
    known_terms
        What was agreed before; without it the clients agree when the server's parts are first needed.
    """

    config: Config
    preparation: Preparation
    mode_names: tuple[str, ...]
    names: tuple[str, ...]
    plan: TreePlan
    prepare: Callable[[], ClientSplits]
    rows: TreeRows
    known_terms: Terms | None = None

    @cached_property
    def splits(self) -> ClientSplits:
        """The clients' rows as networks read them, made when a baseline first needs them."""
        return self.prepare()

    @cached_property
    def grid(self) -> Grid:
        """The grid that reaches the clients."""
        rows = [table.sizes for table in (self.rows.train, self.rows.validation, self.rows.test)]
        return grid_in_process(self.names, self.work().handlers(), sums_of(self.config, rows))

    @cached_property
    def server(self) -> TreeSetup:
        """The server's parts; the clients agree on bins and scales, unless that is known."""
        config, preparation, plan, grid, target = self.config, self.preparation, self.plan, self.grid, self.target
        terms = self.known_terms or agree(config, preparation, plan, grid, target).terms
        rules = rules_for(config, plan, terms, self.rows.train.sizes, len(self.mode_names), target)
        return TreeSetup(config, preparation, self.mode_names, grid, rules, plan, terms, {}, target)

    @property
    def target(self) -> Target:
        """What is foretold."""
        return self.rows.train.target

    @property
    def terms(self) -> Terms:
        """What all clients agreed on."""
        return self.server.terms

    @property
    def rules(self) -> Rules:
        """What every round obeys."""
        return self.server.rules

    @property
    def num_rounds(self) -> int:
        """Rounds that are planned."""
        return self.plan.rounds

    @property
    def num_parameters(self) -> None:
        """None: how many leaves trees have shows only when they are grown."""
        return None

    @property
    def absent(self) -> Mapping[str, str]:
        """Nobody: all clients are here."""
        return {}

    def begin(self) -> TreeStage:
        """Return the stage before the first tree."""
        return self.server.begin()

    def restore(self, checkpoint: Checkpoint) -> TreeStage:
        """Return the stage that a checkpoint was made of."""
        return self.server.restore(checkpoint)

    def model(self, learnt: Arrays, threshold: float, label: str) -> TreeModel:
        """Return these trees as a model that scores raw tables."""
        return _model(self.config, self.preparation, self.plan, learnt, threshold, label, self.target)

    def agreed(self) -> TreeSimulation:
        """Return these parts with what the clients agree on now; errors as `agree`."""
        return replace(self, known_terms=self.terms)

    def alone(self, client: int | None) -> TreeSimulation:
        """Return one client as a federation by itself; without a number, all rows in one place.

        It agrees with itself on bins: those of all rows are again the federation's, a plant's are its own.
        """
        rows, names = self.rows.of_client(client), ("pooled",) if client is None else (self.names[client],)
        # Whoever is alone withholds and hides nothing from itself, and always asks itself.
        asked: Mapping[str, Any] = {"federation": {"quorum": 1.0}, "strategy": {"selection": {"name": "all"}}}
        config = changed(self.config, trees={"min_cell_rows": 0}, privacy={"secure_sums": False}, **asked)
        known = None if len(rows.train.targets) else self.terms
        by_itself = replace(
            self, config=config, names=names, rows=rows, prepare=lambda: self._own(client), known_terms=known
        )
        return by_itself.agreed()

    def _own(self, client: int | None) -> ClientSplits:
        return self.splits.pooled() if client is None else self.splits.only(client)

    def logits(self, learnt: Arrays) -> FloatingArray:
        """Return the logits of everybody's test rows: (rows,)."""
        shares = not isinstance(self.target, NumberTarget)
        return logits(trees_in(learnt), self.rows.test.features, shares)

    def work(self, numbers: Int64Array | None = None) -> TreeWork:
        """Return what clients do for trees, with the rows that are here; sums of trees pass no layer, so far."""
        del numbers
        return self.rows.work(self.config, self.plan)


def simulate_trees(config: Config, population: Population) -> TreeSimulation:
    """Learn the preparation, agree on bins and scales, and wire grid and worker.

    Raises
    ------
    ConfigError
        If an option does not belong to the kind of trees, or names a feature that is not there.
    DataError
        If no client has training rows.
    """
    preparation = learn_in_process(config, population).preparation
    return simulate_prepared_trees(config, population, preparation).agreed()


def simulate_prepared_trees(config: Config, population: Population, preparation: Preparation) -> TreeSimulation:
    """Wire grid and worker of clients that are all here; they agree on bins when trees are first to be grown.

    Raises
    ------
    ConfigError
        If an option does not belong to the kind of trees, or names a feature that is not there.
    """
    plan = plan_of(config, preparation)
    return TreeSimulation(
        config=kept_to_the_end(config, plan),
        preparation=preparation,
        mode_names=population.mode_names,
        names=population.names,
        plan=plan,
        prepare=partial(population.prepared, preparation),
        rows=TreeRows(*(tree_table(population.splits[split], population.schema, preparation) for split in SPLITS)),
    )


def _model(
    config: Config,
    preparation: Preparation,
    plan: TreePlan,
    learnt: Arrays,
    threshold: float,
    label: str,
    target: Target,
) -> TreeModel:
    rules = {name: value for name, value in vars(plan.rules).items() if name != "monotone"}
    options = {**rules, "monotone": list(plan.rules.monotone), "together": plan.together}
    return TreeModel(preparation, trees_in(learnt), config.model.kind, threshold, label, options, target)


def tree_table(raw: RawTable, schema: Schema, how: Preparation) -> TreeTable:
    """Return raw rows as trees read them: features in double, (rows, features), missing values as NaN."""
    features = np.empty((len(raw.rows), len(how.raw_names)))
    labels, risks = raw.read_into(features, schema, how.raw)
    targets = risks if isinstance(schema.target, NumberTarget) else labels.astype(np.float64)
    return TreeTable(raw.offsets, features, targets, raw.modes[raw.rows], schema.target)
