"""A classifier of scikit-learn that is a federation in one process: the same run as `werkbund.run`, on rows at hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from werkbund.config import check_config
from werkbund.core.arrays import AnyArray, Float64Array
from werkbund.core.errors import FederationError
from werkbund.data.frames import polars_of
from werkbund.federation import run
from werkbund.model import load_model

_TEST = 0.05
"""Share of each client's rows that the run itself judges by: the caller has rows of his own for that."""


class FederatedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Learn from several plants' rows without adding them up, as an estimator of scikit-learn.

    Two classes: a failure or none. Missing values are allowed. What a run does besides, such as its report, is not
    kept; use `werkbund.run` for a federation whose verdict matters.

    Parameters
    ----------
    plant
        Column of a frame that says whose row it is; it is no feature. `groups` of `fit` does the same for arrays.
    model
        `model.kind` of the configuration, such as `mlp`, `logistic`, `trees` or `forest`.
    rounds
        Rounds of the federation; of trees, how many are grown.
    clients
        How many clients play plants where neither `plant` nor `groups` says whose rows are whose.
    settings
        Further sections of the configuration, such as `{"strategy": {"aggregation": {"name": "median"}}}`.
    random_state
        Seed of the whole run.

    Attributes
    ----------
    classes_
        (2,), the two classes; the second one, in ascending order, is the failure.
    model_
        What was learnt, a `werkbund` model.
    threshold_probability_
        From which risk on the run would raise an alarm by its costs; `predict` goes by the likelier class.
    plants_
        Names of the clients.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rows = rng.normal(size=(300, 2))
    >>> fitted = FederatedClassifier(model="logistic").fit(rows, rows[:, 0] > 0, groups=np.arange(300) % 3)
    >>> fitted.predict([[2.0, 0.0], [-2.0, 0.0]]).tolist()
    [True, False]
    """

    def __init__(
        self,
        plant: str | None = None,
        *,
        model: str = "mlp",
        rounds: int = 40,
        clients: int = 3,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        random_state: int = 0,
    ) -> None:
        self.plant = plant
        self.model = model
        self.rounds = rounds
        self.clients = clients
        self.settings = settings
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: npt.ArrayLike | None = None) -> FederatedClassifier:  # noqa: N803
        """Train.

        Parameters
        ----------
        X
            (rows, features): an array, or a frame of pandas or polars, which may hold texts.
        y
            (rows,), two classes.
        groups
            (rows,), the plant of each row, where no column of X says it.

        Raises
        ------
        ValueError
            If rows, classes or settings do not make a federation.
        """
        if self.plant is not None and groups is not None:
            raise ValueError(f"plants must be named once, got plant = {self.plant!r} and groups; leave one out")
        x, named = self._without_plant(X)
        if named is None and self.plant is not None:
            raise ValueError(f"plant must name a column of X, got {self.plant!r}; give a frame that has it, or groups")
        frame = _features_of(self, x, reset=True)
        failed = self._failures(y, frame.height)
        plants = named if groups is None else np.asarray(groups)
        if plants is not None:
            check_consistent_length(frame, plants)
            _check_known(plants)
        with TemporaryDirectory() as folder:
            self._train(frame, failed, plants, Path(folder))
        return self

    def predict_proba(self, X: Any) -> Float64Array:  # noqa: N803
        """Return the probability of each class: (rows, 2)."""
        check_is_fitted(self, "model_")
        frame = _features_of(self, self._without_plant(X)[0], reset=False)
        risk = np.asarray(self.model_.score(frame), np.float64)
        return np.column_stack([1.0 - risk, risk])

    def predict(self, X: Any) -> AnyArray:  # noqa: N803
        """Return the likelier class of each row: (rows,)."""
        likely: AnyArray = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[likely])

    def __sklearn_tags__(self) -> Any:
        """Say what it can learn from."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        return tags

    def _without_plant(self, x: Any) -> tuple[Any, AnyArray | None]:
        """Return the features, and the plant of each row where a column says it."""
        if self.plant is None:
            return x, None
        frame = _table_of(x)
        if frame is None or self.plant not in frame.columns:
            return x, None
        return frame.drop(self.plant), frame[self.plant].to_numpy()

    def _failures(self, y: Any, rows: int) -> AnyArray:
        """Return whether each row is of the second class, and keep the classes."""
        if y is None:
            raise ValueError("FederatedClassifier requires y to be passed, but the target y is None")
        labels = column_or_1d(y, warn=True)
        if len(labels) != rows:
            raise ValueError(f"X and y have inconsistent numbers of samples: {rows} and {len(labels)}")
        if labels.dtype.kind == "f":
            assert_all_finite(labels, input_name="y")
        check_classification_targets(labels)
        self.classes_ = np.unique(labels)
        if len(self.classes_) > 2:
            kind = type_of_target(labels)
            raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
        if len(self.classes_) < 2:
            raise ValueError(f"y must have two classes, got 1 class, {self.classes_[0]!r}: there is nothing to learn")
        return np.asarray(labels == self.classes_[1])

    def _train(self, frame: pl.DataFrame, failed: AnyArray, plants: AnyArray | None, folder: Path) -> None:
        """Run the federation, and keep what it learnt."""
        label, client = (_free(name, frame.columns) for name in ("failure", "plant"))
        kinds = {
            name: {"kind": "number" if kind.is_numeric() else "category"}
            for name, kind in zip(frame.columns, frame.dtypes, strict=True)
        }
        written = frame.with_columns(pl.Series(label, failed.astype(np.int64)))
        data: dict[str, Any] = {"path": str(folder / "rows.parquet"), "label": label, "columns": kinds}
        clients: dict[str, Any] = {"test": _TEST, "partition": "iid", "count": self.clients}
        if plants is not None:
            written = written.with_columns(pl.Series(client, [str(name) for name in plants]))
            data, clients = {**data, "client": client}, {"test": _TEST, "partition": "by-column"}
        written.write_parquet(folder / "rows.parquet")
        sections: dict[str, dict[str, Any]] = {
            "federation": {"rounds": self.rounds, "seed": self.random_state},
            "data": data,
            "clients": clients,
            "model": {"kind": self.model},
        }
        for name, keys in (self.settings or {}).items():
            sections[name] = {**sections.get(name, {}), **keys}
        try:
            done = run(check_config(sections), out=folder / "run", compare=False, report=False)
        except FederationError as error:
            raise ValueError(str(error)) from error
        self.model_ = load_model(done.folder / "model")
        self.threshold_probability_ = self.model_.threshold_probability
        self.plants_ = np.unique([str(name) for name in plants]) if plants is not None else np.arange(self.clients)


