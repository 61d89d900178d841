"""A trained ensemble of trees as a model: preparation, trees, and the threshold at which somebody looks.

In the exported graph thresholds, values and their sum are in double, so that rows go where ours go. A split by levels
becomes a column of its own, which says of each row whether its level goes left: then every node compares a number with
a threshold, which every runtime can do.
"""

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
from onnx import TensorProto, numpy_helper

from werkbund.core.arrays import BoolArray, Float64Array, Int64Array
from werkbund.core.errors import ModelError
from werkbund.core.target import FAILURE, NumberTarget, Target, target_from_json
from werkbund.data.preparation import Preparation
from werkbund.model.binary import check_threshold, decide, sigmoid
from werkbund.model.contract import Explanation, numbers_of
from werkbund.model.onnx.exported import ScoreNodes, export_model
from werkbund.model.onnx.graph import ML, Graph
from werkbund.model.onnx.preparation import add_numbers, is_finite
from werkbund.model.storage import read_model, write_folder
from werkbund.trees.arithmetic import Ensemble, Trees, contributions, importance, logits, scores


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
    target
        What is foretold; of a number, the score is its risk, and the probability 1 / (1 + exp(-risk)).
    """

    preparation: Preparation
    ensemble: Ensemble
    kind: str
    threshold_probability: float
    label: str
    options: Mapping[str, Any] = field(default_factory=dict)
    target: Target = FAILURE

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
        return logits(self.ensemble, self.preparation.raw(frame), not isinstance(self.target, NumberTarget))

    def score(self, frame: pl.DataFrame) -> Float64Array:
        """Return the probability of each row of a table in raw units: (rows,)."""
        score = scores(self.ensemble, self.preparation.raw(frame))[:, 0]
        return np.clip(score, 0.0, 1.0) if self._gives_shares else sigmoid(score)

    def foretell(self, frame: pl.DataFrame) -> Float64Array | None:
        """Return the number that is foretold for each row, (rows,); None where none is."""
        return numbers_of(self, frame)

    @property
    def _gives_shares(self) -> bool:
        """Whether the score is a probability already."""
        return self.ensemble.mean and not isinstance(self.target, NumberTarget)

    def decide(self, frame: pl.DataFrame) -> BoolArray:
        """Return whether each row's probability reaches the threshold: (rows,)."""
        return decide(self.score(frame), self.threshold_probability)

    def explain(self, frame: pl.DataFrame) -> Explanation:
        """Return the exact Shapley values of each row's score; they add up to it."""
        parts = contributions(self.ensemble, self.preparation.raw(frame))[:, 0]
        expected = contributions(self.ensemble, np.full((1, len(self.preparation.raw_names)), np.nan))[0, 0, -1]
        scale = "probability" if self._gives_shares else "logit"
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
        return export_model(self, lambda graph: add_trees(graph, self.preparation, self.ensemble, self.target))

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
                target_from_json(described.get("target", FAILURE.to_json())),
            ),
        )

    def _describe(self) -> dict[str, Any]:
        return {
            **({} if self.target == FAILURE else {"target": self.target.to_json()}),
            "family": "trees",
            "kind": self.kind,
            "options": dict(self.options),
            "label": self.label,
            "threshold_probability": self.threshold_probability,
            "preparation": self.preparation.to_json(),
        }


_AT_MOST, _SUM, _UNCHANGED = 0, 1, 0  # the operator's numbers for these


def add_trees(graph: Graph, preparation: Preparation, ensemble: Ensemble, target: Target) -> ScoreNodes:
    """Add the nodes of a preparation and of the trees, with one output, that read its raw names."""
    trees = ensemble.trees if len(ensemble.trees) else Trees.stumps([0])
    columns, place = _add_columns(graph, preparation, trees)
    summed = _add_ensemble(graph, trees, columns, place)
    score = graph.add("Mul", graph.add("Squeeze", summed, graph.constant([1])), graph.constant(ensemble.factor))
    score = graph.add("Add", score, graph.constant(float(ensemble.base[0])))
    if isinstance(target, NumberTarget) or not ensemble.mean:
        return ScoreNodes(graph.add("Sigmoid", score), score)
    return ScoreNodes(graph.add("Clip", score, graph.constant(0.0), graph.constant(1.0)))


