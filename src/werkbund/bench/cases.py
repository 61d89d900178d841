"""One run of a bench: train with one selector on one division of the data, and note what it reached and took.

What a method makes the server do is charged too: its own time of the processor as simulated seconds and as energy, and
rows that it scores as examples.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from werkbund.bench.plan import SETTINGS, WINDOW, Case
from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.arrays import Float32Array, Float64Array
from werkbund.core.errors import FederationError
from werkbund.core.kinds import FORWARD
from werkbund.core.types import Choice, Replies, RoundRecord, Score, Tasks
from werkbund.data import source_for
from werkbund.engine import Grid
from werkbund.engine.world import WorldGrid
from werkbund.evaluation import LearningCurve, Metrics, jain_index, per_client, values_of
from werkbund.evaluation.stopping import Tally
from werkbund.federation.comparison import federated_only
from werkbund.federation.families.judging import servers_share
from werkbund.federation.families.networks import NetworkSimulation, in_world, simulate_network, with_strategy
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.federation.training import Outlets, Trained, train
from werkbund.federation.wiring import costs_of
from werkbund.selection.contract import Declaration, Reports, Selector, State, View

SCORE = "average_precision"
"""The metric on the test rows that selectors are compared by."""

SERVER_WATTS = 100.0
"""What a server draws while a method works on it: an assumption."""

_WORST = 0.1

_SPLITS = ("test", "validation")


@dataclass(frozen=True)
class Outcome:
    """Hold what one run reached and took.

    Parameters
    ----------
    case
        Which run.
    figures
        `average_precision` on the test rows of all clients, mean of the last rounds, and `validation`, the same on the
        validation rows; `worst_average_precision` and
        `worst_log_loss`, means over the worst tenth of the clients (at least one) whose rows define it; `jain`: how
        evenly clients took part; `never`: how many never did; `contacts`: clients that were asked or trained, a round;
        `cohort`; `rounds`; `failures`; what it took in each of `CURRENCIES`, server included: `bytes` without those of
        mere evaluation, `seconds` simulated; `server_seconds`, those of them in which the method worked at the server.
    course
        How the score went, and what it cost.
    examples
        (points,), examples computed until the weights of each point of the course were there.
    error
        Why it ended before its time; empty if it did not.
    """

    case: Case
    figures: Mapping[str, float] = field(default_factory=dict)
    course: LearningCurve | None = None
    examples: Float64Array = field(default_factory=lambda: np.empty(0))
    error: str = ""

    @property
    def title(self) -> str:
        """Which run, for people."""
        return f"{self.case.selector}, {self.case.setting}, seed {self.case.seed}"

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as values that JSON can hold."""
        course = {} if self.course is None else {name: _short(values) for name, values in vars(self.course).items()}
        told = {"figures": dict(self.figures), "course": course, "examples": _short(self.examples)}
        return {"trial": vars(self.case), **told, "error": self.error}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Outcome:
        """Return what `to_json` gave."""
        course = {name: np.array(values, dtype=np.float64) for name, values in written["course"].items()}
        figures = {name: math.nan if value is None else float(value) for name, value in written["figures"].items()}
        curve, examples = LearningCurve(**course) if course else None, np.array(written["examples"], dtype=np.float64)
        return cls(Case(**written["trial"]), figures, curve, examples, written["error"])


class Bench:
    """Do the runs of a bench, and keep the data of the last one: neighbours share them.

    Parameters
    ----------
    base
        The configuration that all runs share.
    tuned
        Seeds that choose: their runs know nothing of outer machines (`clients.outer`), where others report on them.
    """

    def __init__(self, base: Config, tuned: Sequence[int] = ()) -> None:
        self._base, self._tuned = base, tuned
        self._table = read_table(base)
        self._ground: tuple[tuple[str, int, int | None], NetworkSimulation] | None = None

    def run(self, case: Case) -> Outcome:
        """Do one run; one that fails is an outcome too."""
        log = RoundLog()
        try:
            simulation = self._with_selector(case)
            work = ServerWork(simulation.strategy.selector, _server_rows(simulation))
            log = RoundLog(simulation.grid, work)
            trained = train(
                replace(simulation, strategy=replace(simulation.strategy, selector=work)), None, log.outlets
            )
        except FederationError as error:
            course = log.learning_curve() if log.records else None
            return Outcome(case, {}, course, log.examples() if log.records else np.empty(0), str(error))
        figures = {**log.figures(len(simulation.grid.clients())), **_scores(simulation, trained)}
        figures |= {SCORE: log.learning_curve().final(WINDOW), "validation": log.validation(WINDOW)}
        return Outcome(case, figures, log.learning_curve(), log.examples())

    def _with_selector(self, case: Case) -> NetworkSimulation:
        key = (case.setting, case.seed, case.rounds)
        if self._ground is None or self._ground[0] != key:
            outer = self._base.clients.outer
            known = {"outer": "tune"} if outer == "report" and case.seed in self._tuned else {}
            clients = {**SETTINGS[case.setting].clients, **known}
            rounds = case.rounds or self._base.federation.rounds
            config = changed(self._base, federation={"seed": case.seed, "rounds": rounds}, clients=clients)
            self._ground = key, simulate_network(config, divide(self._table, config).population)
        chosen = {"name": case.selector, "count": case.count, "options": {}}
        if self._base.strategy.selection.name == case.selector:
            chosen["options"] = self._base.strategy.selection.options
        simulation = self._ground[1]
        config = changed(simulation.config, strategy={"selection": chosen, "aggregation": self._aggregation(case)})
        return in_world(with_strategy(simulation, config))

    def _aggregation(self, case: Case) -> dict[str, Any]:
        """Return the keys of the aggregation, with the momentum of the run."""
        keys = self._base.strategy.aggregation.model_dump(exclude_unset=True)
        return keys if case.momentum is None else {**keys, "momentum": case.momentum}


