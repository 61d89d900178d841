"""An answer without what the plant's policy keeps back because it is over too few rows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl

from werkbund.core.arrays import Arrays
from werkbund.core.types import Replies, Tasks
from werkbund.data.answers import SUMMED_SQUARES
from werkbund.data.statistics import category_names, clean_rows
from werkbund.learner.counts import edges_of
from werkbund.plant.delivery import ALONE_LATER, OFFERED_LATER
from werkbund.plant.parts import Parts
from werkbund.plant.policy import Levels, Policy, withhold_counts, withhold_squares, withhold_survey


def few_counts(tasks: Tasks, replies: Replies, policy: Policy, parts: Parts) -> Replies:
    """Return an answer without counts over fewer rows or failures than the policy's minimum."""
    del parts
    both: Arrays = {**replies.sums, **{name: array[None] for name, array in replies.pooled.items()}}
    sums = withhold_counts(both, policy.minimum_rows, policy.minimum_failures, policy.minimum_bin_rows, edges_of(tasks))
    return replace(replies, sums=sums, pooled={})


def few_squares(tasks: Tasks, replies: Replies, policy: Policy, parts: Parts) -> Replies:
    """Return squared deviations without those of columns with too few values."""
    del tasks
    kept = withhold_squares(replies.sums[SUMMED_SQUARES], parts.num_values, policy.minimum_rows)
    return replace(replies, sums={SUMMED_SQUARES: kept})


def few_figures(tasks: Tasks, replies: Replies, policy: Policy, parts: Parts) -> Replies:
    """Return a verdict on a model without figures over too few held-out rows or failures."""
    del tasks
    if _are_few(parts.num_held_out, policy) or "delivery" not in policy.signals:
        return _without_figures(replies)
    told = _without_rare_modes(replies, policy, parts) if policy.minimum_failures else replies
    figures = json.loads(str(told.clear["figures"][0]))
    for name in (OFFERED_LATER, ALONE_LATER):
        later = figures.pop(name, None)
        if later is not None and not _are_few(parts.num_later, policy):
            figures[name] = later | {"recall_by_mode": {}}
    return replace(told, clear={**told.clear, "figures": np.array([json.dumps(figures)])})


def _are_few(rows_and_failures: tuple[int, int], policy: Policy) -> bool:
    rows, failures = rows_and_failures
    return rows < policy.minimum_rows or failures < policy.minimum_failures


def few_values(tasks: Tasks, replies: Replies, policy: Policy, parts: Parts) -> Replies:
    """Return a survey without sums over too few values, and without rare levels."""
    del tasks
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
    verdict = {"accepted": accepted, "reason": "judged by its own rows, of which it does not tell"}
    return replace(replies, clear={"accepted": np.array([json.dumps(verdict)])})


def levels_of(parts: Parts) -> Levels:
    """Return the levels of each category column among the training rows, each with its number of rows."""
    schema, train = parts.population.schema, parts.population.splits["train"]
    cleaned = clean_rows(train.frame[train.rows], schema)
    return {name: _rows_by_level(cleaned[name]) for name in category_names(schema)}


def _rows_by_level(column: pl.Series) -> dict[str, int]:
    counted = column.drop_nulls().cast(pl.String).value_counts()
    return dict(zip(counted[column.name].to_list(), counted["count"].to_list(), strict=True))