def _add_columns(graph: Graph, preparation: Preparation, trees: Trees) -> tuple[str, Int64Array]:
    """Return the tensor that the trees ask, and which of its columns each node does."""
    place = np.maximum(trees.feature, 0).astype(np.int64)
    parts: list[str] = []
    if preparation.numbers:
        numbers = add_numbers(graph, preparation)
        parts.append(graph.add("Where", is_finite(graph, numbers), numbers, graph.constant(np.nan)))
    end = len(preparation.numbers)
    for number, (name, known) in enumerate(preparation.categories, end):
        nodes = np.flatnonzero((trees.feature == number) & (trees.subset >= 0))
        if len(nodes):
            parts.append(_add_sides(graph, name, known, trees, nodes))
            place[nodes] = end + np.arange(len(nodes))
            end += len(nodes)
    return graph.add("Concat", *parts, axis=1), place


def _add_sides(graph: Graph, name: str, known: tuple[str, ...], trees: Trees, nodes: Int64Array) -> str:
    """Return (rows, nodes), double: at most 0 where a row's level goes left."""
    bits = np.unpackbits(trees.subsets[trees.subset[nodes]], axis=1, bitorder="little")[:, : len(known)]
    right_if_unknown = 1.0 - trees.missing_left[nodes].astype(np.float64)
    if not known:
        column = graph.add("Cast", graph.add("Equal", name, name), to=TensorProto.DOUBLE)
        return graph.add("Mul", column, graph.constant([right_if_unknown.tolist()]))
    is_level = graph.add("Cast", graph.add("Equal", name, graph.constant([list(known)])), to=TensorProto.DOUBLE)
    differs = (1.0 - bits.T.astype(np.float64)) - right_if_unknown  # (levels, nodes)
    return graph.add("Add", graph.add("MatMul", is_level, graph.constant(differs)), graph.constant(right_if_unknown))


def _add_ensemble(graph: Graph, trees: Trees, columns: str, place: Int64Array) -> str:
    """Return (rows, 1): the sums of the leaves."""
    is_leaf = trees.left < 0
    inner, leaves = np.flatnonzero(~is_leaf), np.flatnonzero(is_leaf)
    alone = trees.roots[is_leaf[trees.roots]].astype(np.int64)  # a tree of one leaf is a node with this leaf twice
    number = np.zeros(trees.num_nodes, np.int64)
    number[leaves] = np.arange(len(leaves))
    nodes = np.concatenate([inner, alone])
    order = np.zeros(trees.num_nodes, np.int64)
    order[nodes] = np.arange(len(nodes))
    left = np.concatenate([trees.left[inner].astype(np.int64), alone])
    right = np.concatenate([trees.left[inner].astype(np.int64) + 1, alone])
    goes_to = np.where(is_leaf, number, order)
    splits = np.where(trees.subset >= 0, 0.5, trees.threshold)[nodes]
    return graph.add(
        "TreeEnsemble",
        columns,
        domain=ML,
        aggregate_function=_SUM,
        post_transform=_UNCHANGED,
        n_targets=1,
        tree_roots=order[trees.roots].tolist(),
        nodes_splits=numpy_helper.from_array(splits),
        nodes_featureids=place[nodes].tolist(),
        nodes_modes=numpy_helper.from_array(np.full(len(nodes), _AT_MOST, np.uint8)),
        nodes_truenodeids=goes_to[left].tolist(),
        nodes_trueleafs=is_leaf[left].astype(int).tolist(),
        nodes_falsenodeids=goes_to[right].tolist(),
        nodes_falseleafs=is_leaf[right].astype(int).tolist(),
        nodes_missing_value_tracks_true=trees.missing_left[nodes].astype(int).tolist(),
        leaf_targetids=np.zeros(len(leaves), int).tolist(),
        leaf_weights=numpy_helper.from_array(trees.value[leaves]),
    )
