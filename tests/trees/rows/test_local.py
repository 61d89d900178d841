"""Trees of one party against scikit-learn's histogram booster and forests, an independent oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.metrics import log_loss

from werkbund.core.arrays import Float64Array
from werkbund.trees.arithmetic import BinEdges, Cells, Ensemble, Objective, Terms, TreePlan, base_score, keys_of, scores
from werkbund.trees.arithmetic.cells import count_keys
from werkbund.trees.rows.local import train_trees
from werkbund.trees.rows.table import TreeTable


def _edges(x: Float64Array, levels: dict[int, int]) -> BinEdges:
    edges = []
    for feature in range(x.shape[1]):
        column = x[:, feature]
        keys, cells = np.sort(keys_of(column[~np.isnan(column)])), Cells.whole()
        while not cells.settled:
            cells = cells.told(count_keys(keys, cells.lows[cells.asked], cells.highs[cells.asked]))
        edges.append(np.empty(0) if feature in levels else cells.edges())
    return BinEdges.build(edges, [levels.get(feature, 0) for feature in range(x.shape[1])])


def _fit(x: Float64Array, y: Float64Array, plan: TreePlan, kind: Any, levels: dict[int, int] | None = None) -> Ensemble:
    classes = 0 if kind == "squared" else int(y.max()) + 1
    objective = Objective(kind, (1.0,) * classes, float(np.ptp(y)) if kind == "squared" else 1.0)
    base = base_score(objective, np.bincount(y.astype(int)) if classes else [], float(y.mean()))
    terms = Terms.agreed(_edges(x, levels or {}), objective, plan, len(y), base)
    *_, ensemble = train_trees(TreeTable.build(x, y), terms, plan, 0)
    return ensemble


def _rows(n: int, missing: float, seed: int) -> tuple[Float64Array, Float64Array]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    score = x[:, 0] * 2 + np.sin(3 * x[:, 1]) + x[:, 2] * x[:, 3] + rng.normal(size=n) * 0.3
    x[rng.random(x.shape) < missing] = np.nan
    return x, score


def _oracle(kind: str, **how: Any) -> Any:
    usual = {"early_stopping": False, "max_leaf_nodes": None, "max_depth": 4, "max_iter": 20, "learning_rate": 0.2}
    regress = kind == "squared"
    return (HistGradientBoostingRegressor if regress else HistGradientBoostingClassifier)(**{**usual, **how})


PLAN = TreePlan.boosting(20, learning_rate=0.2, l2=0.0, max_depth=4, min_child_rows=20)


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("kind", ["logistic", "softmax", "squared"])
@pytest.mark.parametrize("seed", [1, 2])  # rows of few classes may tie, and then float32 decides otherwise
def test_where_bins_are_values_boosting_is_that_of_scikit_learn(kind: str, missing: float, seed: int) -> None:
    x, score = _rows(250, missing, seed)
    y = {"logistic": score > 0.5, "softmax": np.digitize(score, [-1, 1]), "squared": score}[kind].astype(float)
    model = _oracle(kind).fit(x, y)
    right = model.predict(x) if kind == "squared" else model.decision_function(x)
    found = scores(_fit(x, y, PLAN, kind), x)
    if kind == "softmax":
        right, found = right - right[:, :1], found - found[:, :1]
    np.testing.assert_allclose(found.reshape(right.shape), right, atol=2e-4)


def test_l2_is_that_of_scikit_learn() -> None:
    x, score = _rows(250, 0.0, 3)
    plan = TreePlan.boosting(20, learning_rate=0.2, l2=3.0, max_depth=4, min_child_rows=20)
    model = _oracle("squared", l2_regularization=3.0).fit(x, score)
    np.testing.assert_allclose(scores(_fit(x, score, plan, "squared"), x)[:, 0], model.predict(x), atol=2e-4)


def test_a_monotone_model_is_as_good_as_that_of_scikit_learn() -> None:
    x, score = _rows(2000, 0.0, 3)
    signs = (1, 0, 0, 0, 0)
    plan = TreePlan.boosting(20, learning_rate=0.2, l2=0.0, max_depth=4, min_child_rows=20, monotone=signs)
    model = _oracle("squared", monotonic_cst=[*signs]).fit(x[:1000], score[:1000])
    own = scores(_fit(x[:1000], score[:1000], plan, "squared"), x[1000:])[:, 0]
    errors = [np.mean((found - score[1000:]) ** 2) for found in (own, model.predict(x[1000:]))]
    assert errors[0] == pytest.approx(errors[1], rel=0.05)


def test_class_weights_are_rows_that_come_more_than_once() -> None:
    x, score = _rows(250, 0.0, 4)
    y = (score > 1).astype(float)
    model = _oracle("logistic", class_weight={0: 1.0, 1: 4.0}).fit(x, y)
    objective = Objective("logistic", (1.0, 4.0))
    terms = Terms.agreed(_edges(x, {}), objective, PLAN, 250, base_score(objective, np.bincount(y.astype(int))))
    *_, ensemble = train_trees(TreeTable.build(x, y), terms, PLAN, 0)
    np.testing.assert_allclose(scores(ensemble, x)[:, 0], model.decision_function(x), atol=2e-3)


def test_categories_are_used_as_well_as_by_scikit_learn() -> None:
    rng = np.random.default_rng(6)
    x = np.column_stack([rng.integers(0, 12, 3000), rng.normal(size=3000)]).astype(float)
    effect = rng.permutation(12) / 4.0
    y = (effect[x[:, 0].astype(int)] + x[:, 1] + rng.normal(size=3000) > 1.5).astype(float)
    train, test = slice(0, 2000), slice(2000, None)
    model = _oracle("logistic", categorical_features=[0]).fit(x[train], y[train])
    ensemble = _fit(x[train], y[train], PLAN, "logistic", {0: 12})
    own = log_loss(y[test], 1 / (1 + np.exp(-scores(ensemble, x[test])[:, 0])))
    assert (ensemble.trees.subset >= 0).any()
    assert own == pytest.approx(log_loss(y[test], model.predict_proba(x[test])), abs=0.01)


@pytest.mark.parametrize(("method", "oracle"), [("random", RandomForestClassifier), ("extra", ExtraTreesClassifier)])
def test_a_forest_foretells_as_well_as_that_of_scikit_learn(method: str, oracle: Any) -> None:
    x, score = _rows(3000, 0.0, 7)
    y = (score > 1).astype(float)
    train, test = slice(0, 2000), slice(2000, None)
    build = TreePlan.random_forest if method == "random" else TreePlan.extra_trees
    share = scores(_fit(x[train], y[train], build(60, 20, max_depth=12), "share"), x[test])[:, 0]
    model = oracle(60, max_features=0.6, max_depth=12, random_state=0).fit(x[train], y[train])
    right = model.predict_proba(x[test])[:, 1]
    assert share.min() >= 0
    assert share.max() <= 1 + 1e-12
    assert np.mean((share - y[test]) ** 2) < np.mean((right - y[test]) ** 2) + 0.005


def test_ten_classes_are_told_apart_as_well_as_by_scikit_learn() -> None:
    x, y = load_digits(return_X_y=True)
    train, test = np.arange(len(y)) % 3 > 0, np.arange(len(y)) % 3 == 0
    plan = TreePlan.boosting(15, learning_rate=0.2, l2=0.0, max_depth=3, min_child_rows=20)
    own = scores(_fit(x[train], y[train].astype(float), plan, "softmax"), x[test]).argmax(axis=1)
    model = _oracle("softmax", max_depth=3, max_iter=15).fit(x[train], y[train])
    assert (own == y[test]).mean() == pytest.approx(model.score(x[test], y[test]), abs=0.02)


def test_training_can_go_on_from_an_ensemble() -> None:
    x, score = _rows(250, 0.1, 8)
    y = (score > 0).astype(float)
    terms = Terms.agreed(_edges(x, {}), Objective("logistic"), PLAN, 250, np.zeros(1))
    every = list(train_trees(TreeTable.build(x, y), terms, PLAN, 0))
    *_, last = train_trees(TreeTable.build(x, y), terms, PLAN, 0, every[7])
    assert last.digest == every[-1].digest