def _table_of(x: Any) -> pl.DataFrame | None:
    """Return a frame of pandas or polars as one of polars; None for whatever has no columns with names."""
    return polars_of(x) if isinstance(x, pl.DataFrame) or hasattr(x, "iloc") else None


def _features_of(estimator: Any, x: Any, reset: bool) -> pl.DataFrame:
    """Return features as a table, checked as scikit-learn does it: number, names, and that nothing is infinite.

    Parameters
    ----------
    estimator
        Who keeps names and number of features.
    x
        (rows, features): an array, or a frame, whose columns may hold texts.
    reset
        Whether names and number are taken from here, as in `fit`, or compared.

    Raises
    ------
    ValueError
        If the features are none that can be learnt from, or not those of `fit`.
    """
    frame = _table_of(x)
    if frame is not None and not all(kind.is_numeric() for kind in frame.dtypes):
        validate_data(estimator, frame, reset=reset, skip_check_array=True)
        for column in frame.select(pl.selectors.float()):
            if column.is_infinite().any():
                raise ValueError(f"X must be finite or missing, got infinity in {column.name!r}; mend these rows")
        return frame
    checked: AnyArray = validate_data(estimator, x, reset=reset, dtype="numeric", ensure_all_finite="allow-nan")
    names = getattr(estimator, "feature_names_in_", [f"x{place}" for place in range(checked.shape[1])])
    values = np.asarray(checked, np.float64)
    return pl.DataFrame({str(name): values[:, place] for place, name in enumerate(names)})


def _check_known(plants: AnyArray) -> None:
    """Refuse rows of nobody.

    Raises
    ------
    ValueError
        If there are any.
    """
    missing = sum(name is None or name != name for name in plants.tolist())  # NaN differs from itself
    if missing:
        raise ValueError(f"each row must have a plant, got {missing} rows without one; leave them out, or name it")


def _free(name: str, taken: list[str]) -> str:
    """Return a name that no column has."""
    while name in taken:
        name += "_"
    return name
