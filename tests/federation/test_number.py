"""A federation whose target is a number: what it learns, counts, writes and foretells, for trees and networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from typer.testing import CliRunner

from werkbund.cli import app
from werkbund.config.reading import load_config
from werkbund.core.errors import ConfigError
from werkbund.core.target import NumberTarget
from werkbund.federation.job import run
from werkbund.model import load_model
from werkbund.model.onnx.running import feeds_of, open_session

NAMES = ("heat", "load")


def _machines(number: int = 32, seed: int = 3) -> pl.DataFrame:
    """Return machines that wear down at their own pace, with the life that each row has left."""
    rng, frames = np.random.default_rng(seed), []
    for machine in range(number):
        life = int(rng.integers(50, 100))
        age, pace = np.arange(life), rng.normal(1.0, 0.1)
        wear = (age / life) ** 2 * pace
        signals = {
            name: wear * scale + rng.normal(0, 0.05, life) for name, scale in zip(NAMES, (1.0, -0.5), strict=True)
        }
        frames.append(pl.DataFrame({**signals, "left": life - age, "unit": machine, "plant": f"plant-{machine % 4}"}))
    return pl.concat(frames)


def _config(tmp_path: Path, **sections: Any) -> Any:
    path = tmp_path / "lives.csv"
    if not path.is_file():
        _machines().write_csv(path)
    lines = [
        "[data]",
        f'path = "{path}"',
        'label = "left"',
        'target = "number"',
        "horizon = 20",
        "cap = 80",
        'client = "plant"',
        'machine = "unit"',
        "[clients]",
        "later = 0",
        "[evaluation]",
        'metric = "rmse"',
        "local_models = 2",
        "[federation]",
        f"rounds = {sections.pop('rounds', 20)}",
        *(
            f"[{name}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
            for name, keys in sections.items()
        ),
    ]
    file = tmp_path / "lives.toml"
    file.write_text("\n".join(lines))
    return load_config(file)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("number")
    return run(_config(folder, model={"kind": "trees"}), out=folder / "run").folder


def test_trees_foretell_lives_as_pooled_ones_do_and_better_than_the_mean(trees: Path) -> None:
    figures = json.loads((trees / "result.json").read_text())["metrics"]
    federated = figures["federated"]
    assert federated["rmse"] == pytest.approx(figures["pooled"]["rmse"], abs=1e-6)
    assert federated["rmse"] < 14.0  # the mean alone reaches 25
    assert federated["mae"] < federated["rmse"]
    assert federated["average_precision"] > 0.8
    assert federated["rmse"] < figures["local_mean"]["rmse"]
    assert figures["pooled_forest"]["rmse"] is None


def test_their_error_is_that_of_another_library_on_the_same_rows(trees: Path) -> None:
    model, frame = load_model(trees / "model"), _machines(number=60, seed=8)
    fresh = frame.filter(pl.col("unit") >= 40)
    true = np.minimum(fresh["left"].to_numpy(), 80.0)
    numbers = model.foretell(fresh)
    assert numbers is not None
    ours = np.sqrt(((numbers - true) ** 2).mean())
    known = frame.filter(pl.col("unit") < 24)
    other = HistGradientBoostingRegressor(max_iter=20, max_depth=5, min_samples_leaf=5, random_state=0)
    other.fit(known.select(NAMES).to_numpy(), np.minimum(known["left"].to_numpy(), 80.0))
    assert ours < 1.1 * np.sqrt(((other.predict(fresh.select(NAMES).to_numpy()) - true) ** 2).mean())


def test_the_exported_model_foretells_the_same_numbers(trees: Path) -> None:
    model, frame = load_model(trees / "model"), _machines(number=3)
    assert isinstance(model.target, NumberTarget)
    session = open_session((trees / "model.onnx").read_bytes())
    probability, foretold = session.run(["probability", "foretold"], feeds_of(session, frame))
    assert foretold == pytest.approx(model.foretell(frame), abs=1e-9)
    assert probability == pytest.approx(model.score(frame), abs=1e-12)
    assert (model.decide(frame) == (model.score(frame) >= model.threshold_probability)).all()


def test_predict_says_how_far_its_numbers_are_off_and_which_rows_are_within_the_horizon(
    trees: Path, tmp_path: Path
) -> None:
    new = _machines(number=3, seed=11)
    new.write_csv(tmp_path / "new.csv")
    told = CliRunner().invoke(app, ["predict", str(trees), str(tmp_path / "new.csv"), "--out", str(tmp_path / "s.csv")])
    assert told.exit_code == 0, told.output
    scores = pl.read_csv(tmp_path / "s.csv")
    inside = scores["outside"].is_null()
    off = (scores["foretold left"] - new["left"].clip(upper_bound=80)).filter(inside)
    within = int((new["left"].filter(inside) <= 20).sum())
    assert (
        f"left is foretold with a root mean squared error of {np.sqrt((off.to_numpy() ** 2).mean()):.4g}."
        in told.output
    )
    assert f"Of {inside.sum()} scored rows {within} are at most 20: " in told.output


def test_a_network_learns_the_number_too_and_forests_take_the_squared_error(tmp_path: Path) -> None:
    training = {"learning_rate": 0.01, "optimizer": "adam", "epochs": 2}
    network = run(
        _config(tmp_path, rounds=8, model={"kind": "mlp"}, training=training), out=tmp_path / "network"
    ).folder
    figures = json.loads((network / "result.json").read_text())["metrics"]
    assert figures["federated"]["rmse"] < 16.0
    model, frame = load_model(network / "model"), _machines(number=2)
    session = open_session((network / "model.onnx").read_bytes())
    (foretold,) = session.run(["foretold"], feeds_of(session, frame))
    assert foretold == pytest.approx(model.foretell(frame), abs=1e-2)
    forest = run(_config(tmp_path, model={"kind": "forest"}, trees={"count": 20}), out=tmp_path / "forest").folder
    assert json.loads((forest / "result.json").read_text())["metrics"]["federated"]["rmse"] < 14.0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"horizon": None}, "needs data.horizon"),
        ({"cap": 10}, r"data.horizon must be above 0 and below data.cap"),
        ({"target": "failure"}, "data.horizon, data.cap is for data.target = 'number'"),
        ({"label": "plant", "client": None}, "must hold numbers"),
    ],
)
def test_what_does_not_fit_a_number_is_refused_by_name(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    from werkbund.config.reading import changed

    with pytest.raises(Exception, match=match) as caught:
        run(changed(_config(tmp_path, model={"kind": "trees"}), data=change), out=tmp_path / "run")
    assert isinstance(caught.value, ConfigError) or "DataError" in type(caught.value).__name__


@pytest.mark.parametrize("kind", ["mlp", "trees"])
def test_sums_of_errors_are_asked_for_where_a_number_is_foretold_alone(tmp_path: Path, kind: str) -> None:
    from werkbund.config.reading import changed
    from werkbund.federation.families.family import family_of

    number = _config(tmp_path, model={"kind": kind})
    failures = changed(number, data={"target": "failure", "horizon": None, "cap": None})
    asked = [
        {name for names in family_of(config).asks(config).values() for name in names} for config in (number, failures)
    ]
    assert ["*.errors" in names for names in asked] == [True, False]


def test_an_attack_on_labels_is_refused_where_a_number_is_learnt(tmp_path: Path) -> None:
    attacked = _config(tmp_path, attack={"kind": "label-flip", "clients": ["plant-1"]}, rounds=2)
    with pytest.raises(ConfigError, match=r"attack.kind 'label-flip' .* data.target = 'number'"):
        run(attacked, out=tmp_path / "run")
