"""What a client counts of targets and of its rows' scores: integers, or sums that are exact in any order."""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import AnyArray, Float32Array, Float64Array, Int64Array
from werkbund.core.edges import STANDARD_EDGES
from werkbund.core.errors import ClientError
from werkbund.core.target import NumberTarget, is_failure
from werkbund.learner.counts import count_errors, count_scores, count_shapes
from werkbund.trees.arithmetic import Objective
from werkbund.trees.arithmetic.predict import logits_of_shares
from werkbund.trees.rows.table import TreeTable

_STEPS = 2.0**30  # a unit of loss is counted in; sums of whole steps are exact in a double up to 2**23
_HIGHEST_LOSS = float(-np.log(np.finfo(np.float64).eps))  # of one row; an infinite loss is not to decide alone
TARGET_STEPS = 2**24
"""Steps that the range of a target is counted in for the mean."""


def count_classes(targets: Float64Array, num_classes: int) -> Int64Array:
    """Return the rows of each class: (classes,).

    Raises
    ------
    ClientError
        If a target is no class.
    """
    numbers = targets.astype(np.int64)
    wrong = (numbers != targets) | (numbers < 0) | (numbers >= num_classes)
    if wrong.any():
        raise ClientError(f"targets must be 0..{num_classes - 1}, got {int(wrong.sum())} rows with another one")
    return np.bincount(numbers, minlength=num_classes).astype(np.int64)


def sum_targets(targets: Float64Array, lowest: float, width: float) -> int:
    """Return the sum of all targets' places in a range, in whole steps.

    Parameters
    ----------
    targets
        (rows,)
    lowest, width
        Where the range begins, and how wide it is; it is cut into `TARGET_STEPS` steps.
    """
    return int(np.rint((targets - lowest) / width * TARGET_STEPS).astype(np.int64).sum())


def count_outputs(
    objective: Objective,
    forest: bool,
    scores: Float64Array,
    table: TreeTable,
    offsets: Int64Array,
    edges: Float32Array = STANDARD_EDGES,
) -> dict[str, AnyArray]:
    """Count the scores of many clients at once.

    Parameters
    ----------
    objective, forest
        What scores mean.
    scores
        (rows, outputs)
    table
        The rows.
    offsets
        (groups + 1,), whose rows are counted together.
    edges
        Of the bins, of two classes alone.

    Returns
    -------
    counts
        One row a group. Two classes: those of `count_scores`. More: `confusion`, int64 (groups, classes, classes), rows
        by class and by the class with the highest score, the lowest of equals; and `log_loss`, (groups,). A number
        that is foretold as a risk: those of `count_rows`. Another number: `rows`, int64, and `squares` and `absolute`,
        sums of errors in units of the target's range, (groups,) each.
    """
    groups = len(offsets) - 1
    group = np.repeat(np.arange(groups), np.diff(offsets))
    if objective.num_classes == 2 and scores.shape[1] == 1:
        score = logits_of_shares(scores[:, 0]) if forest else scores[:, 0]
        return count_scores(score, table.targets, table.modes, offsets, edges)
    if isinstance(table.target, NumberTarget):
        risks, failed = scores[:, 0], is_failure(table.targets)
        errors = count_errors(table.target, risks, table.targets, offsets)
        return count_scores(risks, failed, table.modes, offsets, edges) | errors
    if objective.num_classes:
        return _class_counts(objective.num_classes, forest, scores, table.targets.astype(np.int64), group, groups)
    error = (scores[:, 0] - table.targets) / objective.target_range
    return {
        "rows": np.diff(offsets).astype(np.int64),
        "squares": np.bincount(group, _rounded(error * error), groups),
        "absolute": np.bincount(group, _rounded(np.abs(error)), groups),
    }


def output_shapes(objective: Objective, num_modes: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each of one group's counts."""
    if objective.num_classes == 2:
        return count_shapes(num_modes)
    if objective.num_classes:
        return {"confusion": (objective.num_classes,) * 2, "log_loss": ()}
    return {"rows": (), "squares": (), "absolute": ()}


def _class_counts(
    num_classes: int, forest: bool, scores: Float64Array, targets: Int64Array, group: Int64Array, groups: int
) -> dict[str, AnyArray]:
    """Return the confusion and the log loss of each group, to which `group` assigns rows: (rows,)."""
    likeliest = scores.argmax(axis=1)
    slot = (group * num_classes + targets) * num_classes + likeliest
    confusion = np.bincount(slot, minlength=groups * num_classes**2).reshape(groups, num_classes, num_classes)
    return {"confusion": confusion.astype(np.int64), "log_loss": _log_loss(forest, scores, targets, group, groups)}


def _log_loss(forest: bool, scores: Float64Array, targets: Int64Array, group: Int64Array, groups: int) -> Float64Array:
    """Return each group's sum of -log(chance of a row's own class), whole steps: shares of a forest, else softmax."""
    of_target = np.take_along_axis(scores, targets[:, None], axis=1)[:, 0]
    if forest:
        total = np.maximum(scores.sum(axis=1), np.finfo(np.float64).tiny)
        loss = -np.log(np.maximum(of_target, np.finfo(np.float64).tiny) / total)
    else:
        highest = scores.max(axis=1)
        loss = np.log(np.exp(scores - highest[:, None]).sum(axis=1)) + highest - of_target
    return np.bincount(group, _rounded(np.clip(loss, 0.0, _HIGHEST_LOSS)), groups).astype(np.float64, copy=False)


def _rounded(values: Float64Array) -> Float64Array:
    return np.asarray(np.rint(values * _STEPS) / _STEPS)
