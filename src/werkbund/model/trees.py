"""A trained ensemble of trees as a model: preparation, trees, and the threshold at which somebody looks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from werkbund.core.arrays import BoolArray, Float64Array
from werkbund.core.errors import ModelError
from werkbund.data.preparation import Preparation
from werkbund.model.binary import check_threshold, decide, sigmoid
from werkbund.model.contract import Explanation
from werkbund.model.onnx.exported import export_model
from werkbund.model.onnx.trees import add_trees
from werkbund.model.storage import read_model, write_folder
from werkbund.trees.arithmetic import Ensemble, contributions, importance, logits, scores


@dataclass(frozen=True)
class TreeModel:
    """Score machines from a table in raw units.

    Parameters
    ----------
    preparation
        Names the columns and derives features; trees read them without scaling.
    ensemble
        Trees whose one score is a logit or, of a forest, a probability.
    kind
        What the configuration calls such trees.
    threshold_probability
        A row is decided positive if its probability is at least this, in [0, 1].
    label
        Name of what the probability is about.
    options
        How the trees were grown, for people.
    """

    preparation: Preparation
    ensemble: Ensemble
    kind: str
    threshold_probability: float
    label: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        width, highest = len(self.preparation.raw_names), int(self.ensemble.trees.feature.max(initial=-1))
        if self.ensemble.num_outputs != 1:
            raise ModelError(
                f"trees must have one score, got {self.ensemble.num_outputs}; a model tells two classes apart"
            )
        if highest >= width:
            raise ModelError(
                f"trees must ask for features below {width}, as the preparation has, got {highest}; "
                "give the preparation that they were grown with"
            )
        if not np.isfinite(self.ensemble.trees.value).all() or not np.isfinite(self.ensemble.base).all():
            raise ModelError("values of trees must be finite, got NaN or infinity; training has diverged")
        check_threshold(self.threshold_probability)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that differ as soon as anything that decides a score does."""
        text = json.dumps(self._describe(), sort_keys=True) + self.ensemble.digest
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def logits(self, frame: pl.DataFrame) -> Float64Array:
        """Return one logit for each row of a table in raw units, infinite where a forest is sure: (rows,)."""
        return logits(self.ensemble, self.preparation.raw(frame))

    def score(self, frame: pl.DataFrame) -> Float64Array:
        """Return the probability of each row of a table in raw units: (rows,)."""
        score = scores(self.ensemble, self.preparation.raw(frame))[:, 0]
        return np.clip(score, 0.0, 1.0) if self.ensemble.mean else sigmoid(score)

    def decide(self, frame: pl.DataFrame) -> BoolArray:
        """Return whether each row's probability reaches the threshold: (rows,)."""
        return decide(self.score(frame), self.threshold_probability)

    def explain(self, frame: pl.DataFrame) -> Explanation:
        """Return the exact Shapley values of each row's score; they add up to it."""
        parts = contributions(self.ensemble, self.preparation.raw(frame))[:, 0]
        expected = contributions(self.ensemble, np.full((1, len(self.preparation.raw_names)), np.nan))[0, 0, -1]
        scale = "probability" if self.ensemble.mean else "logit"
        return Explanation(self.preparation.raw_names, parts[:, :-1], float(expected), scale, additive=True)

    def about(self) -> dict[str, Any]:
        """Return what the card says of the trees; `importance` is each feature's share of what all splits gained."""
        names, trees = self.preparation.raw_names, self.ensemble.trees
        gain = importance(trees, len(names))["gain"]
        share = gain / (gain.sum() or 1.0)
        ranked = sorted(zip(names, share.tolist(), strict=True), key=lambda pair: -pair[1])
        return {
            "kind": self.kind,
            "options": dict(self.options),
            "trees": len(trees),
            "parameters": trees.num_leaves,
            "features": list(names),
            "importance": {name: round(value, 4) for name, value in ranked},
        }

    def to_onnx(self) -> bytes:
        """Return the model as one ONNX graph that takes raw units; see `export_model` for inputs and outputs."""
        return export_model(self, lambda graph: add_trees(graph, self.preparation, self.ensemble))

    def save(self, folder: Path) -> None:
        """Write the model as `.npy` and `.json` files, which hold values and no code."""
        write_folder(folder, self._describe() | {"fingerprint": self.fingerprint}, self.ensemble.to_arrays())

    @classmethod
    def load(cls, folder: Path) -> TreeModel:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            If a file is missing, truncated or changed.
        """
        return read_model(
            folder,
            lambda described, arrays: cls(
                Preparation.from_json(described["preparation"]),
                Ensemble.from_arrays(arrays),
                described["kind"],
                float(described["threshold_probability"]),
                described["label"],
                described["options"],
            ),
        )

    def _describe(self) -> dict[str, Any]:
        return {
            "family": "trees",
            "kind": self.kind,
            "options": dict(self.options),
            "label": self.label,
            "threshold_probability": self.threshold_probability,
            "preparation": self.preparation.to_json(),
        }
