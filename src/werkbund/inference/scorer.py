"""A finished model in daily use: found by its run's folder, run by ONNX Runtime, held to what it can know.

All families are scored by the graph that is delivered with each model, so that `predict`, `serve` and a program that
is not ours give the same answers; neither PyTorch nor a network's own code is needed for that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from werkbund.core.arrays import BoolArray, Float32Array, Float64Array
from werkbund.core.errors import ConfigError, ModelError
from werkbund.core.target import FAILURE, NumberTarget, Target, is_failure, target_from_json
from werkbund.data.preparation import Preparation
from werkbund.data.targets import Value, binary_labels, numbers_of
from werkbund.evaluation.costs import Costs
from werkbund.evaluation.counts import Confusion
from werkbund.evaluation.ranking import precision_recall_curve
from werkbund.inference.domain import Domain, Oddity, outside
from werkbund.model.contract import Model
from werkbund.model.onnx.running import clean_feeds, open_session
from werkbund.model.several import folder_of_client
from werkbund.model.storage import DESCRIPTION, load_model, read_description

GRAPH = "model.onnx"


@dataclass(frozen=True)
class ModelPlace:
    """Say where the parts of a model lie.

    Parameters
    ----------
    folder
        Its description and arrays.
    graph
        The exported model; it need not be there.
    home
        The run's folder, or a plant's, with what else is known of the model.
    """

    folder: Path
    graph: Path
    home: Path

    @classmethod
    def of(cls, model: str | Path, client: str | None = None) -> ModelPlace:
        """Find a model by a run's folder, its own folder, or its ONNX file beside that.

        Parameters
        ----------
        model
            The path.
        client
            Whose model, where a run has several.

        Raises
        ------
        ModelError
            If there is none.
        """
        path = Path(model)
        if path.is_file():
            path = path.parent if (path.parent / DESCRIPTION).is_file() else path.parent / "model"
        folder = path if (path / DESCRIPTION).is_file() else folder_of_client(path, client)
        if not (folder / DESCRIPTION).is_file():
            raise ModelError(
                f"MODEL must be a run's folder, its folder model, or its file {GRAPH}, got {str(model)!r}, where no "
                f"{DESCRIPTION} lies; name another"
            )
        graph = folder / GRAPH if (folder / GRAPH).is_file() else folder.parent / GRAPH
        home = folder.parent.parent if folder.parent.name == "models" and (folder / GRAPH).is_file() else folder.parent
        return cls(folder, graph, home)


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Hold what a model says of rows.

    Parameters
    ----------
    probability
        (rows,), of the label; NaN where a row is outside of what the model can know.
    inspect
        (rows,), whether the probability reaches the threshold; False where a row is outside.
    outside
        (rows,), rows without a score.
    foretold
        (rows,), the number that is foretold, NaN where a row is outside; None where none is.
    oddities
        What is odd about the rows, by column.
    """

    probability: Float64Array
    inspect: BoolArray
    outside: BoolArray
    foretold: Float64Array | None
    oddities: tuple[Oddity, ...]

    def of(self, rows: pl.Series) -> ScoredRows:
        """Return what is said of some rows, by a mask of all: (rows,); without the oddities, which name rows of all."""
        kept = rows.to_numpy()
        foretold = None if self.foretold is None else self.foretold[kept]
        return ScoredRows(self.probability[kept], self.inspect[kept], self.outside[kept], foretold, ())

    def columns_outside(self) -> list[list[str]]:
        """Return for each row the columns for which it has no score; none where it has one."""
        why: list[list[str]] = [[] for _ in self.probability]
        for odd in self.oddities:
            for row in odd.rows if odd.is_outside else ():
                why[row].append(odd.column)
        return why

    def why_outside(self) -> list[str | None]:
        """Return the same as a text a row; None where it has a score."""
        return ["; ".join(columns) or None for columns in self.columns_outside()]


