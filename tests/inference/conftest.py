"""A network and trees, learnt in seconds from generated rows of three plants."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from werkbund.config import check_config
from werkbund.data import generate
from werkbund.federation import Run, run
from werkbund.inference import ModelPlace, Scorer

ROUNDS = {"mlp": 40, "trees": 25}


@pytest.fixture(scope="session", params=list(ROUNDS))
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = check_config(
        {
            "model": {"kind": request.param},
            "federation": {"rounds": ROUNDS[request.param], "seed": 3},
            "data": {"source": "generator", "rows": 8000, "plants": 3},
        }
    )
    return run(config, out=tmp_path_factory.mktemp("inference") / request.param, compare=False)


@pytest.fixture(scope="session")
def place(done: Run) -> ModelPlace:
    return ModelPlace.of(done.folder)


@pytest.fixture(scope="session")
def scorer(place: ModelPlace) -> Scorer:
    return Scorer.load(place)


@pytest.fixture(scope="session")
def rows() -> pl.DataFrame:
    """New rows of the same kind."""
    return generate(rows=400, plants=3, seed=12)


@pytest.fixture
def copied(done: Run, tmp_path: Path) -> Path:
    """Return a copy of the run's model folder with the ONNX file beside it."""
    (tmp_path / "model").mkdir()
    for file in (done.folder / "model").iterdir():
        (tmp_path / "model" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.onnx").write_bytes((done.folder / "model.onnx").read_bytes())
    return tmp_path
