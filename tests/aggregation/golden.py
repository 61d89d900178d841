"""Golden inputs: three rounds of three clients, rounds with outliers, and the same for Flower's own strategies."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy

from werkbund.aggregation import Aggregator, Closing
from werkbund.aggregation.contract import LocalResult, half_of
from werkbund.core.arrays import Float32Array, Float64Array
from werkbund.core.store import RowStore
from werkbund.learner import TrainingPlan
from werkbund.learner.plan import accumulations

START = np.array([1.0, -2.0, 0.5, 3.0], np.float32)
ROWS = np.array([10.0, 20.0, 30.0])
UPDATES = (
    np.array([(0.4, -0.2, 0, 1), (-0.1, 0.3, 0.2, 0.5), (0.2, 0.1, -0.4, 0.6)]),
    np.array([(0.2, -0.4, 0.1, 0.8), (0.1, 0.1, 0.1, 0.2), (-0.2, 0.3, -0.2, 0.4)]),
    np.array([(-0.1, 0.2, 0.3, -0.4), (0.3, -0.1, 0, 0.1), (0.1, 0, -0.1, -0.2)]),
)
"""(clients, parameters) of each round."""


def sent(updates: Float64Array, weights: Float64Array, **beside: Float64Array) -> dict[str, Any]:
    """Return updates as clients send them, weighted, with what they add."""
    return {"update": (updates * weights[:, None]).astype(np.float32), **beside}


def weights_after(
    rule: Aggregator, carry: Mapping[str, Any] | None = None, updates: Sequence[Float64Array] = UPDATES
) -> list[Float64Array]:
    """Return the weights after each round."""
    counted = ROWS if rule.weighting == "examples" else np.ones(len(ROWS))
    weights, kept, after = START, carry if carry is not None else rule.init(len(START)), []
    for each in updates:
        folded = rule.fold(rule.begin(len(START)), sent(each, counted), counted)
        weights, kept = rule.finish(folded, weights, kept)
        after.append(weights.astype(np.float64))
    return after


def moved_by_halves(
    rule: Aggregator,
    weights: Float32Array,
    updates: Float64Array,
    plan: TrainingPlan,
    *,
    steps: Any = 1,
    losses: Any = 1.0,
    rows: Float64Array = ROWS,
    carry: Mapping[str, Any] | None = None,
) -> Float32Array:
    """Return the next weights after updates, (clients, parameters), went through the rule's half at each client."""
    half, many = half_of(rule), len(updates)
    assert half is not None
    counted = rows if rule.weighting == "examples" else np.ones(many)
    taken = np.broadcast_to(np.asarray(steps, np.int64), many)
    result = LocalResult(
        updates.astype(np.float32),
        counted,
        rows,
        taken,
        plan.learning_rate,
        lambda: np.broadcast_to(np.asarray(losses, np.float64), many),
        lambda: accumulations(plan, taken),
        lambda: np.zeros(updates.shape, np.float32),
    )
    added = half.after({}, result, np.arange(many), RowStore())
    leaving = {"update": result.update, **added}
    for name in ("update", *half.weighted):
        leaving[name] = (leaving[name].T * counted.astype(leaving[name].dtype)).T
    kept = rule.init(len(weights)) if carry is None else carry
    moved, _ = rule.finish(rule.fold(rule.begin(len(weights)), leaving, counted), weights, kept, Closing())
    return moved


@dataclass(frozen=True)
class Reply:
    """Answer one of Flower's strategies, without a grid."""

    content: RecordDict

    def has_error(self) -> bool:
        return False


def flowers_weights_after(strategy: Strategy, losses: Float64Array | None = None) -> list[Float64Array]:
    """Return the weights after each round of a strategy of Flower's, in double precision."""
    weights, after = START.astype(np.float64), []
    for number, updates in enumerate(UPDATES, 1):
        _remember(strategy, weights)
        said = losses if losses is not None else np.ones(len(ROWS))
        replies: Any = [
            _reply(weights + update, rows, loss) for update, rows, loss in zip(updates, ROWS, said, strict=True)
        ]
        weights = _flowers(strategy, number, replies)
        after.append(weights)
    return after


def _flowers(strategy: Strategy, number: int, replies: Any) -> Float64Array:
    gc.freeze()  # some collect garbage after each array, among all that was imported
    arrays, _ = strategy.aggregate_train(number, replies)
    assert arrays is not None
    weights: Float64Array = arrays["w"].numpy().astype(np.float64)
    return weights


def _remember(strategy: Any, weights: Float64Array) -> None:
    """Let a strategy know the weights that it would send: what `configure_train` stores, in the form that it stores."""
    if hasattr(strategy, "current_arrays"):
        is_optimiser = hasattr(strategy, "eta_l")
        strategy.current_arrays = {"w": weights} if is_optimiser else ArrayRecord({"w": Array(weights)})


def _reply(weights: Float64Array, rows: float, loss: float) -> Reply:
    metrics = MetricRecord({"num-examples": float(rows), "train_loss": float(loss)})
    return Reply(RecordDict({"arrays": ArrayRecord({"w": Array(weights)}), "metrics": metrics}))


def opposed(built: Any) -> Any:
    """Return a federation whose last client's failures look like the others' healthy rows."""
    train = built.splits.train
    rows = train.rows(train.num_clients - 1)
    train.labels[rows] = 1 - train.labels[rows]
    return built


TWO_OUTLIERS = np.array(
    [(1, 2, 3), (1.2, 1.9, 3.1), (0.9, 2.3, 2.8), (1.15, 2.1, 3.25), (0.7, 1.8, 2.95), (10, -5, 0), (9, -6, 1)]
)
ONE_OUTLIER = np.array([*TWO_OUTLIERS[:6], (1.05, 2.05, 2.9)])
SCATTERED = np.array([(8.0, 0), (1, 2), (1, 8), (8, 5), (0, 0), (3, 4), (6, 4)])
"""Updates, one a client, for rules that see each of them."""


def moved_by(
    rule: Aggregator,
    rows: Float64Array,
    weights: Float64Array | None = None,
    carry: Mapping[str, Any] | None = None,
    closing: Closing = Closing(),
) -> Float64Array:
    """Return by what a rule moves weights of zero, for updates (clients, parameters) with weights (clients,)."""
    counted = np.ones(len(rows)) if weights is None else weights
    folded = rule.fold(rule.begin(rows.shape[1]), sent(rows, counted), counted)
    kept = rule.init(rows.shape[1]) if carry is None else carry
    return rule.finish(folded, np.zeros(rows.shape[1], np.float32), kept, closing)[0].astype(np.float64)


def flowers_move(strategy: Strategy, rows: Float64Array, weights: Float64Array | None = None) -> Float64Array:
    """Return by what a strategy of Flower's moves weights of zero, in double precision."""
    counted = np.ones(len(rows)) if weights is None else weights
    replies: Any = [_reply(row, number, 1.0) for row, number in zip(rows, counted, strict=True)]
    return _flowers(strategy, 1, replies)
