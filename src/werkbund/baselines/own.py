"""The best cheap model that one plant can learn alone: a forest or boosted trees, whichever its own rows speak for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from werkbund.baselines.learners import (
    Fitted,
    FittedNumbers,
    Learner,
    boosting,
    forest,
    numbers_by,
    probabilities,
)
from werkbund.core.arrays import BoolArray, Float64Array, FloatingArray, Int64Array

SaidOf = Callable[[BoolArray, Int64Array], Float64Array]
"""(rows that are learnt from, rows held out) -> what is said of these."""

FEWEST_FAILURES = 6
"""Failures below which nothing is validated: two of each of the folds."""
_NUM_FOLDS, _NUM_TREES = 3, 100
_TREES_IN_FOLDS, _STEPS_IN_FOLDS = 30, 60  # enough to choose between the two and a threshold


@dataclass(frozen=True, eq=False)
class OwnModel:
    """Hold what a plant learnt alone.

    Parameters
    ----------
    name
        What kind of model it is, for people.
    fitted
        None where the rows are of one class alone, and nothing can be learnt.
    share
        The share of failures among the rows, which is what is foretold then.
    validated
        (rows,), the probability of each row by models that were fitted without its machine; empty where failures are
        too few to hold any out.
    """

    name: str
    fitted: Fitted | None
    share: float
    validated: Float64Array

    def probabilities(self, features: FloatingArray) -> Float64Array:
        """Return the probability of a failure: (rows,)."""
        if self.fitted is None:
            return np.full(len(features), self.share)
        return probabilities(self.fitted, features)


def own_model(features: FloatingArray, labels: FloatingArray, groups: Int64Array, seed: int) -> OwnModel:
    """Choose between a forest and boosted trees by cross-validation over groups of rows, and fit it to all rows.

    With few failures there is no choice: a forest, whose leaves need no more than one.

    Parameters
    ----------
    features, labels
        (rows, features) and (rows,): all rows that the plant does not hold out to judge its model.
    groups
        (rows,), what is held out together, such as machines.
    seed
        Of folds and trees.
    """
    failures, share = int((labels > 0).sum()), float((labels > 0).mean()) if len(labels) else 0.0
    if not 0 < failures < len(labels):
        return OwnModel("no model", None, share, np.empty(0))
    learners = (forest(_NUM_TREES), boosting())
    folds = _folds(labels, groups, seed)
    if not folds:
        return OwnModel(learners[0].name, learners[0].fit(features, labels, seed), share, np.empty(0))
    tried = (forest(_TREES_IN_FOLDS), boosting(_STEPS_IN_FOLDS))

    def said_by(learner: Learner) -> SaidOf:
        return lambda rest, held: probabilities(learner.fit(features[rest], labels[rest], seed), features[held])

    validated = [_validated(said_by(learner), len(labels), folds) for learner in tried]
    best = int(np.argmax([_average_precision(labels, scores) for scores in validated]))
    return OwnModel(learners[best].name, learners[best].fit(features, labels, seed), share, validated[best])


@dataclass(frozen=True, eq=False)
class OwnNumbers:
    """Hold what a plant learnt alone of a number.

    Parameters
    ----------
    fitted
        None where there is no row to learn from.
    validated
        (rows,), what models that were fitted without a row's machine say of it; empty with fewer machines than folds.
    """

    fitted: FittedNumbers | None
    validated: Float64Array

    def numbers(self, features: FloatingArray) -> Float64Array:
        """Return what it says of rows: (rows,); 0 where nothing was learnt."""
        return np.zeros(len(features)) if self.fitted is None else numbers_by(self.fitted, features)


def own_numbers(features: FloatingArray, numbers: FloatingArray, groups: Int64Array, seed: int) -> OwnNumbers:
    """Choose between a forest and boosted trees of a number as `own_model` does, by squared errors over groups."""
    if not len(numbers):
        return OwnNumbers(None, np.empty(0))
    learners = (forest(_NUM_TREES), boosting())
    if len(np.unique(groups)) < _NUM_FOLDS:
        return OwnNumbers(learners[0].fit_numbers(features, numbers, seed), np.empty(0))
    from sklearn.model_selection import GroupKFold

    folds = [rows for _, rows in GroupKFold(_NUM_FOLDS, shuffle=True, random_state=seed).split(groups, None, groups)]
    tried = (forest(_TREES_IN_FOLDS), boosting(_STEPS_IN_FOLDS))

    def said_by(learner: Learner) -> SaidOf:
        return lambda rest, held: numbers_by(learner.fit_numbers(features[rest], numbers[rest], seed), features[held])

    validated = [_validated(said_by(learner), len(numbers), folds) for learner in tried]
    best = int(np.argmin([((own - numbers) ** 2).mean() for own in validated]))
    return OwnNumbers(learners[best].fit_numbers(features, numbers, seed), validated[best])


def _folds(labels: FloatingArray, groups: Int64Array, seed: int) -> Sequence[Int64Array]:
    """Return the rows of each fold; none where failures or their groups are too few to be in every fold's training."""
    from sklearn.model_selection import StratifiedGroupKFold

    failed = labels > 0
    if failed.sum() < FEWEST_FAILURES or len(np.unique(groups[failed])) < _NUM_FOLDS:
        return ()
    splitter = StratifiedGroupKFold(_NUM_FOLDS, shuffle=True, random_state=seed)
    held = [rows for _, rows in splitter.split(groups, failed, groups)]
    both = all(0 < failed.sum() - failed[rows].sum() < len(labels) - len(rows) for rows in held)
    return held if both else ()


def _validated(said_of: SaidOf, rows: int, folds: Sequence[Int64Array]) -> Float64Array:
    """Return what models that were fitted without a row's fold say of it: (rows,)."""
    said = np.empty(rows)
    for held in folds:
        rest = np.ones(rows, np.bool_)
        rest[held] = False
        said[held] = said_of(rest, held)
    return said


def _average_precision(labels: FloatingArray, scores: Float64Array) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels > 0, scores))
