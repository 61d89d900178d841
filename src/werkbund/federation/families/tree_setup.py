"""What the server of a federation of trees is made of, whatever grid reaches its clients."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.arrays import Arrays, Int64Array
from werkbund.core.types import RoundRecord
from werkbund.data import Preparation
from werkbund.engine import Grid, Rules, Stage
from werkbund.federation.families.growing import binning_of, class_weights_of, cohort_of, objective_of, plan_of
from werkbund.federation.preparing import Learnt
from werkbund.federation.wiring import rules_of
from werkbund.model.trees import TreeModel
from werkbund.trees.arithmetic import Ensemble, Terms, TreePlan
from werkbund.trees.protocol.bagging import bagging_rounds
from werkbund.trees.protocol.bins import Agreed, agree_terms
from werkbund.trees.protocol.rounds import evaluate_trees, tree_rounds
from werkbund.trees.protocol.state import TreeState


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
    """

    config: Config
    preparation: Preparation
    mode_names: tuple[str, ...]
    grid: Grid
    rules: Rules
    plan: TreePlan
    terms: Terms
    absent: Mapping[str, str]

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
        """Grow the trees that are left from a state on: together, or where it is so configured each client's own."""
        grow = bagging_rounds if self.config.trees.combine == "bagging" else tree_rounds
        cohort = cohort_of(self.config, self.rules, len(self.grid.clients()))
        for after, record in grow(self.grid, self.plan, self.rules, state, self.num_rounds, cohort):
            yield after, record.round

    def evaluate(self, state: TreeState, clients: Int64Array | None = None) -> RoundRecord:
        """Let clients count the trees: if given, these, one row of counts each; else everybody."""
        return evaluate_trees(self.grid, self.rules, state, None, clients)

    def model(self, learnt: Ensemble, threshold: float, label: str) -> TreeModel:
        """Return these trees as a model that scores raw tables."""
        rules = {name: value for name, value in vars(self.plan.rules).items() if name != "monotone"}
        options = {**rules, "monotone": list(self.plan.rules.monotone), "together": self.plan.together}
        return TreeModel(self.preparation, learnt, self.config.model.kind, threshold, label, options)

    def pack(self, learnt: Ensemble) -> Arrays:
        """Return the trees as named arrays, for a message."""
        return learnt.to_arrays("ensemble.")

    def unpack(self, arrays: Arrays) -> Ensemble:
        """Return the trees in a message.

        Raises
        ------
        ModelError
            If there are none.
        """
        return Ensemble.from_arrays(arrays, "ensemble.")


def tree_server(
    config: Config, learnt: Learnt, mode_names: tuple[str, ...], grid: Grid, start: Stage | None = None
) -> TreeSetup:
    """Wire the server of trees whose clients are elsewhere; the clients agree on bins, unless a state holds them.

    Raises
    ------
    ConfigError, DataError, QuorumError
        If the configuration does not fit, there is nothing to learn from, or too few clients answer.
    """
    plan = plan_of(config, learnt.preparation)
    absent: Mapping[str, str] = {}
    if isinstance(start, TreeState):
        terms = start.terms
    else:
        agreed = agree(config, learnt.preparation, plan, grid)
        terms, absent = agreed.terms, agreed.missing
    config = kept_to_the_end(config, plan)
    rules = rules_for(config, plan, terms, learnt.rows, len(mode_names))
    return TreeSetup(config, learnt.preparation, mode_names, grid, rules, plan, terms, absent)


def kept_to_the_end(config: Config, plan: TreePlan) -> Config:
    """Return the configuration of a forest that keeps all its trees; of boosting as it is.

    A mean of more trees is no worse: to stop where validation rows like it best would follow their chance.
    """
    return changed(config, evaluation={"keep_best": False}) if plan.forest else config


def agree(config: Config, preparation: Preparation, plan: TreePlan, grid: Grid) -> Agreed:
    """Let clients agree on bins, the objective's numbers and scales."""
    section = config.federation
    return agree_terms(
        grid,
        plan,
        objective_of(plan),
        binning_of(config, preparation, len(grid.clients())),
        float(section.round_timeout_s),
        class_weights=class_weights_of(config),
        quorum=float(section.quorum),
    )


def rules_for(config: Config, plan: TreePlan, terms: Terms, sizes: Int64Array, num_modes: int) -> Rules:
    """Return what every round obeys; its fingerprint follows from the terms and from how trees grow."""
    growth = replace(plan, rounds=1)  # a run may be continued for longer
    how = (config.trees.combine, max(config.trees.min_cell_rows, 1))
    inexact = "" if how == ("exact", 1) else f" {how}"
    fingerprint = hashlib.sha256(f"{terms.digest()} {growth}{inexact}".encode()).hexdigest()[:16]
    return rules_of(config, fingerprint, {"rows": sizes}, num_modes)
