"""Federated boosting beside scikit-learn's HistGradientBoosting on random tables of crowded and rounded readings.

Trees are alike: so many, as deep, with as many rows a leaf. What differs is how readings become bins: there by
quantiles of pooled values, here by counts of several plants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from benchmarks.trees_grown import divided, grow
from werkbund.core.arrays import Float64Array
from werkbund.trees.arithmetic import TreePlan, scores

DEPTH, TREES, RATE, LEAST_ROWS, PLANTS = 4, 30, 0.2, 20, 4
PLAN = TreePlan.boosting(TREES, learning_rate=RATE, max_depth=DEPTH, l2=0.0, min_child_rows=LEAST_ROWS)
FEATURES = 6


def crowded_table(rows: int, seed: int) -> tuple[Float64Array, Float64Array]:
    """Draw readings that crowd on some values, and failures where some of them lie in a band.

    Parameters
    ----------
    rows
        How many.
    seed
        Of the table: which kinds of readings, the first two whole with steps between, how crowded, and what fails.

    Returns
    -------
    features, targets
        (rows, FEATURES), some values missing, and (rows,), 0 or 1.
    """
    rng = np.random.default_rng(seed)
    x = np.column_stack([_reading(rows, rng, 0 if i < 2 else int(rng.integers(6))) for i in range(FEATURES)])
    ranks = x.argsort(axis=0).argsort(axis=0) / rows
    logit = np.full(rows, -4.0)
    for feature in (0, 1, *rng.choice(range(2, FEATURES), 2, replace=False)):
        low = rng.uniform(0, 0.9)
        logit += 4.0 * ((ranks[:, feature] > low) & (ranks[:, feature] < low + rng.uniform(0.04, 0.15)))
    a, b = rng.choice(FEATURES, 2, replace=False)
    logit += 3.0 * (ranks[:, a] - 0.5) * (ranks[:, b] - 0.5)
    failed = rng.random(rows) < 1 / (1 + np.exp(-logit))
    x[rng.random(x.shape) < rng.choice([0.0, 0.05])] = np.nan
    return x, failed.astype(np.float64)


def _reading(rows: int, rng: np.random.Generator, kind: int) -> Float64Array:
    """Draw one reading of a kind in 0..5."""
    normal = rng.normal(size=rows)
    readings: list[Callable[[], Any]] = [
        lambda: (
            rng.integers(0, rng.integers(130, 180), rows) + np.where(rng.random(rows) < rng.uniform(0, 0.2), 0.5, 0)
        ),
        lambda: np.round(300 + rng.uniform(1, 40) * normal, 1),
        lambda: np.where(rng.random(rows) < rng.uniform(0.3, 0.9), 0.0, np.exp(normal)),  # mostly at rest
        lambda: rng.integers(0, 8, rows) * 10.0 + np.where(rng.random(rows) < 0.5, 0.0, np.round(normal, 2)),
        lambda: np.clip(normal, -np.inf, rng.uniform(0, 1.5)),  # cut off at the sensor's end
        lambda: normal,
    ]
    return np.asarray(readings[kind](), np.float64)


def compare_tables(seeds: Sequence[int], rows: int = 2000, plan: TreePlan = PLAN, min_rows: int = 0) -> dict[str, Any]:
    """Return held-out average precision of both on each table, and the mean difference with its standard error.

    Parameters
    ----------
    seeds
        One a table.
    rows
        That train; twice as many are held out.
    plan
        How our trees grow; scikit-learn's are as many, as deep and as fast.
    min_rows
        Cells with fewer rows of a plant stay there.
    """
    own, theirs = np.array([_both(seed, rows, plan, min_rows) for seed in seeds]).T
    difference = own - theirs
    return {
        "seeds": [*seeds],
        "federated": own.tolist(),
        "scikit_learn": theirs.tolist(),
        "difference": float(difference.mean()),
        "standard_error": float(difference.std(ddof=1) / np.sqrt(len(difference))),
        "worst": float(difference.min()),
    }


def _both(seed: int, rows: int, plan: TreePlan, min_rows: int) -> tuple[float, float]:
    """Return the held-out average precision of federated trees and of scikit-learn's on one table."""
    features, targets = crowded_table(3 * rows, seed)
    x, y = features[:rows], targets[:rows]
    owner = np.random.default_rng(seed).integers(0, PLANTS, rows)
    ensemble = grow(divided(x, y, owner, PLANTS), plan, "logistic", min_rows=min_rows).ensemble
    rules = plan.rules
    with threadpool_limits(1):
        model = HistGradientBoostingClassifier(
            learning_rate=rules.learning_rate,
            max_iter=plan.rounds,
            max_leaf_nodes=2**rules.max_depth,
            max_depth=rules.max_depth,
            min_samples_leaf=rules.min_child_rows,
            early_stopping=False,
        ).fit(x, y)
        found = model.decision_function(features[rows:])
    own = scores(ensemble, features[rows:])[:, 0]
    return tuple(float(average_precision_score(targets[rows:], one)) for one in (own, found))  # type: ignore[return-value]
