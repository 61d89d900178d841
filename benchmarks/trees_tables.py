"""Federated boosting beside scikit-learn's HistGradientBoosting on tables that scikit-learn ships or makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.datasets import load_digits, make_classification, make_friedman1
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import average_precision_score, mean_squared_error
from sklearn.model_selection import KFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from benchmarks.trees_grown import divided, grow
from werkbund.core.arrays import Float64Array
from werkbund.evaluation import mean_interval, paired_difference
from werkbund.trees.arithmetic import ObjectiveKind, TreePlan, scores

FOLDS, PLANTS, TREES = 5, 10, 50
PLAN = TreePlan.boosting(TREES, learning_rate=0.1, max_depth=8, max_leaves=31, l2=0.0, min_child_rows=20)
"""What HistGradientBoosting does by default, but for its unlimited depth."""


@dataclass(frozen=True)
class Task:
    """Hold a table, and how a model of it is judged.

    Parameters
    ----------
    features, targets
        (rows, features) and (rows,).
    kind, num_classes
        What trees minimise.
    metric
        Its name; more is better but for `rmse`.
    measure
        From the targets and the scores (rows, outputs).
    """

    features: Float64Array
    targets: Float64Array
    kind: ObjectiveKind
    num_classes: int
    metric: str
    measure: Callable[[Float64Array, Float64Array], float]


def tasks(rows: int = 2000, seed: int = 0) -> dict[str, Task]:
    """Return the tables by name: ten classes, a number, and two classes with a fifth of the values missing."""
    digits = load_digits()
    x, y = make_friedman1(rows, noise=1.0, random_state=seed)
    holed, labels = make_classification(rows, 20, n_informative=8, flip_y=0.05, random_state=seed)
    holed = np.where(np.random.default_rng(seed).random(holed.shape) < 0.2, np.nan, holed)
    return {
        "load_digits": Task(digits.data, digits.target.astype(float), "softmax", 10, "accuracy", _accuracy),
        "make_friedman1": Task(x, y, "squared", 0, "rmse", _rmse),
        "make_classification, a fifth missing": Task(
            holed, labels.astype(float), "logistic", 2, "average precision", _precision
        ),
    }


def compare(task: Task, seed: int = 0, plan: TreePlan = PLAN) -> dict[str, Any]:
    """Return both models' figures over the folds, and the difference, federated less scikit-learn, with intervals."""
    own, theirs = [], []
    folding = KFold if task.kind == "squared" else StratifiedKFold
    for train, test in folding(FOLDS, shuffle=True, random_state=seed).split(task.features, task.targets):
        x, y = task.features[train], task.targets[train]
        owner = np.random.default_rng(seed).integers(0, PLANTS, len(y))
        grown = grow(divided(x, y, owner, PLANTS), plan, task.kind, max(task.num_classes, 2))
        own.append(task.measure(task.targets[test], scores(grown.ensemble, task.features[test])))
        theirs.append(task.measure(task.targets[test], _scikit_learn(task, x, y, task.features[test], plan.rounds)))
    return {
        "metric": task.metric,
        "rows": len(task.targets),
        "federated": mean_interval(own).to_json(),
        "scikit_learn": mean_interval(theirs).to_json(),
        "difference": paired_difference(own, theirs).to_json(),
    }


def _scikit_learn(task: Task, x: Float64Array, y: Float64Array, rows: Float64Array, trees: int) -> Float64Array:
    with threadpool_limits(1):
        if task.kind == "squared":
            number = HistGradientBoostingRegressor(max_iter=trees, early_stopping=False).fit(x, y).predict(rows)
            return np.asarray(number, np.float64)[:, None]
        found = HistGradientBoostingClassifier(max_iter=trees, early_stopping=False).fit(x, y).decision_function(rows)
    return np.asarray(found, np.float64).reshape(len(rows), -1)


def _accuracy(targets: Float64Array, found: Float64Array) -> float:
    return float((found.argmax(axis=1) == targets).mean())


def _rmse(targets: Float64Array, found: Float64Array) -> float:
    return float(np.sqrt(mean_squared_error(targets, found[:, 0])))


def _precision(targets: Float64Array, found: Float64Array) -> float:
    return float(average_precision_score(targets, found[:, 0]))
