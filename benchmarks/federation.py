"""Werkbund's rows: the engine's own round over clients in process."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.rows import Outcome, Row
from benchmarks.workload import Workload
from werkbund.aggregation import Aggregator, FedAvg, Scaffold
from werkbund.aggregation.contract import half_of
from werkbund.core.types import RoundRecord
from werkbund.engine import Grid, InProcessGrid, LocalWork, Rules, RunState, Strategy, Worker, evaluate, one_round
from werkbund.learner import CohortTrainer
from werkbund.selection import Everyone, Selector


@dataclass(frozen=True)
class Federation:
    """Hold the parts of a run in process."""

    grid: Grid
    strategy: Strategy
    rules: Rules
    state: RunState
    num_rows: int

    @staticmethod
    def build(
        workload: Workload,
        compiled: bool = True,
        selector: Selector | None = None,
        rule: Aggregator | None = None,
    ) -> Federation:
        """Build the parts; `compiled` as in `CohortTrainer`, everybody trains unless a selector says otherwise."""
        network, splits = workload.network(), workload.splits
        trainer = CohortTrainer(network, workload.plan, workload.num_features, compiled=compiled)
        rule = rule or FedAvg(momentum=0.0)
        strategy = Strategy(selector or Everyone(), rule)
        work = LocalWork(splits, trainer, rule.weighting, half_of(rule), rule.folds)
        grid = InProcessGrid(splits.train.names, Worker(work.handlers()))
        evaluators = workload.num_clients if selector is None else 1
        facts = {"rows": splits.train.sizes}
        rules = Rules(workload.seed, 1.0, 3600.0, trainer.layout.fingerprint, evaluators, facts)
        return Federation(grid, strategy, rules, RunState.begin(workload.start(), strategy), len(splits.test.labels))

    def run(self, num_rounds: int) -> Outcome:
        """Do rounds from the first weights.

        A round of the engine scores the weights that come in and then trains, so each timed round holds one scoring
        and one training of every client. The scoring after the last round, which gives the loss, stands in for the
        one of the first weights and is not timed again.
        """
        state, seconds = self.state, []
        for _ in range(num_rounds):
            began = time.perf_counter()
            state, _ = one_round(self.grid, self.strategy, self.rules, state)
            seconds.append(time.perf_counter() - began)
        return Outcome(tuple(seconds), self._loss(evaluate(self.grid, self.rules, state)))

    def _loss(self, record: RoundRecord) -> float:
        return float(record.counts["test"]["log_loss"].sum()) / self.num_rows


def werkbund_rows(workload: Workload) -> list[Row]:
    """Return the row of the shipped network and that of a user's own module."""
    return [
        Row("werkbund", "Werkbund", Federation.build(workload).run),
        Row(
            "werkbund_general",
            "Werkbund, general path",
            Federation.build(workload, compiled=False).run,
            note="any torch module: all clients batched by torch.func",
        ),
    ]


def scaffold_row(workload: Workload) -> Row:
    """Return the row of SCAFFOLD, whose clients take as many steps, and keep a control variate each."""
    run = Federation.build(workload, rule=Scaffold()).run
    return Row("scaffold", "Werkbund, SCAFFOLD", run, same_work=False, note="1.6 times Werkbund at most")