@dataclass(frozen=True, eq=False)
class Scorer:
    """Score rows in raw units with an exported model.

    Parameters
    ----------
    graph
        Bytes of the ONNX file.
    preparation, threshold_probability, label, target
        As the model has them.
    fingerprint
        Of the model; the graph must carry the same.
    costs
        By which the threshold was chosen; None where nothing beside the model says.
    """

    graph: bytes
    preparation: Preparation
    threshold_probability: float
    label: str
    fingerprint: str
    target: Target = FAILURE
    costs: Costs | None = None
    _session: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        session = open_session(self.graph)
        told = session.get_modelmeta().custom_metadata_map.get("fingerprint")
        if told != self.fingerprint:
            raise ModelError(
                f"{GRAPH} must be of the model in the folder, {self.fingerprint}, got one of {told}; export it again"
            )
        object.__setattr__(self, "_session", session)

    @classmethod
    def of(cls, model: Model, costs: Costs | None = None) -> Scorer:
        """Return what scores as a model does, by its graph."""
        told = (model.preparation, model.threshold_probability, model.label, model.fingerprint, model.target)
        return cls(model.to_onnx(), *told, costs)

    @classmethod
    def load(cls, place: ModelPlace) -> Scorer:
        """Read a model; its graph is made anew where there is no file of it.

        Raises
        ------
        ModelError
            If a file is damaged, or graph and description are of two models.
        """
        costs = _costs(place.home)
        if not place.graph.is_file():
            return cls.of(load_model(place.folder), costs)
        told = read_description(place.folder)
        try:
            return cls(
                place.graph.read_bytes(),
                Preparation.from_json(told["preparation"]),
                float(told["threshold_probability"]),
                str(told["label"]),
                str(told["fingerprint"]),
                target_from_json(told["target"]) if "target" in told else FAILURE,
                costs,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"model folder {place.folder} is incomplete ({error!r}); save the model again") from error

    @cached_property
    def domain(self) -> Domain:
        """What rows can be scored."""
        return Domain(self.preparation)

    def score(self, frame: pl.DataFrame) -> ScoredRows:
        """Return what the model says of rows in raw units; columns that it does not read are ignored.

        Raises
        ------
        DataError
            If a column is missing, or holds text where the model reads numbers.
        """
        cleaned = self.domain.clean(frame)
        oddities = self.domain.check(cleaned)
        off = outside(oddities, frame.height)
        names = [output.name for output in self._session.get_outputs()]
        told = dict(zip(names, self._session.run(names, clean_feeds(cleaned)), strict=True))
        foretold = told.get("foretold")
        return ScoredRows(
            np.where(off, np.nan, told["probability"]),
            told["decision"] & ~off,
            off,
            None if foretold is None else np.where(off, np.nan, foretold),
            oddities,
        )

    def labels(self, frame: pl.DataFrame, positive: Value | tuple[Value, ...] | None = None) -> Float32Array:
        """Return the label of rows that have it: (rows,), 1 for a failure; of a number, whether it is that low.

        Parameters
        ----------
        frame
            Has the column with the label.
        positive
            Its value for a failure, or several; None where it holds 0 and 1.

        Raises
        ------
        DataError
            If the label cannot be read so.
        """
        column = frame[self.label]
        if isinstance(self.target, NumberTarget):
            return is_failure(self.target.risks(numbers_of(column)))
        return binary_labels(column, positive)

    def error(self, frame: pl.DataFrame, scored: ScoredRows) -> float | None:
        """Return the root mean squared error of what is foretold, over rows with a score; None of failures alone.

        Parameters
        ----------
        frame
            Has the column with the true number, which counts as the cap where it is above.
        scored
            The same rows.
        """
        if not isinstance(self.target, NumberTarget) or scored.foretold is None:
            return None
        true = np.minimum(numbers_of(frame[self.label]), self.target.cap)
        squares = (scored.foretold - true)[~scored.outside] ** 2
        return float(np.sqrt(squares.mean())) if len(squares) else None

    @property
    def event(self) -> str:
        """What befell a row that counts as a failure, in words."""
        return f"are at most {self.target.horizon:g}" if isinstance(self.target, NumberTarget) else "failed"

    def expected_costs(self, scored: ScoredRows) -> Float64Array | None:
        """Return what the decision on each row costs on average if its probability is right; None without costs.

        To inspect costs an inspection that may find nothing, not to inspect a failure that may come: (rows,), NaN where
        a row is outside.
        """
        if self.costs is None:
            return None
        needless = (1.0 - scored.probability) * self.costs.needless_inspection
        return np.where(scored.inspect, needless, scored.probability * self.costs.missed_failure)


