"""Learners of trees by scikit-learn, each with its defaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np

from werkbund.core.arrays import AnyArray, Float64Array, FloatingArray

_ROWS_A_THREAD = 10_000
"""Rows from which a second thread is worth its start, and so on."""


class Fitted(Protocol):
    """Be a classifier that was fitted."""

    def predict_proba(self, features: FloatingArray) -> AnyArray:
        """Return the probability of each class: (rows, 2)."""


class FittedNumbers(Protocol):
    """Be a regressor that was fitted."""

    def predict(self, features: FloatingArray) -> AnyArray:
        """Return a number for each row: (rows,)."""


@dataclass(frozen=True)
class Learner:
    """Fit one kind of model.

    Parameters
    ----------
    name
        For people.
    make, make_numbers
        Return a classifier and a regressor of scikit-learn, by seed and number of threads.
    """

    name: str
    make: Callable[[int, int], Any]
    make_numbers: Callable[[int, int], Any]

    def fit(self, features: FloatingArray, labels: FloatingArray, seed: int) -> Fitted:
        """Return the classifier, fitted to rows of both classes with as many threads as are worth their start."""
        with _threads(len(labels)) as threads:
            fitted: Fitted = self.make(seed, threads).fit(features, labels > 0)
        return fitted

    def fit_numbers(self, features: FloatingArray, numbers: FloatingArray, seed: int) -> FittedNumbers:
        """Return the regressor, fitted with as many threads as are worth their start."""
        with _threads(len(numbers)) as threads:
            fitted: FittedNumbers = self.make_numbers(seed, threads).fit(features, numbers)
        return fitted


def numbers_by(model: FittedNumbers, features: FloatingArray) -> Float64Array:
    """Return what a regressor says of each row: (rows,)."""
    if not len(features):
        return np.empty(0)
    with _threads(len(features)):
        return np.asarray(model.predict(features), np.float64)


def probabilities(model: Fitted, features: FloatingArray) -> Float64Array:
    """Return the probability of a failure: (rows,)."""
    if not len(features):
        return np.empty(0)
    with _threads(len(features)):
        return np.asarray(model.predict_proba(features)[:, 1], np.float64)


@contextmanager
def _threads(rows: int) -> Iterator[int]:
    """Hold scikit-learn's libraries to as many threads as so many rows are worth, and say how many."""
    threads = min(1 + rows // _ROWS_A_THREAD, os.cpu_count() or 1)
    with _controller().limit(limits=threads):
        yield threads


@cache
def _controller() -> Any:
    """Return what holds the libraries of scikit-learn, once they are loaded: to look for them takes milliseconds."""
    import sklearn.ensemble  # noqa: F401  loads them
    from threadpoolctl import ThreadpoolController  # comes with scikit-learn, slow to import

    return ThreadpoolController()


def forest(trees: int) -> Learner:
    """Return the learner of a forest of so many trees."""

    def make(seed: int, threads: int) -> Any:
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(n_estimators=trees, n_jobs=threads, random_state=seed)

    def make_numbers(seed: int, threads: int) -> Any:
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(n_estimators=trees, n_jobs=threads, random_state=seed, max_features=1 / 3)

    return Learner("a forest", make, make_numbers)


def boosting(trees: int = 100) -> Learner:
    """Return the learner of so many boosted trees; 100 are scikit-learn's default."""

    def make(seed: int, threads: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(max_iter=trees, random_state=seed)

    def make_numbers(seed: int, threads: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(max_iter=trees, random_state=seed)

    return Learner("boosted trees", make, make_numbers)