class ServerWork:
    """Be a selector, and note what it takes of the server: seconds of the processor, and rows that it scores.

    Parameters
    ----------
    selector
        Who chooses.
    rows
        How many rows a score goes over.
    """

    def __init__(self, selector: Selector, rows: int) -> None:
        self._selector, self._rows = selector, rows
        self.seconds = self.examples = 0.0

    @property
    def declaration(self) -> Declaration:
        """The selector's own."""
        return self._selector.declaration

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask as the selector does."""
        with self._timed():
            return self._selector.probe(view, answers, rng)

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Choose as the selector does."""
        with self._timed():
            return self._selector.choose(view, answers, rng)

    def observe(self, state: State, reports: Reports) -> State:
        """Learn as the selector does."""
        judge = reports.score
        with self._timed():
            return self._selector.observe(state, replace(reports, score=judge and partial(self._scored, judge)))

    def _scored(self, judge: Score, weights: Float32Array) -> float:
        self.examples += FORWARD * self._rows
        return judge(weights)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.thread_time()
        try:
            yield
        finally:
            self.seconds += time.thread_time() - began


@dataclass(frozen=True)
class _Point:
    """Hold how good some weights were, and what had been spent until they were there."""

    round: int
    score: float
    validation: float
    spent: Tally
    examples: float


class RoundLog:
    """Keep of each round what a bench judges by; called with each record and its metrics.

    Parameters
    ----------
    grid
        Whose clients compute examples, where it is a simulated world.
    work
        What the method takes of the server.
    """

    def __init__(self, grid: Grid | None = None, work: ServerWork | None = None) -> None:
        self.records: list[RoundRecord] = []
        self._grid, self._work = grid, work
        self._points: list[_Point] = []
        self._spent, self._examples, self._charged = Tally(), 0.0, 0.0

    @property
    def outlets(self) -> Outlets:
        """Where a training tells of its rounds."""
        return Outlets(note=self)

    def __call__(self, record: RoundRecord, scores: Mapping[str, Metrics]) -> None:
        """Take in a round; its scores are of the weights before it."""
        test, validation = (getattr(scores[name], SCORE) if name in scores else math.nan for name in _SPLITS)
        self._points.append(_Point(record.scored, test, validation, self._spent, self._examples))
        self._spent = self._spent.and_round(self._with_server(record))
        computed = self._grid.examples if isinstance(self._grid, WorldGrid) else 0.0
        self._examples = computed + (self._work.examples if self._work else 0.0)
        if record.cohort:
            self.records.append(record)

    def _with_server(self, record: RoundRecord) -> RoundRecord:
        """Return a record without the bytes of evaluation, and with the time and energy that the method took."""
        worked = (self._work.seconds if self._work else 0.0) - self._charged
        self._charged += worked
        return replace(
            record,
            bytes_down=record.bytes_down - record.bytes_measuring,
            simulated_seconds=record.simulated_seconds + worked,
            joules=record.joules + SERVER_WATTS * worked,
        )

    def learning_curve(self) -> LearningCurve:
        """Return the score of the weights after each round, and what had been spent until then."""
        columns = (
            [point.round for point in self._points],
            [point.score for point in self._points],
            [point.spent.simulated_seconds for point in self._points],
            [point.spent.joules for point in self._points],
            [point.spent.bytes for point in self._points],
        )
        return LearningCurve(*(np.array(column, dtype=np.float64) for column in columns))

    def examples(self) -> Float64Array:
        """Return the examples computed until the weights of each point of the course were there, (points,)."""
        return np.array([point.examples for point in self._points])

    def validation(self, window: int) -> float:
        """Return the mean of the last scores on validation rows; NaN where there is none."""
        known = [point.validation for point in self._points if not math.isnan(point.validation)][-window:]
        return float(np.mean(known)) if known else math.nan

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
            "bytes": spent.bytes,
            "joules": spent.joules,
            "seconds": spent.simulated_seconds,
            "examples": self._examples,
            "server_seconds": self._charged,
        }


def _server_rows(simulation: NetworkSimulation) -> int:
    """Return how many rows the server scores weights on."""
    config, splits = simulation.config, simulation.splits
    if config.evaluation.server_rows is not None:
        return source_for(Path(config.evaluation.server_rows)).read()[0].height
    return len(servers_share(splits.validation, config)[1])


def _scores(simulation: NetworkSimulation, trained: Trained) -> dict[str, float]:
    costs, modes = costs_of(simulation.config), simulation.mode_names
    everybody = federated_only(simulation, trained).metrics()["federated"]
    counts = trained.each.get("test")
    each = () if counts is None else per_client(counts, trained.threshold, costs, modes, trained.edges)
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
