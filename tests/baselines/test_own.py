"""A plant's own trees: chosen by rows of other machines than those that they are fitted to."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from werkbund.baselines import own_model, own_numbers
from werkbund.baselines.own import FEWEST_FAILURES


def rows(count: int, seed: int = 0, share: float = 0.2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 5)).astype(np.float32)
    risk = features[:, 0] * features[:, 1] + features[:, 2]
    return features, (risk > np.quantile(risk, 1 - share)).astype(np.float32), np.arange(count) // 20


def test_it_learns_and_says_how_it_did_on_machines_that_it_had_not_seen() -> None:
    features, labels, machines = rows(400)
    model = own_model(features, labels, machines, 0)
    other, truth, _ = rows(400, seed=1)
    assert average_precision_score(truth, model.probabilities(other)) > 0.7
    unseen = average_precision_score(labels, model.validated)
    assert 0.6 < unseen < average_precision_score(labels, model.probabilities(features))


def test_no_machine_is_on_both_sides_of_a_fold() -> None:
    """A reading that names the machine tells a failing machine's rows apart, unless the machine is unknown."""
    machines = np.repeat(np.arange(30), 10)
    labels = np.isin(machines, np.arange(0, 30, 3)).astype(np.float32)
    order = np.random.default_rng(0).permutation(30)
    features = np.eye(30, dtype=np.float32)[order[machines]]
    model = own_model(features, labels, machines, 0)
    assert average_precision_score(labels, model.validated) < 0.6
    assert average_precision_score(labels, model.probabilities(features)) > 0.9


def test_few_failures_choose_nothing() -> None:
    features, labels, machines = rows(200, share=(FEWEST_FAILURES - 1) / 200)
    model = own_model(features, labels, machines, 0)
    assert model.name == "a forest"
    assert len(model.validated) == 0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_class_alone_teaches_nothing(value: float) -> None:
    model = own_model(np.zeros((30, 2), np.float32), np.full(30, value, np.float32), np.arange(30), 0)
    assert model.fitted is None
    assert (model.probabilities(np.zeros((4, 2), np.float32)) == value).all()


def test_a_seed_repeats_it() -> None:
    features, labels, machines = rows(200)
    first, second = (own_model(features, labels, machines, 5).probabilities(features) for _ in range(2))
    assert (first == second).all()


def test_a_number_is_learnt_by_the_learner_whose_folds_err_less() -> None:
    rng = np.random.default_rng(3)
    features, groups = rng.normal(size=(300, 4)), np.arange(300) // 10
    numbers = 5 * (features[:, 0] > 0) + rng.normal(0, 0.3, 300)
    own = own_numbers(features, numbers, groups, seed=1)
    fresh = rng.normal(size=(200, 4))
    assert np.sqrt(((own.numbers(fresh) - 5 * (fresh[:, 0] > 0)) ** 2).mean()) < 0.8
    assert np.sqrt(((own.validated - numbers) ** 2).mean()) < 1.0
    few = own_numbers(features, numbers, np.zeros(300, np.int64), seed=1)
    assert few.fitted is not None
    assert len(few.validated) == 0
    assert own_numbers(features[:0], numbers[:0], groups[:0], seed=1).numbers(fresh).tolist() == [0.0] * 200
