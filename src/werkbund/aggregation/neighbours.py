"""Rules of neighbours: an update is trusted by how near others lie to it, or distrusted as a copy of one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.aggregation.centres import shortening
from werkbund.aggregation.contract import Card
from werkbund.aggregation.order import ROWS_NOTE, medians
from werkbund.aggregation.rows import combined, cosines, lengths, of_ordered, squared_distances
from werkbund.aggregation.updates import HOSTILE, EachRule, Received
from werkbund.core.arrays import BoolArray, Float32Array, Float64Array
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


def copied(alike: Float64Array, hostile: int, least: float) -> BoolArray:
    """Return which updates are the copies, at most `hostile` of them: (n,).

    They are those whose nearest other is nearer than `least`, the nearest first. Where equally near ones would be more
    than may be hostile, none of these is a copy, since an honest client is among them.

    Parameters
    ----------
    alike
        (n, n), cosine of the angle between each two.
    hostile
        At most so many.
    least
        Cosine above which one is a copy of the other.

    Examples
    --------
    >>> copied(np.array([[1.0, 1.0, 0.2], [1.0, 1.0, 0.2], [0.2, 0.2, 1.0]]), hostile=2, least=0.95).tolist()
    [True, True, False]
    """
    nearest = (alike - 4.0 * np.eye(len(alike))).max(axis=1)
    beyond = np.sort(nearest)[::-1][hostile] if hostile < len(nearest) else -np.inf
    return np.asarray((nearest > least) & (nearest > beyond))


@dataclass(frozen=True)
class SybilFilter(EachRule):
    """Leave out updates that are copies of others, shorten long ones, and move the weights by the mean of what is left.

    Parameters
    ----------
    alike
        Cosine of the angle between two updates above which they are copies.
    times
        Longest update, in middle lengths of those that are left.
    hostile, mixing, step, momentum
        As for `EachRule`; at most `hostile` updates are left out as copies.

    References
    ----------
    A rule of our own after the idea of Fung, Yoon, Beschastnikh, "The Limitations of Federated Learning in Sybil
    Settings", RAID 2020 (FoolsGold): attackers with one aim resemble each other more than honest clients do. There
    updates are summed over rounds and weighed down by degrees, which honest clients that resemble each other suffer
    too; here copies of one round are left out, others count in full. The bound is that of `NormBounding`.
    """

    alike: float = option(0.95, "Cosine between two updates above which they are copies.", above=0, below=1)
    times: float = option(2.0, "Longest update, in middle lengths of those that are left.", above=0)

    name: ClassVar[str] = "sybil-filter"
    card: ClassVar[Card] = Card(
        title="Sybil filter: copies are left out, long updates shortened",
        rule=(
            "An update whose cosine to another is above `alike` is a copy: up to `hostile` of these, the nearest "
            "first, and updates of length 0 are left out. The weights move by the equal mean of the others, each no "
            "longer than `times` their middle length. Server step and momentum as in federated averaging."
        ),
        source=(
            "our own, after Fung, Yoon, Beschastnikh, The Limitations of Federated Learning in Sybil Settings, RAID "
            "2020 (FoolsGold)"
        ),
        use_when="attackers may act together, or send nothing, and plants differ; it costs little without attack",
        avoid_when="plants have the same machines and rows, or attackers know the rule and add noise of their own",
        unbiased=False,
        breakdown=(
            "(n - 1) // 2 of n for the middle length to be an honest one; f hostile that are no copies pull the "
            "weights by `times` * M * f / n a round at most, M being that length"
        ),
        notes=(
            ROWS_NOTE,
            "One attacker alone, or attackers who differ, are only shortened.",
            "Who sends a copy of an honest update has that one left out too.",
            _COST_NOTE,
        ),
    )

    def estimate(self, received: Received) -> Float32Array:
        """Return the mean of those that are no copies, shortened, (parameters,); 0 where all are of length 0."""
        own = lengths(received.rows)
        counted = (own > 0) & ~copied(cosines(received.rows), received.hostile, self.alike)
        if not counted.any():
            return np.zeros(received.rows.shape[1], np.float32)
        shares = shortening(own, self.times * float(np.median(own[counted]))) * counted
        return combined(received.rows, shares / counted.sum())
