"""One run of a bench: train with one selector on one division of the data, and note what it reached and took."""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from werkbund.bench.plan import SETTINGS, WINDOW, Case
from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.arrays import Float64Array
from werkbund.core.errors import FederationError
from werkbund.core.types import RoundRecord
from werkbund.evaluation import LearningCurve, Metrics, jain_index, per_client, values_of
from werkbund.federation.comparison import federated_only
from werkbund.federation.families.networks import NetworkSimulation, in_world, simulate_network, with_strategy
from werkbund.federation.population import divide
from werkbund.federation.stopping import Tally
from werkbund.federation.tables import read_table
from werkbund.federation.training import Outlets, Trained, train
from werkbund.federation.wiring import costs_of

SCORE = "average_precision"
"""The metric on the test rows that selectors are compared by."""

_WORST = 0.1

_own: list[Bench] = []
"""What a worker process keeps between runs."""


@dataclass(frozen=True)
class Outcome:
    """Hold what one run reached and took.

    Parameters
    ----------
    case
        Which run.
    figures
        `average_precision` on the test rows of all clients, mean of the last rounds; `worst_average_precision` and
        `worst_log_loss`, means over the worst tenth of the clients (at least one) whose rows define it; `jain`: how
        evenly clients took part; `never`: how many never did; `contacts`: clients that were asked or trained, a round;
        `cohort`; `rounds`; `failures`; `simulated_seconds`; `joules`; `bytes`, without those of mere evaluation;
        `seconds` of this machine.
    course
        How the score went, and what it cost.
    error
        Why it ended before its time; empty if it did not.
    """

    case: Case
    figures: Mapping[str, float] = field(default_factory=dict)
    course: LearningCurve | None = None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as values that JSON can hold."""
        course = {} if self.course is None else {name: _short(values) for name, values in vars(self.course).items()}
        return {"trial": vars(self.case), "figures": dict(self.figures), "course": course, "error": self.error}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Outcome:
        """Return what `to_json` gave."""
        course = {name: np.array(values, dtype=np.float64) for name, values in written["course"].items()}
        figures = {name: math.nan if value is None else float(value) for name, value in written["figures"].items()}
        return cls(Case(**written["trial"]), figures, LearningCurve(**course) if course else None, written["error"])


class Bench:
    """Do the runs of a bench, and keep the data of the last one: neighbours share them.

    Parameters
    ----------
    base
        The configuration that all runs share.
    """

    def __init__(self, base: Config) -> None:
        self._base = base
        self._table = read_table(base)
        self._ground: tuple[tuple[str, int], NetworkSimulation] | None = None

    def run(self, case: Case) -> Outcome:
        """Do one run; one that fails is an outcome too."""
        began = time.perf_counter()
        log = RoundLog()
        try:
            simulation = self._with_selector(case)
            trained = train(simulation, None, Outlets(note=log))
        except FederationError as error:
            return Outcome(case, {}, log.learning_curve() if log.records else None, str(error))
        figures = {**log.figures(len(simulation.grid.clients())), **_scores(simulation, trained)}
        figures[SCORE] = log.learning_curve().final(WINDOW)
        return Outcome(case, {**figures, "seconds": time.perf_counter() - began}, log.learning_curve())

    def _with_selector(self, case: Case) -> NetworkSimulation:
        key = (case.setting, case.seed)
        if self._ground is None or self._ground[0] != key:
            config = changed(self._base, federation={"seed": case.seed}, clients=dict(SETTINGS[case.setting].clients))
            self._ground = key, simulate_network(config, divide(self._table, config).population)
        chosen = {"name": case.selector, "count": case.count, "options": {}}
        if self._base.strategy.selection.name == case.selector:
            chosen["options"] = self._base.strategy.selection.options
        simulation = self._ground[1]
        config = changed(simulation.config, strategy={"selection": chosen})
        return in_world(with_strategy(simulation, config), config.world)


class RoundLog:
    """Keep of each round what a bench judges by; called with each record and its metrics."""

    def __init__(self) -> None:
        self.records: list[RoundRecord] = []
        self._points: list[tuple[int, float, Tally]] = []
        self._spent = Tally()

    def __call__(self, record: RoundRecord, scores: Mapping[str, Metrics]) -> None:
        """Take in a round; its scores are of the weights before it."""
        score = getattr(scores["test"], SCORE) if "test" in scores else math.nan
        self._points.append((record.scored, score, self._spent))
        learning = replace(record, bytes_down=record.bytes_down - record.bytes_measuring)
        self._spent = self._spent.and_round(learning)
        if record.cohort:
            self.records.append(record)

    def learning_curve(self) -> LearningCurve:
        """Return the score of the weights after each round, and what had been spent until then."""
        spent = [spent for _, _, spent in self._points]
        columns = (
            [round for round, _, _ in self._points],
            [score for _, score, _ in self._points],
            [tally.simulated_seconds for tally in spent],
            [tally.joules for tally in spent],
            [tally.bytes for tally in spent],
        )
        return LearningCurve(*(np.array(column, dtype=np.float64) for column in columns))

    def figures(self, num_clients: int) -> dict[str, float]:
        """Return who took part and what was spent."""
        turns = Counter(client for record in self.records for client in record.cohort)
        asked = [len({*record.cohort, *record.probed}) for record in self.records]
        spent = self._spent
        return {
            "jain": jain_index([turns[client] for client in range(num_clients)]),
            "never": float(num_clients - len(turns)),
            "contacts": float(np.mean(asked)) if asked else 0.0,
            "cohort": float(np.mean([len(record.cohort) for record in self.records])) if asked else 0.0,
            "rounds": float(len(self.records)),
            "failures": float(sum(len(record.failures) for record in self.records)),
            "simulated_seconds": spent.simulated_seconds,
            "joules": spent.joules,
            "bytes": spent.bytes,
        }


def _scores(simulation: NetworkSimulation, trained: Trained) -> dict[str, float]:
    costs, modes = costs_of(simulation.config), simulation.mode_names
    everybody = federated_only(simulation, trained).metrics()["federated"]
    each = per_client(trained.each["test"], trained.threshold, costs, modes) if "test" in trained.each else ()
    return {
        SCORE: everybody.average_precision,
        "log_loss": everybody.log_loss,
        f"worst_{SCORE}": _worst(values_of(each, SCORE)),
        "worst_log_loss": -_worst(-values_of(each, "log_loss")),
    }


def _worst(values: Float64Array) -> float:
    """Return the mean of the lowest tenth, of one at least; NaN if there is none."""
    known = np.sort(values[~np.isnan(values)])
    return float(known[: max(math.ceil(_WORST * len(known)), 1)].mean()) if len(known) else math.nan


def _short(values: Float64Array) -> list[float | None]:
    return [None if math.isnan(value) else float(f"{value:.6g}") for value in values.tolist()]


def run_cases(base: Config, cases: Sequence[Case], workers: int) -> Iterator[Outcome]:
    """Yield the outcome of each run, in the order in which they end.

    Parameters
    ----------
    base
        The configuration that all runs share.
    cases
        Which runs.
    workers
        How many processes; 1 works in this one.
    """
    if workers == 1 or len(cases) < 2:
        bench = Bench(base)
        yield from map(bench.run, cases)
        return
    context = multiprocessing.get_context("spawn")  # threads of a parent do not survive a fork
    with ProcessPoolExecutor(workers, context, _begin, (base.model_dump(mode="json"),)) as pool:
        waiting: set[Future[Outcome]] = {pool.submit(_run, case) for case in cases}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in waiting:
                future.cancel()


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin(base: dict[str, object]) -> None:
    """Prepare a process: one core is its own."""
    torch.set_num_threads(1)
    _own.append(Bench(Config.model_validate(base)))


def _run(case: Case) -> Outcome:
    return _own[-1].run(case)
