"""Agree on bin edges, on the objective's numbers and on scales, before the first tree: counts and sums alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array
from werkbund.core.defaults import MOST_BINS, RANK_ERROR
from werkbund.core.errors import ClientError, ConfigError, DataError
from werkbund.core.kinds import Kind
from werkbund.core.types import Failure, Tasks
from werkbund.engine.asking import Form, check_quorum
from werkbund.engine.grid import Grid
from werkbund.engine.word import Word
from werkbund.trees.arithmetic import BinEdges, Cells, Objective, ObjectiveKind, Terms, TreePlan, base_score
from werkbund.trees.arithmetic.keys import numbers_of
from werkbund.trees.arithmetic.objectives import MOST_TARGET
from werkbund.trees.protocol.asking import Answers, ask_all, reasons_of
from werkbund.trees.protocol.kinds import TREE_CELLS, TREE_SURVEY
from werkbund.trees.rows.counts import TARGET_STEPS


@dataclass(frozen=True)
class Binning:
    """Say how bin edges come about.

    Parameters
    ----------
    levels
        (features,), number of levels of each categorical feature; 0 for a number.
    declared
        Edges of features for which nobody is asked, by the feature's number, such as `even_edges` of a declared range.
    num_bins
        Bins of a feature at most, 2..255.
    rank_error
        Share of the rows that an interval of several values may hold, where a feature has more values than bins.
    least
        Intervals that hold fewer rows of all clients together are not looked into any further.
    most_parts
        Into how many parts a question cuts an interval at most, 0 for any number: with few, small counts that clients
        withhold are lost late, and there are more questions.
    """

    levels: Sequence[int]
    declared: Mapping[int, Float64Array] = field(default_factory=dict)
    num_bins: int = MOST_BINS
    rank_error: float = RANK_ERROR
    least: int = 1
    most_parts: int = 0


@dataclass(frozen=True)
class Agreed:
    """Hold what clients' counts gave.

    Parameters
    ----------
    terms
        What every client must know to count.
    num_rows
        Training rows of all clients together.
    exact
        (features,), whether the bins of a feature are its single values.
    missing
        Why each client that was not counted is missing, by name.
    messages, bytes_down, bytes_up
        What it took.
    """

    terms: Terms
    num_rows: int
    exact: BoolArray
    missing: Mapping[str, str]
    messages: int
    bytes_down: int
    bytes_up: int


class _Left(Exception):  # noqa: N818 - no error: it leads back to the start
    """Somebody left in the middle: all sums must be over the same rows."""


def agree_terms(
    grid: Grid,
    plan: TreePlan,
    kind: ObjectiveKind,
    binning: Binning,
    timeout_s: float,
    num_classes: int = 2,
    class_weights: tuple[float, ...] | str = (),
    quorum: float = 1.0,
    training_rows: Float64Array | None = None,
    secure_sums: bool = False,
) -> Agreed:
    """Ask clients for counts until edges and terms are clear.

    A client that leaves in the middle is left out of all of it. The terms do not depend on how rows are divided.

    Parameters
    ----------
    grid
        Reaches clients that know the kinds of `TreeWork`.
    plan
        How trees are to grow.
    kind
        Of the objective.
    binning
        How bin edges come about.
    timeout_s
        Seconds to wait for each answer.
    num_classes
        Number of classes, unless the target is a number.
    class_weights
        What a row of each class counts: all alike if empty; "balanced" so that classes count alike.
    quorum
        Share of the clients that must answer.
    training_rows
        (all clients,), training rows that each said it has, NaN where nobody knows; None where nobody is held to any.
    secure_sums
        Whether the server learns sums over clients alone: then who leaves in the middle ends it.

    Raises
    ------
    QuorumError
        If too few answer.
    DataError
        If there are no rows, or the target is always the same number.
    ClientError
        If one leaves in the middle, and sums alone are learnt.
    """
    form = Form() if training_rows is None else Form(word=Word(training_rows))
    asking = _Asking(grid, timeout_s, quorum, form, secure_sums)
    while True:
        try:
            return _agree(asking, plan, kind, binning, num_classes, class_weights)
        except _Left:
            continue


@dataclass
class _Asking:
    """Ask the clients that are still there, and keep account."""

    grid: Grid
    timeout_s: float
    quorum: float
    form: Form
    secure_sums: bool = False
    failures: dict[int, Failure] = field(default_factory=dict)
    spent: Answers = field(default_factory=Answers)
    number: int = 0

    def __call__(
        self, kind: Kind, shared: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
    ) -> Mapping[str, Any]:
        everyone = len(self.grid.clients())
        clients = np.array([i for i in range(everyone) if i not in self.failures], np.int64)
        tasks = Tasks(kind, 0, clients, shared, attempt=self.number)
        answers = ask_all(self.grid, tasks, shapes, self.timeout_s, self.form)
        self.number += 1
        self.spent.messages += answers.messages
        self.spent.bytes_down += answers.bytes_down
        self.spent.bytes_up += answers.bytes_up
        if answers.failures:
            self.failures |= {failure.client: failure for failure in answers.failures}
            reasons = reasons_of(self.grid, [*self.failures.values()])
            check_quorum(everyone, len(answers.clients), self.quorum, 0, reasons)
            if not self.secure_sums:
                raise _Left
            if self.number > 1:
                raise ClientError(
                    f"{', '.join(reasons_of(self.grid, answers.failures))} left while clients agreed on bins: where "
                    "sums are all that a server sees, to begin anew without a client tells its counts; mend it, or "
                    "name it under data.without, and begin anew"
                )
        return answers.sums


def _agree(
    asking: _Asking,
    plan: TreePlan,
    kind: ObjectiveKind,
    binning: Binning,
    num_classes: int,
    class_weights: tuple[float, ...] | str,
) -> Agreed:
    cells, num_rows = _refined(asking, binning, kind == "squared")
    if not num_rows:
        raise DataError("trees need training rows, and no client has any")
    edges = [_edges(binning, cells, feature) for feature in range(len(binning.levels))]
    agreed = BinEdges.build(edges, [*binning.levels])
    exact = np.array([i in cells and cells[i].exact for i in range(len(binning.levels))], np.bool_)
    if kind == "squared":
        objective, base = _number(asking, cells[len(binning.levels)], num_rows)
    else:
        objective, base = _classes(asking, kind, num_classes, class_weights)
    terms = Terms.agreed(agreed, objective, plan, num_rows, base)
    missing = reasons_of(asking.grid, [*asking.failures.values()])
    spent = asking.spent
    return Agreed(terms, num_rows, exact, missing, spent.messages, spent.bytes_down, spent.bytes_up)


def _refined(asking: _Asking, binning: Binning, target: bool) -> tuple[dict[int, Cells], int]:
    """Return the settled intervals of each feature for which somebody must be asked, those of the target last."""
    features = len(binning.levels)
    cells = {i: _whole(binning) for i, levels in enumerate(binning.levels) if not levels and i not in binning.declared}
    if target:
        cells[features] = _whole(binning)
    rows = -1
    while rows < 0 or any(not own.settled for own in cells.values()):
        wanted = [cells[i] if i in cells and not cells[i].settled else None for i in range(features + 1)]
        lows = [own.cut_lows if own else np.empty(0, np.uint64) for own in wanted]
        highs = [own.cut_highs if own else np.empty(0, np.uint64) for own in wanted]
        shared = {
            "lows": np.concatenate(lows),
            "highs": np.concatenate(highs),
            "cuts": np.array([len(own) for own in lows]),
            "parts": np.array([own.parts if own else 1 for own in wanted]),
        }
        offsets = np.cumsum([0, *(int(own.asked.sum()) if own else 0 for own in wanted)], dtype=np.int64)
        sums = asking(TREE_CELLS, shared, {"cells": (int(offsets[-1]),), "rows": ()})
        rows = int(sums["rows"])
        for i, own in cells.items():
            if not own.settled:
                cells[i] = own.refined(sums["cells"][offsets[i] : offsets[i + 1]])
    return cells, rows


def _whole(binning: Binning) -> Cells:
    """Return the first intervals of a feature: all numbers there are."""
    return Cells.whole(binning.num_bins, binning.rank_error, binning.least, binning.most_parts)


def _edges(binning: Binning, cells: Mapping[int, Cells], feature: int) -> Float64Array:
    """Return the edges of a feature: none for a category, declared ones, or those that its intervals give."""
    if binning.levels[feature]:
        return np.empty(0)
    return np.asarray(binning.declared[feature] if feature in binning.declared else cells[feature].edges())


def _number(asking: _Asking, cells: Cells, num_rows: int) -> tuple[Objective, Float64Array]:
    """Return the objective of a number, whose range lies within the outermost intervals, and the mean."""
    lowest, highest = float(numbers_of(cells.lows[:1])[0]), float(numbers_of(cells.highs[-1:])[0])
    width = highest - lowest if max(-lowest, highest) <= 2 * MOST_TARGET else np.inf  # intervals reach a little further
    if not 1 / MOST_TARGET <= width < np.inf:
        raise DataError(
            f"a target must be within {MOST_TARGET:g} of 0 and not always the same, got {lowest:g} to {highest:g}; "
            "give it in another unit"
        )
    shared = {"lowest": np.array(lowest), "width": np.array(width)}
    total = int(asking(TREE_SURVEY, shared, {"total": ()})["total"])
    objective = Objective("squared", (), width)
    return objective, base_score(objective, [], lowest + width * (total / (num_rows * TARGET_STEPS)))


def _classes(
    asking: _Asking, kind: ObjectiveKind, num_classes: int, class_weights: tuple[float, ...] | str
) -> tuple[Objective, Float64Array]:
    """Return the objective of classes, with their weights, and the best score without a tree."""
    counts = asking(TREE_SURVEY, {"classes": np.array(num_classes)}, {"classes": (num_classes,)})["classes"]
    if isinstance(class_weights, str):
        if class_weights != "balanced":
            raise ConfigError(f'class_weights must be numbers or "balanced", got {class_weights!r}')
        filled = np.maximum(counts, 1)
        class_weights = tuple((counts.sum() / (num_classes * filled)).tolist())
    objective = Objective(kind, class_weights or (1.0,) * num_classes)
    return objective, base_score(objective, counts)
