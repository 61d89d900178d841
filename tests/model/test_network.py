from __future__ import annotations

import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from werkbund.core.errors import DataError, ModelError
from werkbund.learner import ModelSpec, layout_of, weights_of
from werkbund.model import TrainedModel


def test_scores_are_the_networks_sigmoid_of_prepared_rows(make_model: Any, table: pl.DataFrame) -> None:
    model: TrainedModel = make_model("mlp")
    rows = torch.from_numpy(model.preparation.transform(table))
    with torch.inference_mode():
        expected = torch.sigmoid(model.build()(rows).reshape(-1).double()).numpy()
    assert model.score(table).dtype == np.float64
    np.testing.assert_allclose(model.score(table), expected, rtol=1e-12)
    np.testing.assert_array_equal(model.decide(table), model.score(table) >= 0.3)


def test_logistic_regression_is_its_closed_form(make_model: Any, table: pl.DataFrame) -> None:
    model: TrainedModel = make_model("logistic")
    tensors = model.layout.split(model.weights)
    expected = model.preparation.transform(table).astype(np.float64) @ tensors["weight"][0] + tensors["bias"]
    np.testing.assert_allclose(model.logits(table), expected, rtol=1e-4, atol=1e-5)


def test_dropout_does_not_disturb_scores(make_model: Any, table: pl.DataFrame) -> None:
    model: TrainedModel = make_model("mlp", dropout=0.5)
    np.testing.assert_array_equal(model.score(table), model.score(table))
    np.testing.assert_allclose(model.score(table), make_model("mlp").score(table), rtol=1e-6)


def test_the_order_of_rows_and_columns_does_not_matter(make_model: Any, table: pl.DataFrame) -> None:
    model: TrainedModel = make_model("mlp")
    turned = table[::-1].select(reversed(table.columns))
    np.testing.assert_allclose(model.score(turned), model.score(table)[::-1], rtol=1e-5)


def test_the_label_is_not_needed_for_scoring(make_model: Any, table: pl.DataFrame) -> None:
    model: TrainedModel = make_model("mlp")
    np.testing.assert_array_equal(model.score(table.drop("failed")), model.score(table))


def test_a_missing_column_is_named(make_model: Any, table: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="torque"):
        make_model("mlp").score(table.drop("torque"))


def test_no_row_gives_no_score(make_model: Any, table: pl.DataFrame) -> None:
    assert make_model("mlp").score(table[:0]).shape == (0,)


def test_the_model_owns_its_weights(make_model: Any, table: pl.DataFrame) -> None:
    model: TrainedModel = make_model("mlp")
    vector = model.weights.copy()
    own = TrainedModel.of(model.build(), model.network, vector, model.preparation, 0.5, "failed")
    before = own.score(table)
    vector[:] = 0.0
    np.testing.assert_array_equal(own.score(table), before)


def test_a_built_network_holds_the_weights(make_model: Any) -> None:
    model: TrainedModel = make_model("residual-mlp")
    network = model.build()
    assert layout_of(network) == model.layout
    np.testing.assert_array_equal(weights_of(network), model.weights)


@pytest.mark.parametrize("kind", ["logistic", "mlp", "residual-mlp"])
def test_a_saved_model_scores_the_same_bits(kind: str, make_model: Any, table: pl.DataFrame, tmp_path: Path) -> None:
    model: TrainedModel = make_model(kind)
    model.save(tmp_path / "deep" / "model")
    loaded = TrainedModel.load(tmp_path / "deep" / "model")
    np.testing.assert_array_equal(loaded.score(table), model.score(table))
    assert loaded.fingerprint == model.fingerprint
    assert loaded.to_onnx() == model.to_onnx()
    assert (loaded.label, loaded.threshold_probability) == (model.label, model.threshold_probability)


def test_saving_twice_leaves_the_second_model(make_model: Any, tmp_path: Path) -> None:
    make_model("residual-mlp").save(tmp_path)
    make_model("logistic").save(tmp_path)
    assert TrainedModel.load(tmp_path).fingerprint == make_model("logistic").fingerprint


def test_the_folder_holds_values_alone(make_model: Any, tmp_path: Path) -> None:
    make_model("mlp").save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".npy"}
    for path in tmp_path.glob("*.npy"):
        np.load(path, allow_pickle=False)


