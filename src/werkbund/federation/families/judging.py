"""What the server judges weights by: rows of its own, for methods that value clients by what their updates add."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from werkbund.config.sections import Config
from werkbund.core.arrays import Float32Array
from werkbund.core.clients import ClientTable
from werkbund.core.errors import ConfigError
from werkbund.core.rng import generator
from werkbund.data import Preparation, Schema, source_for
from werkbund.engine import Rules, Strategy
from werkbund.learner import CohortTrainer
from werkbund.learner.signals import losses_of
from werkbund.selection.contract import Score

Rows = tuple[Float32Array, Float32Array]
"""Features (rows, features) and labels (rows,)."""


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
    return preparation.transform(frame), schema.labels(frame)


def check_score(strategy: Strategy, rules: Rules) -> None:
    """Refuse a method that judges clients by the server's rows where it has none.

    Raises
    ------
    ConfigError
        If the method declares that it needs a score, and the rules have none.
    """
    if "score" in strategy.selector.declaration.needs and rules.score is None:
        name = getattr(strategy.selector, "name", type(strategy.selector).__name__)
        raise ConfigError(
            f"strategy.selection.name = {name!r} judges clients by rows of the server's own, of failures and others, "
            "and it has none; set evaluation.server_rows to a table, or in a simulation clients.server to a share of "
            "the validation rows, such as 0.5"
        )


def servers_share(validation: ClientTable, config: Config) -> Rows:
    """Return the rows that the server holds too, a share of all clients' validation rows drawn by the run's seed."""
    number = round(config.clients.server * len(validation.labels))
    if not number:
        return validation.features[:0], validation.labels[:0]
    drawn = np.sort(generator(config.federation.seed, "server's rows").permutation(len(validation.labels))[:number])
    return validation.features[drawn], validation.labels[drawn]


def score_on(trainer: CohortTrainer, rows: Rows) -> Score | None:
    """Return what judges weights on the server's rows; None where it has none, or rows of one class alone.

    The score is the skill 1 - loss / loss of the prevalence, at most 1; 0 knows no more than how frequent failures are.
    It moves with every row, where average precision moves by jumps with few failures.

    References
    ----------
    McFadden, "Conditional logit analysis of qualitative choice behavior", 1974: the same ratio as a measure of fit.
    """
    features, labels = rows
    share = float(labels.mean()) if len(labels) else 0.0
    if not 0.0 < share < 1.0:
        return None
    without = -(share * np.log(share) + (1.0 - share) * np.log1p(-share))

    def score(weights: Float32Array) -> float:
        losses = losses_of(trainer.score(weights, features), labels)
        return 1.0 - float(losses.mean()) / float(without)

    return score
