from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, log_loss, mean_absolute_error, mean_squared_error

from werkbund.core import ClientError
from werkbund.learner.counts import count_scores
from werkbund.trees.arithmetic import Objective
from werkbund.trees.rows.counts import TARGET_STEPS, count_classes, count_outputs, output_shapes, sum_targets
from werkbund.trees.rows.table import TreeTable

RNG = np.random.default_rng(0)
OFFSETS = np.array([0, 40, 40, 100])


def _table(targets: Any) -> TreeTable:
    return TreeTable.build(np.zeros((100, 1)), targets)


def test_two_classes_are_counted_as_any_models_are() -> None:
    y, z = RNG.integers(0, 2, 100) * 1.0, RNG.normal(size=(100, 1))
    found = count_outputs(Objective("logistic"), False, z, _table(y), OFFSETS)
    right = count_scores(z[:, 0], y, np.zeros((100, 0), np.bool_), OFFSETS)
    assert all(np.array_equal(found[name], right[name]) for name in right)
    share = 1 / (1 + np.exp(-z))
    forest = count_outputs(Objective("share"), True, share, _table(y), OFFSETS)
    assert forest["histogram"].sum() == 100
    np.testing.assert_allclose(forest["brier"], right["brier"], atol=1e-6)


@pytest.mark.parametrize("forest", [False, True])
def test_more_classes_are_counted_as_scikit_learn_does(forest: bool) -> None:
    y, z = RNG.integers(0, 3, 100) * 1.0, RNG.random((100, 3)) + 0.01
    p = z / z.sum(axis=1, keepdims=True) if forest else np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    objective = Objective("share" if forest else "softmax", (1.0,) * 3)
    found = count_outputs(objective, forest, z, _table(y), OFFSETS)
    assert (found["confusion"].sum(axis=0) == confusion_matrix(y, z.argmax(axis=1))).all()
    assert found["log_loss"].sum() == pytest.approx(100 * log_loss(y, p), abs=1e-6)
    assert found["confusion"].sum(axis=(1, 2)).tolist() == [40, 0, 60]


def test_errors_of_a_number_are_counted_in_units_of_its_range() -> None:
    y, z = RNG.normal(size=100) * 10, RNG.normal(size=(100, 1))
    found = count_outputs(Objective("squared", (), 50.0), False, z, _table(y), OFFSETS)
    assert found["rows"].tolist() == [40, 0, 60]
    assert found["squares"].sum() * 2500 == pytest.approx(100 * mean_squared_error(y, z), rel=1e-6)
    assert found["absolute"].sum() * 50 == pytest.approx(100 * mean_absolute_error(y, z), rel=1e-6)


@pytest.mark.parametrize(
    "objective", [Objective("logistic"), Objective("softmax", (1.0,) * 3), Objective("squared", (), 2.0)]
)
def test_counts_added_over_clients_are_those_of_all_rows(objective: Objective) -> None:
    y = RNG.integers(0, 2, 100) * 1.0
    z = RNG.normal(size=(100, objective.num_outputs))
    each = count_outputs(objective, False, z, _table(y), OFFSETS)
    whole = count_outputs(objective, False, z, _table(y), OFFSETS[[0, -1]])
    assert all((each[name].sum(axis=0) == whole[name][0]).all() for name in whole)
    assert {name: array.shape[1:] for name, array in each.items()} == output_shapes(objective, 0)


def test_classes_and_targets_are_counted() -> None:
    assert count_classes(np.array([0.0, 2.0, 2.0]), 4).tolist() == [1, 0, 2, 0]
    assert sum_targets(np.array([1.0, 3.0]), 1.0, 4.0) == TARGET_STEPS // 2


@pytest.mark.parametrize("target", [-1.0, 0.5, 3.0])
def test_a_target_that_is_no_class_raises(target: float) -> None:
    with pytest.raises(ClientError, match=r"0\.\.2"):
        count_classes(np.array([target]), 3)