@pytest.mark.parametrize(
    "change",
    [
        {"threshold_probability": 0.31},
        {"label": "worn"},
        {"network": ModelSpec("mlp", {"activation": "tanh"})},
    ],
)
def test_the_fingerprint_follows_what_decides_a_score(make_model: Any, change: dict[str, Any]) -> None:
    model: TrainedModel = make_model("mlp")
    assert replace(model, **change).fingerprint != model.fingerprint


def test_the_fingerprint_tells_one_weight(make_model: Any) -> None:
    model: TrainedModel = make_model("mlp")
    other = model.weights.copy()
    other[5] = np.nextafter(other[5], np.float32(1e3))
    assert replace(model, weights=other).fingerprint != model.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros(3, np.float32)}, "parameters"),
        ({"threshold_probability": 1.5}, r"in \[0, 1\], got 1.5"),
        ({"network": ModelSpec("mlp", {"hidden": [3]})}, "layout"),
        ({"network": ModelSpec("nothing")}, "nothing"),
        ({"constants": {"unknown": np.zeros(2)}}, "do not train"),
    ],
)
def test_an_impossible_model_cannot_exist(make_model: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        replace(make_model("mlp"), **change)


def test_diverged_weights_are_refused(make_model: Any) -> None:
    model: TrainedModel = make_model("mlp")
    with pytest.raises(ModelError, match="diverged"):
        replace(model, weights=np.full_like(model.weights, np.nan))


@pytest.fixture
def saved(make_model: Any, tmp_path: Path) -> Path:
    make_model("mlp").save(tmp_path / "model")
    return tmp_path / "model"


def edit(folder: Path, **changes: Any) -> None:
    described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(described | changes), encoding="utf-8")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"must have model\.json"):
        TrainedModel.load(tmp_path)


@pytest.mark.parametrize("name", ["model.json", "weights.npy"])
def test_a_truncated_file_is_refused_by_name(saved: Path, name: str) -> None:
    whole = (saved / name).read_bytes()
    (saved / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=name):
        TrainedModel.load(saved)


def test_a_missing_array_is_refused_by_name(saved: Path) -> None:
    (saved / "weights.npy").unlink()
    with pytest.raises(ModelError, match=r"weights\.npy"):
        TrainedModel.load(saved)


def test_changed_weights_are_noticed(saved: Path) -> None:
    weights = np.load(saved / "weights.npy")
    np.save(saved / "weights.npy", weights + np.float32(0.1))
    with pytest.raises(ModelError, match="changed after it was saved"):
        TrainedModel.load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold_probability": 0.9}, "changed after"),
        ({"format": 99}, "format 1"),
        ({"layout": {}}, "incomplete"),
        ({"arrays": {}}, "incomplete"),
        ({"arrays": []}, "list its arrays"),
        ({"preparation": {}}, "incomplete"),
    ],
)
def test_a_changed_description_is_refused(saved: Path, change: dict[str, Any], message: str) -> None:
    edit(saved, **change)
    with pytest.raises(ModelError, match=message):
        TrainedModel.load(saved)


class Malice:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("executed",)


def test_a_pickle_in_the_folder_is_never_run(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(saved / "weights.npy", np.array([Malice()], dtype=object), allow_pickle=True)
    with pytest.raises(ModelError, match=r"weights\.npy"):
        TrainedModel.load(saved)
    (saved / "weights.npy").write_bytes(pickle.dumps(Malice()))
    with pytest.raises(ModelError, match=r"weights\.npy"):
        TrainedModel.load(saved)
    assert not (tmp_path / "executed").exists()


def test_a_description_cannot_lead_out_of_its_folder(saved: Path) -> None:
    shutil.move(saved / "weights.npy", saved.parent / "weights.npy")
    edit(saved, arrays={"weights": "../weights.npy"})
    with pytest.raises(ModelError, match=r"model/weights\.npy"):
        TrainedModel.load(saved)


def test_options_that_json_cannot_hold_are_refused(make_model: Any) -> None:
    model: TrainedModel = make_model("mlp")
    with pytest.raises(ModelError, match="plain values"):
        replace(model, network=ModelSpec("mlp", {"hidden": (64, 32), "activation": "relu", "dropout": np.float32(0)}))
