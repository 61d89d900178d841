"""AI4I 2020 by the literature's protocol: repeated stratified 5-fold on the pooled rows, which ten plants share.

Whole tools stay together at a plant, and the plants' rows of the other folds are what is trained on. Each model is
fitted twice a fold: on a part of the training rows, so that the rest gives the threshold, and on all of them, to be
judged on the fold. No figure of a fold decides about anything that judges it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve
from sklearn.model_selection import StratifiedKFold, train_test_split

from benchmarks.trees_rivals import FloatArray, Predict, rivals
from werkbund.data import Table
from werkbund.engine.trees_bagging import bagging_rounds
from werkbund.evaluation import mean_interval
from werkbund.federation import Config
from werkbund.federation.config import changed, load_config
from werkbund.federation.families import family_of
from werkbund.federation.population import SPLITS, Division, Population, RawTable, divide
from werkbund.federation.tables import read_table
from werkbund.federation.training import train
from werkbund.federation.trees import TreeRows, TreeSimulation, set_up_trees
from werkbund.trees import Ensemble, logits

IntArray = npt.NDArray[np.int64]
FOLDS, VALIDATION, PLANTS = 5, 0.15, 10
LEAK = 0.93
"""No honest mean F1 on these rows is higher: their labels follow rules only in part."""

_COMMON = [f"clients.count={PLANTS}", "evaluation.keep_best=false"]
_BAGGING = {"rounds": 50, "learning_rate": 0.3}  # a round has a tree of each plant: as many steps as 150 at 0.1


@dataclass(frozen=True)
class Fitting:
    """Hold what a model is fitted to, and scored on."""

    population: Population
    rows: TreeRows
    settings: Sequence[str]
    seed: int

    def config(self, kind: str) -> Config:
        """Return the product's defaults for a kind of model, every tree kept."""
        return load_config(None, [*self.settings, f"model.kind={kind}"])


Method = Callable[[Fitting], FloatArray]
"""Learn from the training rows, and give a probability to each test row."""


@dataclass
class Result:
    """Hold a method's figures: one entry a fold."""

    f1: list[float] = field(default_factory=list)
    f1_chosen: list[float] = field(default_factory=list)
    average_precision: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return means with 95% intervals."""
        names = ("f1", "f1_chosen", "average_precision")
        return {name: mean_interval(getattr(self, name)).to_json() for name in names} | {"seconds": self.seconds}


def protocol(
    repeats: int,
    features: bool,
    without: Sequence[str] = (),
    source: str = "ai4i2020",
    rows: int = 10_000,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Return each method's figures.

    Parameters
    ----------
    repeats
        Repetitions of the five folds; their seeds are 0, 1, ...
    features
        Also let models read temperature difference, power, and wear times torque.
    without
        Titles of those to leave out.
    source, rows
        Of the table; `generator` draws so many.
    tell
        Hears how far it is.
    """
    settings = [*_COMMON, f"data.source={source}", f"data.rows={rows}", f"features.preset={str(features).lower()}"]
    config = load_config(None, settings)
    division = divide(read_table(config), config)
    chosen = {title: method for title, method in all_methods().items() if title not in without}
    results = {title: Result() for title in chosen}
    for seed, train_rows, test_rows in folds(division.table, repeats):
        for title, method in chosen.items():
            tell(f"seed {seed}, fold {len(results[title].f1) % FOLDS + 1} of {FOLDS}: {title}")
            _judge(results[title], method, division, train_rows, test_rows, settings, seed)
    return {
        "rows": len(division.table.frame),
        "origin": division.table.origin.note,
        "folds": FOLDS * repeats,
        "methods": {title: result.to_json() for title, result in results.items()},
    }


def folds(table: Table, repeats: int) -> Iterator[tuple[int, IntArray, IntArray]]:
    """Yield a seed, the rows to train on and the rows to judge on."""
    labels = table.schema.labels(table.frame)
    for seed in range(repeats):
        for train_rows, test_rows in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels):
            yield seed, train_rows, test_rows


