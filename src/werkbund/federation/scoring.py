"""Counts of rows that are here: on edges that leave their figures in no doubt, as far as there are such."""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays, BoolArray, Float32Array, FloatingArray
from werkbund.core.clients import ClientTable
from werkbund.core.edges import STANDARD_EDGES
from werkbund.data import Schema
from werkbund.evaluation import Counts, Threshold, asked_well, with_edge
from werkbund.learner import count_scores
from werkbund.learner.counts import count_errors
from werkbund.model import Model
from werkbund.model.reference import ModelReference
from werkbund.partition.population import Population, RawTable


def count_well(
    logits: FloatingArray, labels: AnyArray, modes: BoolArray, threshold: Threshold | None = None
) -> tuple[Arrays, Float32Array]:
    """Count the scores of some rows together.

    Parameters
    ----------
    logits, labels, modes
        (rows,), (rows,) and (rows, modes), as for `learner.counts.count_scores`.
    threshold
        Becomes one of the edges.

    Returns
    -------
    counts, edges
        The counts with one row, and the logits between their bins.
    """
    keep = () if threshold is None or threshold.is_always else (threshold.logit,)
    edges = with_edge(STANDARD_EDGES, keep[0]) if keep else STANDARD_EDGES

    def counted(edges: Float32Array) -> tuple[Arrays, Float32Array]:
        return count_scores(logits, labels, modes, np.array([0, len(labels)]), edges), edges

    def read(answer: tuple[Arrays, Float32Array]) -> list[Counts]:
        return [Counts.from_arrays(answer[0], edges=answer[1])]

    return asked_well(counted, read, edges, keep)


def count_table_well(
    scores: FloatingArray, table: ClientTable, threshold: Threshold | None = None
) -> tuple[Arrays, Float32Array]:
    """Count the scores of all rows of a table together, as `count_well` does, with the errors of a number."""
    counts, edges = count_well(scores, table.labels, table.modes, threshold)
    return {**counts, **count_errors(table.target, scores, table.risks, table.offsets[[0, -1]])}, edges


def count_raw(model: Model, rows: RawTable, schema: Schema, threshold: Threshold) -> tuple[Arrays, Float32Array]:
    """Count the scores that a model gives raw rows, together, as `count_well` does."""
    frame = rows.frame[rows.rows]
    scores, ends = model.logits(frame), np.array([0, frame.height])
    counts, edges = count_well(scores, schema.labels(frame), rows.modes[rows.rows], threshold)
    return {**counts, **count_errors(schema.target, scores, schema.risks(frame), ends)}, edges


def reference_of(model: Model, population: Population) -> ModelReference:
    """Return what the rows that are here look like to a model: training rows, and scores of the rows held out."""
    learnt, *held_out = (population.splits[split] for split in ("train", "validation", "test"))
    others = np.concatenate([table.rows for table in held_out])
    return ModelReference.of(model, learnt.frame[learnt.rows], learnt.frame[others])
