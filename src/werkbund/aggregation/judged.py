"""A rule that judges each update on rows of the server, and weighs the better ones more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.aggregation.contract import Card
from werkbund.aggregation.order import ROWS_NOTE
from werkbund.aggregation.rows import combined
from werkbund.aggregation.updates import EachRule, Received
from werkbund.core.arrays import Float32Array, Float64Array
from werkbund.core.errors import ConfigError, FederationError

_CUT = math.log(10.0)
"""Nine of ten values of an exponential distribution are below so many times its mean."""

_FIRST, _FIRSTS_SHARE = 0.2, 0.4
"""The best fifth of those that are kept has two fifths of the weight."""


def weights_by_score(scores: Float64Array) -> Float64Array:
    """Return what each update weighs, (n,), by its score; they sum to 1.

    An update is dropped whose gap to the best is beyond the point below which nine of ten values of an exponential with
    the gaps' mean lie, or whose score is no number. Of the k that are kept, the one of rank j weighs
    Q(j / k) - Q((j - 1) / k), with Q through (0, 0), (0.2, 0.4) and (1, 1).

    Parameters
    ----------
    scores
        (n,), higher is better; of equal ones the first in the order of clients ranks higher.

    Raises
    ------
    FederationError
        If no score is a finite number.
    """
    finite = np.isfinite(scores)
    if not finite.any():
        raise FederationError(f"at least one of {len(scores)} updates must have a finite score on the server's rows")
    gaps = scores[finite].max() - scores
    kept = np.flatnonzero(finite)
    kept = kept[gaps[kept] <= _CUT * gaps[finite].mean()]
    edges = np.interp(np.arange(len(kept) + 1) / len(kept), (0.0, _FIRST, 1.0), (0.0, _FIRSTS_SHARE, 1.0))
    weights = np.zeros(len(scores))
    weights[kept[np.argsort(-scores[kept], kind="stable")]] = np.diff(edges)
    return weights


@dataclass(frozen=True)
class ValidationWeights(EachRule):
    """Weigh each update by how well the weights with it do on the server's own validation rows.

    Parameters
    ----------
    hostile, mixing, step, momentum
        As for `EachRule`.

    References
    ----------
    A rule of our own, after the idea of Rodriguez-Barroso et al., "Dynamic defense against byzantine poisoning attacks
    in federated learning", FGCS 2022: an ordered weighting by scores on clean rows. Cut and weights are ours.
    """

    name: ClassVar[str] = "validation-weights"
    needs: ClassVar[frozenset[str]] = frozenset({"score"})
    card: ClassVar[Card] = Card(
        title="Weights by the server's validation",
        rule=(
            "Each update is added to the weights by itself, and the sum scored on the server's rows. Updates are "
            "dropped whose gap to the best score is more than ln 10 times the mean gap; the others weigh by rank, the "
            "best fifth of them two fifths. Server step and momentum as in federated averaging."
        ),
        source=(
            "our own, after Rodriguez-Barroso et al., Dynamic defense against byzantine poisoning attacks in federated "
            "learning, FGCS 2022"
        ),
        use_when="the server has clean rows on which each kind of failure is there (evaluation.server_rows)",
        avoid_when="these rows lack a failure mode: a plant that alone has it scores badly, and is dropped",
        unbiased=False,
        breakdown=(
            "less than n / ln 10 of n, about 0.43, if the server's rows are clean and have every failure mode; an "
            "update far worse than all hides a merely bad one, which then has the least weight"
        ),
        notes=(ROWS_NOTE, "It takes n forward passes over the server's rows in a round."),
    )

    def most_hostile(self, num_updates: int) -> int:
        """Return the largest f below n / ln 10: so many that do alike badly are dropped together."""
        return math.ceil(num_updates / _CUT) - 1

    def estimate(self, received: Received) -> Float32Array:
        """Return the weighted mean, (parameters,).

        Raises
        ------
        ConfigError
            If there is nothing to judge by.
        """
        score = received.score
        if score is None:
            raise ConfigError(
                f"strategy.aggregation {self.name!r} judges updates on rows of the server, which has none"
            )
        scores = np.array([score(received.start + row) for row in received.rows])
        return combined(received.rows, weights_by_score(scores))
