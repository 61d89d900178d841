"""Tables with everything that is awkward, and models on them with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from werkbund.data.preparation import Preparation
from werkbund.data.schema import Column, Derived, Schema
from werkbund.data.statistics import squares, survey
from werkbund.learner import ModelSpec, build_network, layout_of
from werkbund.model import TrainedModel

SCHEMA = Schema(
    label="failed",
    features=(
        Column("Speed [1/min]", "number", "1/min"),
        Column("kind", "category"),
        Column("torque", "number", "Nm"),
        Column("line", "category"),
        Column("idle", "number"),
        Column("constant", "number"),
    ),
    derived=(
        Derived("power", '"Speed [1/min]" * torque / 9.55', "W"),
        Derived("ratio", "torque / idle"),
        Derived("limit", "CASE WHEN kind = 'L' THEN 11000 WHEN kind != 'M' AND torque > 40 THEN 12000 END - torque"),
    ),
)

MakeModel = Callable[..., TrainedModel]


def random_table(rows: int, seed: int, levels: str) -> pl.DataFrame:
    rng = np.random.default_rng(seed)

    def gaps(values: Any) -> list[Any]:
        hidden = rng.random(rows) < 0.1
        return [None if hide else value for hide, value in zip(hidden, values.tolist(), strict=True)]

    infinite = np.where(rng.random(rows) < 0.05, np.inf, rng.normal(40, 10, rows))
    return pl.DataFrame(
        {
            "Speed [1/min]": rng.integers(1000, 2000, rows),
            "kind": gaps(rng.choice([*levels, ""], rows)),
            "torque": gaps(infinite),
            "line": rng.choice(["Süd", "Nord"], rows),
            "idle": gaps(rng.integers(0, 2, rows) == 1),
            "constant": np.full(rows, 0.1),
            "failed": rng.integers(0, 2, rows),
        },
        schema_overrides={"kind": pl.String, "torque": pl.Float64, "idle": pl.Boolean},
    )


@pytest.fixture(scope="session")
def table() -> pl.DataFrame:
    """A table of 400 rows with missing and infinite values, booleans, empty texts and a constant column."""
    return random_table(400, 0, "LMH")


@pytest.fixture(scope="session")
def strange_table() -> pl.DataFrame:
    """The same columns with levels that nobody has learnt."""
    return random_table(300, 1, "LXY")


@pytest.fixture(scope="session")
def preparation(table: pl.DataFrame) -> Preparation:
    counted = survey(table, SCHEMA)
    return Preparation.fit(SCHEMA, counted, squares(table, SCHEMA, counted.mean))


@pytest.fixture(scope="session")
def make_model(preparation: Preparation) -> MakeModel:
    """Build a model with random weights: `make_model(kind, **options)`."""

    def make(kind: str = "mlp", **options: Any) -> TrainedModel:
        spec = ModelSpec(kind, options)
        network = build_network(spec, preparation.num_features, seed=1)
        size = layout_of(network).num_parameters
        weights = np.random.default_rng(2).normal(0, 0.3, size).astype(np.float32)
        return TrainedModel.of(network, spec, weights, preparation, 0.3, "failed")

    return make
