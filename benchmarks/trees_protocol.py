"""AI4I 2020 by the literature's protocol: repeated stratified 5-fold on the pooled rows, which ten plants share.

Beside it, folds of whole tools, of which no row was trained on. Whole tools stay together at a plant, and the plants'
rows of the other folds are what is trained on. Each model is fitted twice a fold: on a part of the training rows, so
that the rest, by rows or by whole tools as the folds are, gives the threshold, and on all of them, to be judged on the
fold. No figure of a fold decides about anything that judges it. A plant alone has its own part of the rest for its
threshold, and is judged on everybody's rows; its figures are means over the plants.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from scipy.special import expit
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

from benchmarks.trees_rivals import Predict, rivals
from werkbund.config import Config
from werkbund.config.reading import changed, load_config
from werkbund.core.arrays import Arrays, Float64Array, Int64Array
from werkbund.data import Table
from werkbund.evaluation import mean_interval
from werkbund.federation.families.family import family_of
from werkbund.federation.families.trees import TreeRows, simulate_trees, trees_in
from werkbund.federation.population import Division, divide
from werkbund.federation.tables import read_table
from werkbund.federation.training import train
from werkbund.partition.population import Population, RawTable
from werkbund.partition.split import SPLITS
from werkbund.trees.arithmetic import logits
from werkbund.trees.rows.table import TreeTable

FOLDS, VALIDATION, PLANTS = 5, 0.15, 10
HeldOut = Literal["rows", "tools"]
"""What a fold consists of: rows by chance, or all rows of some tools."""

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


Method = Callable[[Fitting], Float64Array]
"""Learn from the training rows; give a probability to each test row: (1, rows), or (plants, rows) of each by itself."""


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
    titles: Sequence[str],
    held_out: HeldOut = "rows",
    more: Sequence[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Return each method's figures.

    Parameters
    ----------
    repeats
        Repetitions of the five folds; their seeds are 0, 1, ...
    features
        Also let models read temperature difference, power, and wear times torque.
    titles
        Of the methods to compare.
    held_out
        What a fold consists of.
    more
        Settings of the product beside its defaults, such as `trees.min_cell_rows=5`.
    tell
        Hears how far it is.
    """
    settings = [*_COMMON, "data.source=ai4i2020", f"features.preset={str(features).lower()}", *more]
    config = load_config(None, settings)
    division = divide(read_table(config), config)
    chosen = {title: all_methods()[title] for title in titles}
    results = {title: Result() for title in chosen}
    for seed, train_rows, test_rows in folds(division.table, repeats, held_out):
        for title, method in chosen.items():
            tell(f"seed {seed}, fold {len(results[title].f1) % FOLDS + 1} of {FOLDS}: {title}")
            _judge(results[title], method, division, (train_rows, test_rows, held_out), settings, seed)
    return {
        "rows": len(division.table.frame),
        "origin": division.table.origin.note,
        "folds": FOLDS * repeats,
        "held_out": held_out,
        "methods": {title: result.to_json() for title, result in results.items()},
    }


def folds(table: Table, repeats: int, held_out: HeldOut = "rows") -> Iterator[tuple[int, Int64Array, Int64Array]]:
    """Yield a seed, the rows to train on and the rows to judge on, with as even shares of failures as can be."""
    labels = table.schema.labels(table.frame)
    tools = table.schema.machines(table.frame) if held_out == "tools" else None
    folding = StratifiedKFold if tools is None else StratifiedGroupKFold
    for seed in range(repeats):
        parts = folding(FOLDS, shuffle=True, random_state=seed).split(labels, labels, tools)
        yield from ((seed, train_rows, test_rows) for train_rows, test_rows in parts)


def apart(table: Table, rows: Int64Array, seed: int, held_out: HeldOut = "rows") -> tuple[Int64Array, Int64Array]:
    """Return most of some rows, and the rest, about `VALIDATION` of them, to choose a threshold by."""
    labels = table.schema.labels(table.frame)[rows]
    if held_out == "rows":
        part, rest = train_test_split(rows, test_size=VALIDATION, stratify=labels, random_state=seed)
        return np.asarray(part), np.asarray(rest)
    tools = table.schema.machines(table.frame)[rows]
    folding = StratifiedGroupKFold(round(1 / VALIDATION), shuffle=True, random_state=seed)
    part, rest = next(folding.split(labels, labels, tools))
    return rows[part], rows[rest]


def all_methods() -> dict[str, Method]:
    """Return what is compared, by title."""
    own: dict[str, Method] = {
        "federated boosting": lambda fitting: _federated(fitting, "trees"),
        "federated forest": lambda fitting: _federated(fitting, "forest"),
        "federated bagging": _bagged,
        "FedAvg, MLP": _network,
        "each plant alone, boosting": lambda fitting: _alone(fitting, "trees"),
        "each plant alone, forest": lambda fitting: _alone(fitting, "forest"),
    }
    return own | {f"pooled {title}": _pooled(fit) for title, fit in rivals().items()}