def all_methods() -> dict[str, Method]:
    """Return what is compared, by title."""
    own: dict[str, Method] = {
        "federated boosting": lambda fitting: _federated(fitting, "trees"),
        "federated forest": lambda fitting: _federated(fitting, "forest"),
        "federated bagging": _bagged,
        "FedAvg, MLP": _network,
    }
    return own | {f"pooled {title}": _pooled(fit) for title, fit in rivals().items()}


def best_threshold(labels: FloatArray, scores: FloatArray) -> float:
    """Return the threshold with the highest F1 on these rows, the middle of the gap below the lowest score it takes."""
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision[:-1] * recall[:-1] / np.maximum(precision[:-1] + recall[:-1], 1e-12)
    at = float(thresholds[int(np.argmax(f1))])
    below = scores[scores < at]
    return (at + float(below.max())) / 2 if len(below) else at


def fitting_of(
    division: Division, train_rows: IntArray, test_rows: IntArray, settings: Sequence[str], seed: int
) -> Fitting:
    """Return the plants with these rows alone; none for validation."""
    population = _population(division, {"train": train_rows, "test": test_rows})
    setup = set_up_trees(load_config(None, [*settings, "model.kind=trees"]), population)
    return Fitting(population, setup.rows, settings, seed)


def _judge(
    result: Result,
    method: Method,
    division: Division,
    train_rows: IntArray,
    test_rows: IntArray,
    settings: Sequence[str],
    seed: int,
) -> None:
    labels = division.table.schema.labels(division.table.frame)
    part, rest = train_test_split(train_rows, test_size=VALIDATION, stratify=labels[train_rows], random_state=seed)
    inner = fitting_of(division, part, rest, settings, seed)
    outer = fitting_of(division, train_rows, test_rows, settings, seed)
    began = time.perf_counter()
    threshold = best_threshold(inner.rows.test.targets, method(inner))
    scores, truth = method(outer), outer.rows.test.targets
    result.seconds += time.perf_counter() - began
    result.f1.append(float(f1_score(truth, scores >= 0.5)))
    result.f1_chosen.append(float(f1_score(truth, scores >= threshold)))
    result.average_precision.append(float(average_precision_score(truth, scores)))


def _population(division: Division, rows_of: dict[str, IntArray]) -> Population:
    partition, whole = division.partition, division.population
    splits = {}
    for split in SPLITS:
        wanted = np.isin(partition.order, rows_of.get(split, np.empty(0, np.int64)))
        rows = partition.order[wanted]
        ends = np.cumsum(np.bincount(partition.assignment[rows], minlength=partition.num_clients))
        modes = whole.splits[split].modes
        splits[split] = RawTable(division.table.frame, rows, np.concatenate(([0], ends)), modes)
    return replace(whole, splits=splits)


def _federated(fitting: Fitting, kind: str) -> FloatArray:
    setup = set_up_trees(fitting.config(kind), fitting.population)
    return _scores(setup, train(setup).learnt)


def _bagged(fitting: Fitting) -> FloatArray:
    config = changed(fitting.config("trees"), federation={"rounds": _BAGGING["rounds"]})
    setup = set_up_trees(changed(config, trees={"learning_rate": _BAGGING["learning_rate"]}), fitting.population)
    *_, (state, _) = bagging_rounds(setup.grid, setup.plan, setup.rules, setup.begin(), setup.num_rounds, None, False)
    return _scores(setup, state.ensemble)


def _scores(setup: TreeSimulation, learnt: Ensemble) -> FloatArray:
    return np.asarray(expit(logits(learnt, setup.rows.test.features)), np.float64)


def _network(fitting: Fitting) -> FloatArray:
    config = fitting.config("mlp")
    setup = family_of(config).set_up(config, fitting.population)
    return np.asarray(expit(np.asarray(setup.logits(train(setup).learnt), np.float64)))


def _pooled(fit: Callable[[FloatArray, FloatArray, int], Predict]) -> Method:
    def method(fitting: Fitting) -> FloatArray:
        rows = fitting.rows
        return fit(rows.train.features, rows.train.targets, fitting.seed)(rows.test.features)

    return method
