"""Rules of neighbours: an update is trusted by how near others lie to it (Krum, Multi-Krum, Bulyan)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.aggregation.contract import Card
from werkbund.aggregation.order import ROWS_NOTE, medians
from werkbund.aggregation.rows import combined, of_ordered, squared_distances
from werkbund.aggregation.updates import HOSTILE, EachRule, Received
from werkbund.core.arrays import Float32Array, Float64Array
from werkbund.core.methods import option

_SOURCE = "Blanchard et al., Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent, NeurIPS 2017"
_COST_NOTE = "It takes n^2 distances: ten to twenty times the mean's time with a hundred clients, and more with more."
_TIES_NOTE = "Of equal scores the first in the order of clients wins, so that nothing depends on who answers first."


def krum_scores(distances: Float64Array, hostile: int) -> Float64Array:
    """Return of each update the sum of its squared distances to its m - f - 2 nearest others, one at least: (m,).

    Parameters
    ----------
    distances
        (m, m), squared.
    hostile
        f.
    """
    number = len(distances)
    others = distances + np.diag(np.full(number, np.inf))
    return np.asarray(np.sort(others, axis=1)[:, : max(1, number - hostile - 2)].sum(axis=1))


def bulyan_choice(distances: Float64Array, hostile: int) -> list[int]:
    """Return the n - 2f updates that Krum chooses one after the other, each among those that are left."""
    left, chosen = list(range(len(distances))), list[int]()
    for _ in range(len(distances) - 2 * hostile):
        scores = krum_scores(distances[np.ix_(left, left)], hostile)
        chosen.append(left.pop(int(np.argmin(scores))))
    return chosen


def mean_near_median(rows: Float32Array, chosen: list[int], number: int) -> Float32Array:
    """Return of each coordinate the mean of the values nearest to its median; of two as near, the smaller one counts.

    Parameters
    ----------
    rows
        (n, parameters)
    chosen
        Which of them are looked at.
    number
        How many values the mean is of, at most as many as are chosen.
    """
    spare, places = len(chosen) - number, np.arange(len(chosen))

    def mean(block: Float32Array) -> Float64Array:
        middle = medians(block)[:, None]
        # The nearest lie side by side. While the first is farther off than the one after the last, they move on.
        first = (middle - block[:, :spare] > block[:, number:] - middle).sum(axis=1)[:, None]
        near = np.where((places >= first) & (places < first + number), block, np.float32(0))
        return np.asarray(near.sum(axis=1, dtype=np.float64) / number)

    return of_ordered(rows, mean, chosen)


@dataclass(frozen=True)
class Krum(EachRule):
    """Move the weights by the one update whose n - f - 2 nearest others are nearest.

    Parameters
    ----------
    hostile, mixing, step, momentum
        As for `EachRule`; `hostile` is f.

    References
    ----------
    Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS 2017, section 4.
    """

    name: ClassVar[str] = "krum"
    card: ClassVar[Card] = Card(
        title="Krum: the update that most others are near to",
        rule=(
            "Score of an update: sum of the squared distances to its n - f - 2 nearest others, f being `hostile`. The "
            "weights move by the update of least score, and no other. Server step and momentum as in federated "
            "averaging."
        ),
        source=f"{_SOURCE}, section 4",
        use_when="clients may be hostile together, and plants are much alike",
        avoid_when="plants differ: the weights follow one plant a round, and what is rare is not learnt",
        unbiased=False,
        breakdown="(n - 3) // 2 of n; up to that, the update that is followed is near to honest ones",
        notes=(ROWS_NOTE, _TIES_NOTE, _COST_NOTE),
    )

    def most_hostile(self, num_updates: int) -> int:
        """Return the largest f with n >= 2f + 3; -1 where n is below 3."""
        return (num_updates - 3) // 2 if num_updates >= 3 else -1

    def estimate(self, received: Received) -> Float32Array:
        """Return the update of least score, (parameters,)."""
        scores = krum_scores(squared_distances(received.rows), received.hostile)
        chosen: Float32Array = received.rows[int(np.argmin(scores))]
        return chosen


@dataclass(frozen=True)
class MultiKrum(EachRule):
    """Move the weights by the plain mean of the updates of least score.

    Parameters
    ----------
    average
        Over how many; n - f - 2 if left out, which is also the most that is proved.
    hostile, mixing, step, momentum
        As for `EachRule`; `hostile` is f.

    References
    ----------
    Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS 2017, section 4
    (Krum) and section 6 (Multi-Krum). The scores are those of all updates: none is taken out in between.
    """

    average: int | None = option(None, "Over how many updates the mean goes; n - f - 2 if left out.", at_least=1)

    name: ClassVar[str] = "multi-krum"
    card: ClassVar[Card] = Card(
        title="Multi-Krum: mean of the updates that most others are near to",
        rule=(
            "Scores as in Krum. The weights move by the plain mean of the `average` updates of least score. Server "
            "step and momentum as in federated averaging."
        ),
        source=f"{_SOURCE}, sections 4 and 6",
        use_when="clients may be hostile together, and the mean over many honest ones is wanted",
        avoid_when="plants differ much: those that are rare are left out",
        unbiased=False,
        breakdown="(n - 3) // 2 of n, with an average over n - f - 2 at most; up to that, updates far off do not count",
        notes=(
            ROWS_NOTE,
            "Where an average over more than n - f - 2 is wanted, as some do without proof, it is refused.",
            _TIES_NOTE,
            _COST_NOTE,
        ),
    )

    def most_hostile(self, num_updates: int) -> int:
        """Return the largest f with n >= 2f + 3 and an average over n - f - 2 at most; below 0 where there is none."""
        most = (num_updates - 3) // 2 if num_updates >= 3 else -1
        return most if self.average is None else max(min(most, num_updates - 2 - self.average), -1)

    def estimate(self, received: Received) -> Float32Array:
        """Return the mean of the updates of least score, (parameters,)."""
        scores = krum_scores(squared_distances(received.rows), received.hostile)
        number = self.average or len(scores) - received.hostile - 2
        shares = np.zeros(len(scores))
        shares[np.argsort(scores, kind="stable")[:number]] = 1.0 / number
        return combined(received.rows, shares)


@dataclass(frozen=True)
class Bulyan(EachRule):
    """Choose n - 2f updates by Krum, one after the other; of each coordinate, average those nearest to the median.

    Parameters
    ----------
    hostile, mixing, step, momentum
        As for `EachRule`; `hostile` is f.

    References
    ----------
    El Mhamdi, Guerraoui, Rouault, "The Hidden Vulnerability of Distributed Learning in Byzantium", ICML 2018, section
    4. Krum chooses anew among those that are left, as in the paper, not all at once; in the last steps, where these are
    fewer than f + 3, an update is judged by its nearest other alone.
    """

    hostile: int | float = option(0.15, HOSTILE, at_least=0)

    name: ClassVar[str] = "bulyan"
    card: ClassVar[Card] = Card(
        title="Bulyan: Krum again and again, then near the median",
        rule=(
            "Krum chooses an update and takes it out, n - 2f times, f being `hostile`. Each weight moves by the mean "
            "of the n - 4f values of the chosen that are nearest to their median. Server step and momentum as in "
            "federated averaging."
        ),
        source=(
            "El Mhamdi, Guerraoui, Rouault, The Hidden Vulnerability of Distributed Learning in Byzantium, ICML 2018, "
            "section 4"
        ),
        use_when="hostile clients may hide a large change of few weights in an update that is near to others",
        avoid_when="there are few clients: it needs four times as many as may be hostile, and three more",
        unbiased=False,
        breakdown="(n - 3) // 4 of n; up to that, each coordinate is near to those of honest clients",
        notes=(
            ROWS_NOTE,
            _TIES_NOTE,
            "It takes n^2 distances, and sorts: about fifty times the mean's time with a hundred.",
        ),
    )

    def most_hostile(self, num_updates: int) -> int:
        """Return the largest f with n >= 4f + 3; -1 where n is below 3."""
        return (num_updates - 3) // 4 if num_updates >= 3 else -1

    def estimate(self, received: Received) -> Float32Array:
        """Return the mean near the median of the chosen, (parameters,)."""
        chosen = bulyan_choice(squared_distances(received.rows), received.hostile)
        return mean_near_median(received.rows, chosen, len(chosen) - 2 * received.hostile)
