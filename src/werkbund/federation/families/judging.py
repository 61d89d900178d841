"""What the server judges weights by: rows of its own, for methods that value clients by what their updates add."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from werkbund.config.sections import Config
from werkbund.core.arrays import Float32Array
from werkbund.core.clients import ClientTable
from werkbund.core.rng import generator
from werkbund.core.target import NumberTarget, is_failure
from werkbund.core.types import Score
from werkbund.data import Preparation, Schema, source_for
from werkbund.engine import Rules, Strategy
from werkbund.engine.crediting import Crediting, Game
from werkbund.evaluation import shares_of
from werkbund.learner import CohortTrainer
from werkbund.learner.signals import losses_of
from werkbund.selection.contract import check_told

Rows = tuple[Float32Array, Float32Array]
"""Features (rows, features) and what training follows, (rows,): labels, or risks where a number is foretold."""


def servers_table(config: Config, schema: Schema, preparation: Preparation) -> Rows | None:
    """Return the rows of the table that the configuration says the server holds; None where it names none.

    Raises
    ------
    DataError
        If it cannot be read, or lacks a column.
    """
    path = config.evaluation.server_rows
    if path is None:
        return None
    frame, _ = source_for(Path(path)).read()
    is_number = isinstance(schema.target, NumberTarget)
    followed = schema.risks(frame).astype(np.float32) if is_number else schema.labels(frame)
    return preparation.transform(frame), followed


def crediting_on(trainer: CohortTrainer, rows: Rows) -> Crediting:
    """Return how it is told what clients contributed: shares of the average precision on some rows.

    Where a number is foretold, rows count as failures that are within the horizon.
    """
    from sklearn.metrics import average_precision_score  # slow to import

    features, followed = rows
    labels = is_failure(followed) if trainer.plan.loss == "squared" else followed

    def score(weights: Float32Array) -> float:
        return float(average_precision_score(labels, trainer.score(weights, features))) if labels.any() else math.nan

    def divide(players: Sequence[int], game: Game, rng: np.random.Generator) -> Mapping[str, Any]:
        return shares_of(len(players), game, rng).to_json(players)

    return Crediting(score, divide)


def check_signals(strategy: Strategy, rules: Rules, told: Collection[str]) -> None:
    """Refuse a method that rests on a signal which nobody tells; the server tells a score if it has rows for it."""
    check_told(strategy.selector, {*told, *(("score",) if rules.score else ())})


def servers_share(validation: ClientTable, config: Config) -> Rows:
    """Return the rows that the server holds too, a share of all clients' validation rows drawn by the run's seed."""
    number = round(config.clients.server * len(validation.labels))
    if not number:
        return validation.features[:0], validation.followed[:0]
    drawn = np.sort(generator(config.federation.seed, "server's rows").permutation(len(validation.labels))[:number])
    return validation.features[drawn], validation.followed[drawn]


def score_on(trainer: CohortTrainer, rows: Rows) -> Score | None:
    """Return what judges weights on the server's rows; None where it has none, or all are alike.

    The score is the skill 1 - loss / loss of the best constant, at most 1; 0 knows no more than how frequent failures
    are. The loss is the one that is trained, a failure's times its weight: else weights that raise all risks, as they
    are trained to, would count as bad. It moves with every row, where average precision jumps with few failures. Of a
    number it is the share of the risks' variance that is explained.

    References
    ----------
    McFadden, "Conditional logit analysis of qualitative choice behavior", 1974: the same ratio as a measure of fit.
    """
    features, followed = rows
    if not len(followed) or followed.min() == followed.max():
        return None
    loss, weight, mean = trainer.plan.loss, trainer.plan.positive_weight, float(followed.mean())
    best = mean if loss == "squared" else float(np.log(weight * mean / (1.0 - mean)))
    without = float(losses_of(np.full(len(followed), best), followed, weight, loss).mean())

    def score(weights: Float32Array) -> float:
        return 1.0 - float(losses_of(trainer.score(weights, features), followed, weight, loss).mean()) / without

    return score
