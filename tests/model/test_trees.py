"""A model of trees is a model like any other: it scores raw tables, is saved, exported, and says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from werkbund.core.errors import ModelError
from werkbund.data.preparation import Preparation
from werkbund.model import Model, TrainedModel, load_model, score_onnx
from werkbund.model.network import mean_gradients
from werkbund.model.trees import TreeModel
from werkbund.trees.arithmetic import BinEdges, Objective, ObjectiveKind, Terms, TreePlan, base_score
from werkbund.trees.rows.local import train_trees
from werkbund.trees.rows.table import TreeTable

PLANS: dict[str, tuple[TreePlan, ObjectiveKind]] = {
    "trees": (TreePlan.boosting(12, max_depth=4, min_child_rows=2), "logistic"),
    "forest": (TreePlan.random_forest(12, 4), "share"),
    "extra-trees": (TreePlan.extra_trees(12, 4), "share"),
}


def grow(kind: str, table: pl.DataFrame, preparation: Preparation) -> TreeModel:
    plan, objective_kind = PLANS[kind]
    values, labels = preparation.raw(table), table["failed"].to_numpy().astype(float)
    columns = zip(values.T, preparation.levels, strict=True)
    edges = [np.empty(0) if known else np.unique(x[~np.isnan(x)])[:-1][:200] for x, known in columns]
    objective = Objective(objective_kind)
    base = base_score(objective, np.bincount(labels.astype(int)))
    terms = Terms.agreed(BinEdges.build(edges, preparation.levels), objective, plan, len(labels), base)
    *_, ensemble = train_trees(TreeTable.build(values, labels), terms, plan, 0)
    return TreeModel(preparation, ensemble, kind, 0.37, "failed")


@pytest.fixture(scope="module", params=PLANS)
def model(request: pytest.FixtureRequest, table: pl.DataFrame, preparation: Preparation) -> TreeModel:
    return grow(request.param, table, preparation)


def test_exported_trees_decide_as_ours_do(model: TreeModel, table: pl.DataFrame, strange_table: pl.DataFrame) -> None:
    assert (model.ensemble.trees.subset >= 0).any(), "no split by levels is tested"
    for frame in (table, strange_table):
        probability, decision = score_onnx(model.to_onnx(), frame)
        np.testing.assert_allclose(probability, model.score(frame), rtol=0, atol=1e-12)
        np.testing.assert_array_equal(decision, model.decide(frame))


def test_no_tree_and_trees_of_one_leaf_are_exported(model: TreeModel, table: pl.DataFrame) -> None:
    few = TreeModel(model.preparation, model.ensemble.first(0), model.kind, 0.5, "failed")
    probability, _ = score_onnx(few.to_onnx(), table)
    np.testing.assert_allclose(probability, few.score(table), atol=1e-12)


def test_logits_and_scores_say_the_same(model: TreeModel, table: pl.DataFrame) -> None:
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(1 / (1 + np.exp(-model.logits(table))), model.score(table), atol=1e-12)


def test_what_is_saved_is_what_is_loaded(model: TreeModel, table: pl.DataFrame, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.fingerprint == model.fingerprint
    np.testing.assert_array_equal(loaded.score(table), model.score(table))


def test_a_folder_that_was_changed_is_refused(model: TreeModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    np.save(tmp_path / "value.npy", np.load(tmp_path / "value.npy") * 2)
    with pytest.raises(ModelError, match="was changed after it was saved"):
        load_model(tmp_path)


@pytest.mark.parametrize("family", ["oracle", ["trees"]])
def test_a_folder_of_an_unknown_family_is_refused(model: TreeModel, tmp_path: Path, family: object) -> None:
    model.save(tmp_path)
    described = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(described | {"family": family}))
    with pytest.raises(ModelError, match=r"must hold one of network, trees, got .*; update Werkbund"):
        load_model(tmp_path)


def test_reasons_add_up_to_the_score(model: TreeModel, table: pl.DataFrame) -> None:
    explanation = model.explain(table)
    score = explanation.parts.sum(axis=1) + explanation.expected
    expected = model.score(table) if explanation.scale == "probability" else model.logits(table)
    assert explanation.additive
    np.testing.assert_allclose(score, expected, atol=1e-9)


@pytest.mark.parametrize(("kind", "options"), [("mlp", {}), ("mlp", {"activation": "tanh"}), ("residual-mlp", {})])
def test_parts_of_a_network_add_up_to_the_score(
    make_model: Callable[..., TrainedModel], kind: str, options: dict[str, str], table: pl.DataFrame
) -> None:
    network: Model = make_model(kind, **options)
    explanation = network.explain(table)
    assert explanation.additive
    assert explanation.names == network.preparation.raw_names
    np.testing.assert_allclose(explanation.parts.sum(axis=1) + explanation.expected, network.logits(table), atol=1e-4)


def test_parts_of_a_linear_network_are_its_weights_times_the_way_from_usual(
    make_model: Callable[..., TrainedModel], table: pl.DataFrame
) -> None:
    network = make_model("logistic")
    explanation, learnt = network.explain(table), network.preparation
    usual = np.zeros(learnt.num_features)
    for name, levels in learnt.categories:
        usual[learnt.feature_groups[name]] = 1 / len(levels)
    weights = network.build().get_parameter("weight").detach().numpy()[0]
    moved = weights * (learnt.transform(table) - usual)
    expected = np.stack([moved[:, columns].sum(axis=1) for columns in learnt.feature_groups.values()], axis=1)
    np.testing.assert_allclose(explanation.parts, expected, atol=1e-4)


def test_little_of_a_networks_score_is_left_to_be_spread(
    make_model: Callable[..., TrainedModel], table: pl.DataFrame
) -> None:
    """What 64 gradients miss of the integral is below a hundredth of the way on average, and a tenth of it anywhere."""
    network = make_model("mlp")
    rows, usual = network.preparation.transform(table), network.usual_row()
    found = (mean_gradients(network.build(), rows, usual) * (rows - usual)).sum(axis=1)
    explanation = network.explain(table)
    way = network.logits(table) - explanation.expected
    gap = np.abs(found - way) / np.maximum(np.abs(way), 1.0)
    assert gap.mean() < 0.01
    assert gap.max() < 0.1