@dataclass(frozen=True)
class Figures:
    """Hold what came of decisions.

    Parameters
    ----------
    rows, failures
        Of the rows that have a score.
    outside, outside_failures
        Of those that have none, and count nowhere else.
    average_precision
        Of the ranking by probability, ties together; NaN without a failure.
    found, inspected
        Failures that were announced, and rows that were.
    cost, cost_nothing, cost_everything
        Of the decisions, of inspecting nothing and of inspecting every row, all rows together; None without costs.
    """

    rows: int
    failures: int
    outside: int
    outside_failures: int
    average_precision: float
    found: int
    inspected: int
    cost: float | None
    cost_nothing: float | None
    cost_everything: float | None

    @classmethod
    def of(cls, labels: Float32Array, scored: ScoredRows, costs: Costs | None) -> Figures:
        """Compare what a model said with what happened.

        Parameters
        ----------
        labels
            (rows,), 1 for a failure, 0 otherwise.
        scored
            The same rows.
        costs
            Of the two ways to be wrong.
        """
        failed, inside = labels > 0, ~scored.outside
        said, true = scored.inspect[inside], failed[inside]
        rows, failures, found, inspected = len(true), int(true.sum()), int((said & true).sum()), int(said.sum())
        good = rows - failures
        decided = Confusion(found, inspected - found, failures - found, good - (inspected - found))
        nothing, everything = Confusion(0, 0, failures, good), Confusion(failures, good, 0, 0)
        return cls(
            rows,
            failures,
            int((~inside).sum()),
            int(failed[~inside].sum()),
            _average_precision(scored.probability[inside], true),
            found,
            inspected,
            *(None if costs is None else costs.of(each) for each in (decided, nothing, everything)),
        )

    def sentences(self, event: str = "failed") -> list[str]:
        """Return the figures in words; `event` says what befell a row that counts as a failure."""
        if not self.rows:
            return [f"None of the {self.outside} rows has a score; {self.outside_failures} of them {event}."]
        lines = [f"None of the {self.rows} scored rows {event}; {self.inspected} were announced."]
        if self.failures:
            lines = [
                f"Of {self.rows} scored rows {self.failures} {event}: {self.found} of them are among the "
                f"{self.inspected} announced (average precision {self.average_precision:.2f})."
            ]
        if self.outside:
            lines.append(f"{self.outside} rows had no score, of which {self.outside_failures} {event}.")
        if self.cost is not None:
            lines.append(
                f"Cost of these decisions {self.cost:g}; of inspecting nothing {self.cost_nothing:g}, every row "
                f"{self.cost_everything:g}."
            )
        return lines


def _average_precision(probabilities: Float64Array, failed: BoolArray) -> float:
    """Return the exact average precision: each distinct probability is a bin of its own."""
    if not failed.any():
        return float("nan")
    values, place = np.unique(probabilities, return_inverse=True)
    histogram = np.stack([np.bincount(place[failed == which], minlength=len(values)) for which in (False, True)])
    curve = precision_recall_curve(histogram)
    return float(np.diff(curve.x, prepend=0.0) @ curve.y)


def _costs(home: Path) -> Costs | None:
    """Return the costs that the card beside a model names; None where it names none."""
    try:
        told: Mapping[str, Any] = json.loads((home / "model_card.json").read_text(encoding="utf-8"))["costs"]
        return Costs(float(told["missed_failure"]), float(told["needless_inspection"]))
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        return None
