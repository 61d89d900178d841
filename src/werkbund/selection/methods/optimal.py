"""Optimal client sampling: everybody in a pool trains, and large updates are uploaded more often than small ones.

The probability of an upload grows with the update's norm; dividing by it keeps the mean where it is. Two forms: with
each norm known to the rule (`ocs`), and by a rule that reads sums of norms alone (`aocs`), though each norm is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.choices import choice_of
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.facts import answered, weights_of
from werkbund.selection.questions import HOLD

Total = Callable[[Float64Array], float]


def optimal_probabilities(importances: Float64Array, expected: int) -> Float64Array:
    """Return the probabilities of independent uploads with the least variance for an expected number of them.

    With the importances u ascending and l the largest number with 0 < k + l - n <= (u_1 + ... + u_l) / u_l, client
    j <= l uploads with probability (k + l - n) u_j / (u_1 + ... + u_l), the others surely.

    Parameters
    ----------
    importances
        (n,), u_i = p_i ||update_i||, not negative.
    expected
        k, the expected number of uploads; n or more is everybody.

    Notes
    -----
    Where fewer than k importances are positive, these upload surely and the zeros share what is left of k alike, the
    limit of small importances. An update of zero adds nothing, so its probability is of no account.

    References
    ----------
    Chen, Horváth, Richtárik, TMLR 2022, equation 7.
    """
    number = len(importances)
    if expected >= number:
        return np.ones(number)
    order = np.argsort(importances, kind="stable")
    sums = np.cumsum(importances[order])
    below = np.arange(1, number + 1)  # l
    spare = expected + below - number
    fits = (spare > 0) & (spare * importances[order] <= sums)
    last = int(below[fits].max())
    shared, total = float(spare[last - 1]), float(sums[last - 1])
    probabilities = np.ones(number)
    small = order[:last]
    probabilities[small] = shared * importances[small] / total if total > 0 else shared / last
    return np.minimum(probabilities, 1.0)


def aggregated_probabilities(
    importances: Float64Array, expected: int, steps: int, total: Total = np.sum
) -> Float64Array:
    """Return approximately optimal probabilities, (n,), computed from sums over clients alone.

    A client begins with min(1, k u_i / U) and stretches its probability as long as it is below 1 by the factor
    C = (k - n + I) / P that the server publishes; I counts those below 1 and P sums their probabilities.

    Parameters
    ----------
    importances
        (n,), u_i.
    expected
        k
    steps
        How often the factor is published at most.
    total
        Sums one number of each client: the only way by which the rule reads them.

    References
    ----------
    Chen, Horváth, Richtárik, TMLR 2022, algorithm 2.
    """
    number = len(importances)
    everything = total(importances)
    if expected >= number or not everything > 0:
        return np.full(number, min(expected / max(number, 1), 1.0))
    own = np.minimum(1.0, expected * importances / everything)
    for _ in range(steps):
        below = own < 1.0
        counted, summed = total(below.astype(np.float64)), total(np.where(below, own, 0.0))
        if not summed > 0:
            break
        factor = (expected - number + counted) / summed
        own = np.where(below, np.minimum(1.0, factor * own), own)
        if factor <= 1.0:
            break
    return own


def draw_somebody(probabilities: Float64Array, rng: np.random.Generator) -> tuple[BoolArray, Float64Array]:
    """Draw independently, and again as long as nobody is drawn; return who is, (n,), and each probability, (n,).

    Parameters
    ----------
    probabilities
        (n,), of the independent draws; they must sum to 1 at least.

    Notes
    -----
    With pi_i the probability of client i in one draw, and q that of nobody being drawn, client i is in a cohort that
    has somebody with probability pi_i / (1 - q). Divided by that, and not by pi_i, updates stay unbiased exactly; what
    it costs is size: k / (1 - q) are expected in place of k. q is 0 as soon as one probability is 1, and at most
    exp(-k).
    """
    drawn = rng.random(len(probabilities)) < probabilities
    while not drawn.any():
        drawn = rng.random(len(probabilities)) < probabilities
    nobody = float(np.prod(1.0 - probabilities))
    return drawn, np.minimum(probabilities / (1.0 - nobody), 1.0)


Probabilities = Callable[[Float64Array, int], Float64Array]

_SOURCE = "Chen, Horváth, Richtárik, Optimal Client Sampling for Federated Learning, TMLR 2022"


@dataclass(frozen=True)
class OptimalSampling:
    """Let a pool train and hold; draw who uploads with the probabilities of least variance.

    Parameters
    ----------
    size
        Expected number of uploads.
    pool
        How many clients train, drawn uniformly; at least `size`, all where there are no more. The authors let 32
        train for 3 uploads.

    Notes
    -----
    The uploads' number varies from round to round, except that somebody always uploads; see `draw_somebody`. A client
    whose norm is missing counts with the mean norm of the others. If a whole pool is silent, a cohort is drawn
    uniformly and trains.

    References
    ----------
    Chen, Horváth, Richtárik, "Optimal Client Sampling for Federated Learning", TMLR 2022, equation 7, algorithm 1. The
    paper scales by the rows of the pool; here, where the pool is a part, updates are scaled to the rows of all
    available clients, which is unbiased also with a pool of varying rows.
    """

    name: ClassVar[str] = "ocs"
    card: ClassVar[Card] = Card(
        title="Optimal client sampling (OCS)",
        rule="A pool trains and tells the norms of its updates; client i uploads with a probability in proportion to "
        "p_i times its norm, cut at 1 so that k uploads are expected, and its update is divided by that probability.",
        policy="training efficiency",
        shared="update norm",
        generation="update norm",
        interpretation="probability",
        use_when="Uploads are what costs, as with large networks over mobile links, and training is cheap.",
        avoid_when="Training is what costs: everybody in the pool trains, and only few updates are used.",
        notes=(
            "Somebody always uploads: the draw is conditioned on it and the factors account for that, so no bias comes "
            "of it, but k / (1 - q) uploads are expected, q being the chance of an empty draw.",
        ),
    )
    size: CohortSize = CohortSize()
    pool: int = 32

    def __post_init__(self) -> None:
        _check_pool(self.pool)

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            f"{_SOURCE}, equation 7",
            needs=frozenset({"norm"}),
            assumes=frozenset({"available", "addressable", "reliable", "trustworthy"}),
            cost="a whole pool trains for a few uploads; one number from each of the pool",
            reveals="the norm of its update",
            asks=frozenset({HOLD}),
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Let the pool train and hold."""
        return _ask(view, answers, rng, self.size, self.pool)

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw who uploads."""
        return _drawn(view, answers, rng, self.pool, self.size.of(len(view.available)), optimal_probabilities)

    def observe(self, state: State, reports: Reports) -> State:
        """Learn nothing."""
        del reports
        return state


@dataclass(frozen=True)
class AggregatedOptimalSampling:
    """Let a pool train and hold; draw who uploads with probabilities that are computed from sums over clients.

    Parameters
    ----------
    size, pool
        As for `OptimalSampling`.
    steps
        How often the common factor is published at most; the authors' j_max.

    Notes
    -----
    The rule reads norms only through sums. Here each client answers with its norm in clear and the server adds, so
    nothing but the rule keeps it from reading a single norm: secure aggregation does not go with this form either.

    References
    ----------
    Chen, Horváth, Richtárik, "Optimal Client Sampling for Federated Learning", TMLR 2022, algorithm 2.
    """

    name: ClassVar[str] = "aocs"
    card: ClassVar[Card] = Card(
        title="Approximately optimal client sampling (AOCS)",
        rule="As optimal client sampling, but the probabilities come of at most j_max steps, each of which reads a sum "
        "over clients and makes one factor. Here each norm travels to the server in clear, which does the steps.",
        policy="training efficiency",
        shared="update norm",
        generation="update norm",
        interpretation="probability",
        use_when="To see how near the steps come to optimal client sampling; it hides no more than that does.",
        avoid_when="Training is what costs: everybody in the pool trains, and only few updates are used.",
        notes=(
            "A few steps reach the optimum, or nearly; with any probabilities the mean stays unbiased.",
            "In the paper sums of norms pass through secure aggregation, so that nobody's norm is known; not here.",
        ),
    )
    size: CohortSize = CohortSize()
    pool: int = 32
    steps: int = 4

    def __post_init__(self) -> None:
        _check_pool(self.pool)
        if self.steps < 0:
            raise ConfigError(f"strategy.selection.steps must be >= 0, got {self.steps}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            f"{_SOURCE}, algorithm 2",
            needs=frozenset({"norm"}),
            assumes=frozenset({"available", "addressable", "reliable", "trustworthy"}),
            cost="a whole pool trains for a few uploads; one number from each of the pool",
            reveals="the norm of its update, in clear, of which the rule uses sums alone",
            asks=frozenset({HOLD}),
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Let the pool train and hold."""
        return _ask(view, answers, rng, self.size, self.pool)

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw who uploads."""
        wanted = self.size.of(len(view.available))
        return _drawn(view, answers, rng, self.pool, wanted, partial(aggregated_probabilities, steps=self.steps))

    def observe(self, state: State, reports: Reports) -> State:
        """Learn nothing."""
        del reports
        return state


def _check_pool(pool: int) -> None:
    """Raise a `ConfigError` for a pool below 1."""
    if pool < 1:
        raise ConfigError(f"strategy.selection.pool must be >= 1, got {pool}")


def _ask(
    view: View, answers: tuple[Replies, ...], rng: np.random.Generator, size: CohortSize, pool: int
) -> Tasks | None:
    """Return the task for a random pool to train and hold; None once it was given, or where nobody is available."""
    available = len(view.available)
    if answers or not available:
        return None
    number = min(max(pool, size.of(available)), available)
    return Tasks(HOLD, view.round, np.sort(rng.choice(view.available, number, replace=False)))


def _drawn(
    view: View, answers: tuple[Replies, ...], rng: np.random.Generator, pool: int, wanted: int, rule: Probabilities
) -> Choice:
    """Return the choice of who uploads, with probabilities that `rule` gives to rows times norms."""
    available = len(view.available)
    clients, norms = answered(answers, HOLD, "norm")
    if not len(clients):
        cohort = rng.choice(view.available, wanted, replace=False)
        return choice_of(cohort, wanted / max(available, 1), ("nobody trained ahead; drawn at random",) * wanted)
    weights, by_rows = weights_of(view)
    places = np.searchsorted(view.available, clients)
    drawn, probabilities = draw_somebody(rule(weights[places] * _filled(norms), min(wanted, len(clients))), rng)
    whole = max(pool, wanted) >= available
    scale = 1.0 if whole else available / len(clients)
    inclusion = np.zeros(available)
    inclusion[places] = probabilities
    return Choice(
        clients[drawn],
        probabilities[drawn] / scale,
        scale / probabilities[drawn],
        tuple(
            f"update norm {norm:.3g}, uploads with probability {probability:.3g}"
            for norm, probability in zip(norms[drawn], probabilities[drawn], strict=True)
        ),
        inclusion if whole else None,
        equal=not by_rows,
        total=float(weights[places].sum() if whole else weights.sum()),
        held=True,
    )


def _filled(norms: Float64Array) -> Float64Array:
    """Return the norms with the mean of the usable ones in place of the others, (n,); ones where none is usable."""
    usable = np.isfinite(norms) & (norms >= 0)
    return np.where(usable, norms, norms[usable].mean() if usable.any() else 1.0)
