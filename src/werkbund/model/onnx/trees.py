"""The tree side of the exported model: thresholds, values and their sum in double, so that rows go where ours go.

A split by levels becomes a column of its own, which says of each row whether its level goes left: then every node
compares a number with a threshold, which every runtime can do.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, numpy_helper

from werkbund.core.arrays import Int64Array
from werkbund.data.preparation import Preparation
from werkbund.model.onnx.graph import ML, Graph
from werkbund.model.onnx.preparation import add_numbers, is_finite
from werkbund.trees.arithmetic import Ensemble, Trees

_AT_MOST, _SUM, _UNCHANGED = 0, 1, 0  # the operator's numbers for these


def add_trees(graph: Graph, preparation: Preparation, ensemble: Ensemble) -> str:
    """Add the nodes of a preparation and of the trees, with one output, that read its raw names.

    Returns
    -------
    name
        Of the probabilities, double, (rows,).
    """
    trees = ensemble.trees if len(ensemble.trees) else Trees.stumps([0])
    columns, place = _add_columns(graph, preparation, trees)
    summed = _add_ensemble(graph, trees, columns, place)
    score = graph.add("Mul", graph.add("Squeeze", summed, graph.constant([1])), graph.constant(ensemble.factor))
    score = graph.add("Add", score, graph.constant(float(ensemble.base[0])))
    if not ensemble.mean:
        return graph.add("Sigmoid", score)
    return graph.add("Clip", score, graph.constant(0.0), graph.constant(1.0))


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
