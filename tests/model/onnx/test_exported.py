from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest

from werkbund.core.arrays import BoolArray
from werkbund.core.errors import ModelError
from werkbund.data.ai4i import AI4I_SCHEMA, generated_table, locate
from werkbund.data.preparation import Preparation
from werkbund.data.rules import rule_flags
from werkbund.data.schema import Derived, Schema
from werkbund.data.sources import source_for
from werkbund.data.statistics import squares, survey
from werkbund.learner import ModelSpec, build_network, layout_of
from werkbund.model import TrainedModel, score_onnx

SHIPPED: list[tuple[str, dict[str, Any]]] = [
    ("logistic", {}),
    ("mlp", {"dropout": 0.2}),
    *(("mlp", {"activation": name, "hidden": [16]}) for name in ("relu", "gelu", "tanh", "silu")),
    *(("residual-mlp", {"activation": name}) for name in ("relu", "gelu", "tanh", "silu")),
]


def real_frame() -> pl.DataFrame:
    path = locate(None, os.environ, Path(__file__).parents[3])
    if path is None:
        pytest.skip("no AI4I 2020 file in WERKBUND_DATA, ../shared/data or the user's cache")
    return source_for(path).read()[0]


@pytest.fixture(scope="module", params=["real", "generated"])
def readings(request: pytest.FixtureRequest) -> pl.DataFrame:
    return real_frame() if request.param == "real" else generated_table(rows=3000, plants=3, seed=7).frame


def model_on(frame: pl.DataFrame, kind: str, options: dict[str, Any]) -> TrainedModel:
    counted = survey(frame, AI4I_SCHEMA)
    prepared = Preparation.fit(AI4I_SCHEMA, counted, squares(frame, AI4I_SCHEMA, counted.mean))
    spec = ModelSpec(kind, options)
    network = build_network(spec, prepared.num_features, seed=0)
    weights = np.random.default_rng(3).normal(0, 0.5, layout_of(network).num_parameters)
    return TrainedModel.of(network, spec, weights.astype(np.float32), prepared, 0.25, AI4I_SCHEMA.label)


@pytest.mark.parametrize(("kind", "options"), SHIPPED)
def test_every_shipped_network_keeps_its_probabilities(
    kind: str, options: dict[str, Any], readings: pl.DataFrame
) -> None:
    model = model_on(readings, kind, options)
    probability, decision = score_onnx(model.to_onnx(), readings)
    np.testing.assert_allclose(probability, model.score(readings), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(decision, probability >= model.threshold_probability)
    assert probability.dtype == np.float64
    assert probability.shape == decision.shape == (readings.height,)


@pytest.mark.parametrize("name", ["table", "strange_table"])
@pytest.mark.parametrize(("kind", "options"), SHIPPED)
def test_missing_values_and_unknown_levels_score_alike(
    kind: str, options: dict[str, Any], name: str, make_model: Any, request: pytest.FixtureRequest
) -> None:
    frame: pl.DataFrame = request.getfixturevalue(name)
    model = make_model(kind, **options)
    probability, _ = score_onnx(model.to_onnx(), frame)
    np.testing.assert_allclose(probability, model.score(frame), rtol=0, atol=1e-5)


def heat_decisions(frame: pl.DataFrame) -> BoolArray:
    """Export a model that is the file's rule of heat failures and nothing else, and decide with it."""
    rule = '"Process temperature [K]" - "Air temperature [K]" < 8.6 AND "Rotational speed [rpm]" < 1380'
    schema = Schema(AI4I_SCHEMA.label, AI4I_SCHEMA.features, (Derived("heat", rule),))
    counted = survey(frame, schema)
    prepared = Preparation.fit(schema, counted, squares(frame, schema, counted.mean))
    prepared = replace(prepared, mean=(*prepared.mean[:-1], 0.0), scale=(*prepared.scale[:-1], 1.0))
    network = build_network(ModelSpec("logistic"), prepared.num_features, seed=0)
    weights = np.zeros(layout_of(network).num_parameters, np.float32)
    weights[prepared.feature_names.index("heat")] = 1.0
    model = TrainedModel.of(network, ModelSpec("logistic"), weights, prepared, 0.6, "HDF")
    return score_onnx(model.to_onnx(), frame)[1]


def test_a_heat_failure_is_decided_as_in_double_precision(readings: pl.DataFrame) -> None:
    expected = rule_flags(readings)["HDF"]
    assert expected.any()
    np.testing.assert_array_equal(heat_decisions(readings), expected)


def test_heat_failures_of_the_real_file_are_its_own_flags() -> None:
    frame = real_frame()
    np.testing.assert_array_equal(heat_decisions(frame), frame["HDF"].to_numpy() == 1)


def test_the_file_names_raw_columns_as_its_inputs(make_model: Any) -> None:
    described = onnx.load_from_string(make_model("logistic").to_onnx())
    kinds = {tensor.name: tensor.type.tensor_type.elem_type for tensor in described.graph.input}
    double, text = onnx.TensorProto.DOUBLE, onnx.TensorProto.STRING
    numbers = dict.fromkeys(("Speed [1/min]", "torque", "idle", "constant"), double)
    assert kinds == numbers | {"kind": text, "line": text}
    assert [tensor.name for tensor in described.graph.output] == ["probability", "decision"]


def test_the_file_carries_label_threshold_and_fingerprint(make_model: Any) -> None:
    model = make_model("logistic")
    described = onnx.load_from_string(model.to_onnx())
    facts = {entry.key: entry.value for entry in described.metadata_props}
    assert facts["label"] == "failed"
    assert facts["fingerprint"] == model.fingerprint
    assert float(facts["threshold_probability"]) == model.threshold_probability


def test_the_same_model_gives_the_same_bytes(make_model: Any) -> None:
    assert make_model("residual-mlp").to_onnx() == make_model("residual-mlp").to_onnx()


@pytest.mark.parametrize("name", ["probability", "decision", "werkbund/x"])
def test_a_column_named_as_the_graph_names_its_own_is_refused(name: str) -> None:
    prepared = Preparation((name,), (), (0.0,), (1.0,))
    network = build_network(ModelSpec("logistic"), 1, seed=0)
    model = TrainedModel.of(network, ModelSpec("logistic"), np.zeros(2, np.float32), prepared, 0.5, "failed")
    with pytest.raises(ModelError, match=f"got \\['{name}'\\]"):
        model.to_onnx()


def test_extreme_weights_give_no_nan(make_model: Any, table: pl.DataFrame) -> None:
    model = make_model("mlp")
    model = replace(model, weights=model.weights * np.float32(1e3))
    probability, _ = score_onnx(model.to_onnx(), table)
    assert np.isfinite(probability).all()
    np.testing.assert_allclose(probability, model.score(table), rtol=0, atol=1e-5)