def best_threshold(labels: Float64Array, scores: Float64Array) -> float:
    """Return the threshold with the highest F1 on these rows, the middle of the gap below the lowest score it takes.

    Without a failure among them there is nothing to choose by, and it is 0.5.
    """
    if not labels.any():
        return 0.5
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision[:-1] * recall[:-1] / np.maximum(precision[:-1] + recall[:-1], 1e-12)
    at = float(thresholds[int(np.argmax(f1))])
    below = scores[scores < at]
    return (at + float(below.max())) / 2 if len(below) else at


def fitting_of(
    division: Division, train_rows: Int64Array, test_rows: Int64Array, settings: Sequence[str], seed: int
) -> Fitting:
    """Return the plants with these rows alone; none for validation."""
    population = _population(division, {"train": train_rows, "test": test_rows})
    setup = simulate_trees(load_config(None, [*settings, "model.kind=trees"]), population)
    return Fitting(population, setup.rows, settings, seed)


def _judge(
    result: Result,
    method: Method,
    division: Division,
    fold: tuple[Int64Array, Int64Array, HeldOut],
    settings: Sequence[str],
    seed: int,
) -> None:
    train_rows, test_rows, held_out = fold
    part, rest = apart(division.table, train_rows, seed, held_out)
    inner = fitting_of(division, part, rest, settings, seed)
    outer = fitting_of(division, train_rows, test_rows, settings, seed)
    began = time.perf_counter()
    thresholds = thresholds_of(inner.rows.test, method(inner))
    scores, truth = method(outer), outer.rows.test.targets
    result.seconds += time.perf_counter() - began
    result.f1.append(_mean(f1_score(truth, own >= 0.5, zero_division=0.0) for own in scores))
    chosen = zip(scores, thresholds, strict=True)
    result.f1_chosen.append(_mean(f1_score(truth, own >= at, zero_division=0.0) for own, at in chosen))
    result.average_precision.append(_mean(average_precision_score(truth, own) for own in scores))


def thresholds_of(table: TreeTable, scores: Float64Array) -> list[float]:
    """Return the best threshold of each model on the rows it may see: all rows of one model, else each plant's own."""
    if len(scores) == 1:
        return [best_threshold(table.targets, scores[0])]
    plants = [slice(*ends) for ends in zip(table.offsets[:-1], table.offsets[1:], strict=True)]
    return [best_threshold(table.targets[own], given[own]) for own, given in zip(plants, scores, strict=True)]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean([*values]))


def _population(division: Division, rows_of: dict[str, Int64Array]) -> Population:
    partition, whole = division.partition, division.population
    splits = {}
    for split in SPLITS:
        wanted = np.isin(partition.order, rows_of.get(split, np.empty(0, np.int64)))
        rows = partition.order[wanted]
        ends = np.cumsum(np.bincount(partition.assignment[rows], minlength=partition.num_clients))
        modes = whole.splits[split].modes
        splits[split] = RawTable(division.table.frame, rows, np.concatenate(([0], ends)), modes)
    return replace(whole, splits=splits)


def _federated(fitting: Fitting, kind: str) -> Float64Array:
    setup = simulate_trees(fitting.config(kind), fitting.population)
    return _scores(fitting, [train(setup).learnt])


def _bagged(fitting: Fitting) -> Float64Array:
    config = changed(fitting.config("trees"), federation={"rounds": _BAGGING["rounds"]})
    trees = {"learning_rate": _BAGGING["learning_rate"], "combine": "bagging"}
    return _scores(fitting, [train(simulate_trees(changed(config, trees=trees), fitting.population)).learnt])


def _alone(fitting: Fitting, kind: str) -> Float64Array:
    setup = simulate_trees(fitting.config(kind), fitting.population)
    plants = range(len(setup.grid.clients()))
    return _scores(fitting, [train(setup.alone(plant)).learnt for plant in plants])


def _scores(fitting: Fitting, learnt: Sequence[Arrays]) -> Float64Array:
    return np.stack([expit(logits(trees_in(one), fitting.rows.test.features)) for one in learnt])


def _network(fitting: Fitting) -> Float64Array:
    config = fitting.config("mlp")
    setup = family_of(config).simulate(config, fitting.population)
    return np.asarray(expit(np.asarray(setup.logits(train(setup).learnt), np.float64)))[None]


def _pooled(fit: Callable[[Float64Array, Float64Array, int], Predict]) -> Method:
    def method(fitting: Fitting) -> Float64Array:
        rows = fitting.rows
        return fit(rows.train.features, rows.train.targets, fitting.seed)(rows.test.features)[None]

    return method
