"""Trees of one party against scikit-learn's histogram booster and forests, an independent oracle; rows in nodes."""

from __future__ import annotations

from dataclasses import replace
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

from werkbund.core import ClientError
from werkbund.core.arrays import Float64Array
from werkbund.trees.arithmetic import (
    BinEdges,
    Cells,
    Ensemble,
    Group,
    Growth,
    Objective,
    Terms,
    TreePlan,
    Trees,
    advance,
    base_score,
    basis_of,
    begin,
    keys_of,
    leaf_sums,
    scores,
)
from werkbund.trees.arithmetic.keys import count_keys
from werkbund.trees.rows.local import NodeRows, train_trees
from werkbund.trees.rows.table import ScoredTable, TreeTable


def _edges(x: Float64Array, levels: dict[int, int]) -> BinEdges:
    edges = []
    for feature in range(x.shape[1]):
        column = x[:, feature]
        keys, cells = np.sort(keys_of(column[~np.isnan(column)])), Cells.whole()
        while not cells.settled:
            cells = cells.refined(count_keys(keys, cells.lows[cells.asked], cells.highs[cells.asked]))
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
    signs, ratios = (1, 0, 0, 0, 0), []
    plan = TreePlan.boosting(20, learning_rate=0.2, l2=0.0, max_depth=4, min_child_rows=20, monotone=signs)
    for seed in range(3, 11):  # of one table the ratio is anything from 0.8 to 1.4, whatever the bins
        x, score = _rows(2000, 0.0, seed)
        model = _oracle("squared", monotonic_cst=[*signs]).fit(x[:1000], score[:1000])
        own = scores(_fit(x[:1000], score[:1000], plan, "squared"), x[1000:])[:, 0]
        errors = [np.mean((found - score[1000:]) ** 2) for found in (own, model.predict(x[1000:]))]
        ratios.append(errors[0] / errors[1])
    assert np.mean(ratios) == pytest.approx(1, abs=0.1)


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


DRAWS = np.random.default_rng(0)
POINTS = DRAWS.normal(size=(300, 3))
CLASSES = (POINTS[:, 0] + POINTS[:, 1] > 0).astype(float)
DRAWN = TreePlan(TreePlan.boosting(max_depth=4, min_child_rows=3, row_share=0.7).rules, 1, 2)
EDGES = BinEdges.build([np.linspace(-2, 2, 20)] * 3)
TERMS = Terms.agreed(EDGES, Objective("logistic"), DRAWN, 300, np.zeros(1))
GROUP = Group.of(0, 1, 1, 2)


def _scored() -> ScoredTable:
    scored = ScoredTable(TreeTable.build(POINTS, CLASSES, [0, 100, 180, 300]))
    scored.agree(TERMS)
    return scored


def _planted(clients: Any = (0, 1, 2)) -> NodeRows:
    return NodeRows.at_roots(_scored(), np.array(clients), GROUP.row_keys)


def _grown(levels: int = 4) -> list[Growth]:
    basis, nodes = basis_of(TERMS, DRAWN), _planted()
    stages = [begin(basis, GROUP.outputs, GROUP.keys)]
    while len(stages) < levels and not stages[-1].finished:
        nodes.follow(stages[-1].trees)
        stages.append(advance(basis, stages[-1], nodes.histograms(stages[-1].asked, GROUP.outputs)))
    return stages


STAGES = _grown()


def test_sums_over_clients_are_those_of_all_rows() -> None:
    for stage in STAGES[:-1]:
        whole, parts = _planted(), [_planted((i,)) for i in range(3)]
        for nodes in (whole, *parts):
            nodes.follow(stage.trees)
        together = whole.histograms(stage.asked, GROUP.outputs)
        assert (together == sum(nodes.histograms(stage.asked, GROUP.outputs) for nodes in parts)).all()


def test_who_comes_late_stands_where_the_others_do() -> None:
    stage = STAGES[-1]
    late, early = _planted(), _planted()
    for earlier in STAGES:
        early.follow(earlier.trees)
    late.follow(stage.trees)
    assert (late.index == early.index).all()
    assert (late.first, late.last, late.tree) == (early.first, early.last, early.tree)


def test_every_row_lies_in_the_node_that_it_walks_to() -> None:
    nodes, trees = _planted(), STAGES[-1].trees
    nodes.follow(trees)
    sums = np.zeros((300, 1))
    nodes.add_leaves(sums, trees)
    assert (sums == leaf_sums(trees, 1, POINTS)).all()


@pytest.mark.parametrize("least", [2, 5])
def test_withheld_cells_are_empty_and_the_others_whole(least: int) -> None:
    stage, nodes = STAGES[0], _planted((1,))
    nodes.follow(stage.trees)
    words = nodes.histograms(stage.asked, GROUP.outputs)
    shown = nodes.histograms(stage.asked, GROUP.outputs, least)
    few = words[:, 2] < least
    assert few.any()
    assert not shown[few].any()
    assert (shown[~few] == words[~few]).all()


def test_trees_of_another_beginning_are_told_apart() -> None:
    nodes, trees = _planted(), STAGES[-1].trees
    nodes.follow(trees)
    assert nodes.leads_to(trees)
    assert not nodes.leads_to(STAGES[0].trees)
    bins = trees.bin.copy()
    bins[0] += 1
    assert not nodes.leads_to(replace(trees, bin=bins))


@pytest.mark.parametrize(
    "change",
    [
        lambda trees: trees.take([0]),
        lambda trees: replace(trees, feature=np.where(trees.feature >= 0, 9, -1).astype(np.int32)),
        lambda trees: replace(trees, outputs=np.array([0, 7], np.int32)),
        lambda trees: replace(trees, left=np.where(trees.left >= 0, trees.left[::-1].max(), -1).astype(np.int32)),
        lambda trees: trees.joined(trees).take([2, 1]),
    ],
)
def test_trees_that_are_not_this_rounds_raise(change: Any) -> None:
    with pytest.raises(ClientError):
        _planted().follow(change(STAGES[-1].trees))


def test_a_client_without_rows_counts_nothing() -> None:
    scored = ScoredTable(TreeTable.build(POINTS, CLASSES, [0, 300, 300]))
    scored.agree(TERMS)
    nodes = NodeRows.at_roots(scored, np.array([1]), GROUP.row_keys)
    nodes.follow(STAGES[-1].trees)
    assert not nodes.histograms(STAGES[0].asked, GROUP.outputs).any()
    nodes.add_leaves(np.empty((0, 1)), STAGES[-1].trees)


def test_no_trees_are_not_those_that_are_followed() -> None:
    assert not _planted().leads_to(Trees.none())
