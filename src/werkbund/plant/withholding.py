"""An answer without what the plant's policy keeps back because it is over too few rows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl

from werkbund.core.arrays import Arrays
from werkbund.core.types import Replies, Tasks
from werkbund.data.features import clean
from werkbund.data.statistics import category_names, number_names
from werkbund.federation.asking import TREE_KINDS
from werkbund.plant.parts import Parts
from werkbund.plant.policy import Levels, Policy, withhold_counts, withhold_squares, withhold_survey


def over_enough(tasks: Tasks, policy: Policy) -> Tasks:
    """Return a task that asks for no figure over fewer rows than the policy's minimum.

    A loss over a few rows is one over as many at least, and clusters of fewer rows have no centroid. Cells of trees
    have a minimum of their own.
    """
    if tasks.kind == "loss" and "most" in tasks.shared:
        most = np.maximum(tasks.shared["most"], policy.minimum_rows)
        return replace(tasks, shared={**tasks.shared, "most": most})
    if tasks.kind == "centroids":
        return replace(tasks, shared={**tasks.shared, "least": np.array(policy.minimum_rows)})
    if tasks.kind in TREE_KINDS:
        return replace(tasks, shared={**tasks.shared, "least": np.array(policy.minimum_cell_rows)})
    return tasks


def withheld(replies: Replies, policy: Policy, parts: Parts) -> Replies:
    """Return an answer without figures over fewer rows than the policy's minimum."""
    if replies.kind == "survey":
        return _survey(replies, policy, parts)
    if replies.kind == "squares":
        told = withhold_squares(replies.sums["squares"], parts.num_values, policy.minimum_rows)
        return replace(replies, sums={"squares": told})
    if replies.kind == "deliver":
        rows, failures = parts.num_held_out
        few = rows < policy.minimum_rows or failures < policy.minimum_failures
        if few or "delivery" not in policy.signals:
            return _without_figures(replies)
        return _without_rare_modes(replies, policy, parts) if policy.minimum_failures else replies
    both: Arrays = {**replies.sums, **{name: array[None] for name, array in replies.pooled.items()}}
    sums = withhold_counts(both, policy.minimum_rows, policy.minimum_failures)
    return replace(replies, sums=sums, pooled={})


def _survey(replies: Replies, policy: Policy, parts: Parts) -> Replies:
    levels = levels_of(parts)
    sums, vocabulary = withhold_survey(replies.sums, levels, policy.minimum_rows, policy.minimum_failures)
    clear = {**replies.clear, "vocabulary": np.array([json.dumps(vocabulary)])}
    return replace(replies, sums=sums, clear=clear)


def _without_rare_modes(replies: Replies, policy: Policy, parts: Parts) -> Replies:
    """Return a verdict in which failure modes with too few held-out failures look as if they had none."""
    names, failures = parts.briefing.mode_names, parts.simulation.splits.test.modes.sum(axis=0).tolist()
    rare = {name for name, number in zip(names, failures, strict=True) if number < policy.minimum_failures}
    figures = json.loads(str(replies.clear["figures"][0]))
    for values in figures.values():
        values["recall_by_mode"] |= dict.fromkeys(rare & set(values["recall_by_mode"]))
    return replace(replies, clear={**replies.clear, "figures": np.array([json.dumps(figures)])})


def _without_figures(replies: Replies) -> Replies:
    """Return a verdict alone: its reason says figures too."""
    accepted = bool(json.loads(str(replies.clear["accepted"][0]))["accepted"])
    told = {"accepted": accepted, "reason": "judged by its own rows, of which it does not tell"}
    return replace(replies, clear={"accepted": np.array([json.dumps(told)])})


def levels_of(parts: Parts) -> Levels:
    """Return the levels of each category column among the training rows, each with its number of rows."""
    schema, train = parts.population.schema, parts.population.splits["train"]
    cleaned = clean(train.frame[train.rows], number_names(schema), category_names(schema))
    return {name: _rows_by_level(cleaned[name]) for name in category_names(schema)}


def _rows_by_level(column: pl.Series) -> dict[str, int]:
    counted = column.drop_nulls().cast(pl.String).value_counts()
    return dict(zip(counted[column.name].to_list(), counted["count"].to_list(), strict=True))
