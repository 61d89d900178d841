"""The federation as an estimator of scikit-learn: its own checks, frames of pandas and polars, and the same run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import werkbund
from werkbund import FederatedClassifier

RNG = np.random.default_rng(0)
ROWS = pl.DataFrame(
    {
        "works": [f"W{row % 3}" for row in range(360)],
        "load": RNG.normal(size=360),
        "heat": RNG.normal(size=360),
        "kind": [("L", "M", "H")[row % 7 % 3] for row in range(360)],
    }
)
FAILED = ROWS["load"].to_numpy() + 0.5 * (ROWS["kind"].to_numpy() == "H") > 0.8


@parametrize_with_checks([FederatedClassifier(model="logistic", rounds=15)])  # type: ignore[untyped-decorator]
def test_it_is_an_estimator_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def fitted() -> FederatedClassifier:
    return FederatedClassifier("works", model="logistic", rounds=20).fit(ROWS, FAILED)


def test_pandas_and_polars_give_the_same_model(fitted: FederatedClassifier) -> None:
    frame = pd.DataFrame(ROWS.to_dict(as_series=False))
    other = clone(fitted).fit(frame, pd.Series(FAILED))
    assert other.predict_proba(frame).tobytes() == fitted.predict_proba(ROWS).tobytes()
    assert fitted.plants_.tolist() == ["W0", "W1", "W2"]
    assert fitted.feature_names_in_.tolist() == ["load", "heat", "kind"]
    assert (fitted.predict(ROWS) == FAILED).mean() > 0.85


def test_groups_do_what_a_column_of_plants_does() -> None:
    numbers = ROWS.select("load", "heat")
    named = FederatedClassifier("works", model="logistic", rounds=5).fit(ROWS.drop("kind"), FAILED)
    grouped = FederatedClassifier(model="logistic", rounds=5).fit(numbers, FAILED, groups=ROWS["works"].to_numpy())
    assert grouped.predict_proba(numbers).tobytes() == named.predict_proba(ROWS.drop("kind")).tobytes()


def test_it_learns_what_the_run_learns(tmp_path: Any, fitted: FederatedClassifier) -> None:
    ROWS.with_columns(pl.Series("failure", FAILED.astype(int))).write_csv(tmp_path / "rows.csv")
    config = werkbund.check_config(
        {
            "federation": {"rounds": 20},
            "data": {
                "path": str(tmp_path / "rows.csv"),
                "label": "failure",
                "client": "works",
                "columns": {"load": {"kind": "number"}, "heat": {"kind": "number"}, "kind": {"kind": "category"}},
            },
            "clients": {"partition": "by-column", "test": 0.05},
            "model": {"kind": "logistic"},
        }
    )
    done = werkbund.run(config, out=tmp_path / "run", compare=False)
    scores = werkbund.load_model(done.folder / "model").score(ROWS)
    assert fitted.predict_proba(ROWS)[:, 1].tobytes() == scores.tobytes()


def test_it_goes_into_pipelines_and_cross_validation() -> None:
    numbers = ROWS.select("load", "heat").to_numpy()
    pipeline = make_pipeline(StandardScaler(), FederatedClassifier(model="logistic", rounds=10))
    assert cross_val_score(pipeline, numbers, FAILED, cv=3, scoring="roc_auc").min() > 0.8


@pytest.mark.parametrize(
    ("estimator", "why"),
    [
        (FederatedClassifier("site"), "plant must name a column of X, got 'site'"),
        (FederatedClassifier("works", model="oak"), r"model\.kind"),
        (FederatedClassifier("works", settings={"strategy": {"aggregation": {"name": "mean"}}}), "mean"),
    ],
)
def test_what_makes_no_federation_is_a_value_error_that_says_why(estimator: FederatedClassifier, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        estimator.fit(ROWS, FAILED)


def test_rows_of_nobody_and_infinite_readings_are_refused(fitted: FederatedClassifier) -> None:
    nobody = ROWS.with_columns(pl.when(pl.int_range(pl.len()) < 3).then(None).otherwise("works").alias("works"))
    with pytest.raises(ValueError, match="each row must have a plant, got 3 rows without one"):
        clone(fitted).fit(nobody, FAILED)
    with pytest.raises(ValueError, match="got infinity in 'load'"):
        clone(fitted).fit(ROWS.with_columns(load=pl.col("load") / 0), FAILED)
    with pytest.raises(ValueError, match="plants must be named once"):
        clone(fitted).fit(ROWS, FAILED, groups=ROWS["works"])


def test_new_rows_need_no_plant(fitted: FederatedClassifier) -> None:
    new = ROWS.drop("works")
    assert fitted.predict_proba(new).tobytes() == fitted.predict_proba(ROWS).tobytes()
