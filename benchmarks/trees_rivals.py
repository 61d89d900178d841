"""Trees of other libraries on rows in one place; LightGBM and XGBoost where they are installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from threadpoolctl import threadpool_limits

from werkbund.core.arrays import Float64Array

Predict = Callable[[Float64Array], Float64Array]
Fit = Callable[[Float64Array, Float64Array, int], Predict]
"""Take features (rows, features), classes (rows,) and a seed; return what gives a probability to each row."""

TREES = 150


def rivals() -> dict[str, Fit]:
    """Return the pooled models by title, at their libraries' settings but for the number of trees; on one thread."""
    found: dict[str, Callable[[int], Any]] = {
        "scikit-learn HistGradientBoosting": lambda seed: HistGradientBoostingClassifier(
            max_iter=TREES, early_stopping=False, random_state=seed
        ),
        "scikit-learn RandomForest": lambda seed: RandomForestClassifier(TREES, random_state=seed),
    }
    lightgbm, xgboost = library("lightgbm"), library("xgboost")
    if lightgbm:
        found["LightGBM"] = lambda seed: lightgbm.LGBMClassifier(
            n_estimators=TREES, n_jobs=1, random_state=seed, verbose=-1
        )
    if xgboost:
        found["XGBoost"] = lambda seed: xgboost.XGBClassifier(n_estimators=TREES, n_jobs=1, random_state=seed)
    return {title: _fit(make) for title, make in found.items()}


def library(name: str) -> Any:
    """Return a module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _fit(make: Callable[[int], Any]) -> Fit:
    def fit(x: Float64Array, y: Float64Array, seed: int) -> Predict:
        with threadpool_limits(1):  # HistGradientBoosting takes no number of threads
            model = make(seed).fit(x, y)
        return lambda rows: np.asarray(model.predict_proba(rows)[:, 1], np.float64)

    return fit
