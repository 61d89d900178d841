"""Rules of a centre: the geometric median, and means of updates that are shortened to a radius around a point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.aggregation.contract import Card, Carry, Counting
from werkbund.aggregation.order import ROWS_NOTE
from werkbund.aggregation.rows import combined, lengths, squared_distances
from werkbund.aggregation.updates import EachRule, Received
from werkbund.core.arrays import Float32Array, Float64Array
from werkbund.core.errors import ConfigError
from werkbund.core.methods import option

_STILL = 1e-10
"""Shares that change by less have converged."""


def weiszfeld(distances: Float64Array, weights: Float64Array, smoothing: float, passes: int) -> Float64Array:
    """Return the share of each update in the geometric median, (n,), which sum to 1.

    The median stays a mean of updates from pass to pass, so that distances from it follow from those between updates:
    a pass takes n^2 steps, however many parameters there are.

    Parameters
    ----------
    distances
        (n, n), squared.
    weights
        (n,), above 0.
    smoothing
        Distances below count as this.
    passes
        At most so many; fewer where the shares stand still.
    """
    weights = weights / weights.sum()
    shares = weights
    for _ in range(passes):
        products = distances @ shares
        squares = np.maximum(products - shares @ products / 2, 0.0)
        pulls = weights / np.maximum(smoothing, np.sqrt(squares))
        before, shares = shares, pulls / pulls.sum()
        if np.abs(shares - before).max() < _STILL:
            break
    return shares


def shortening(distances: Float64Array, radius: float) -> Float64Array:
    """Return by which factors distances, (n,), fit into a radius: 1 where they do."""
    return np.asarray(radius / np.maximum(distances, radius)) if radius > 0 else (distances == 0).astype(np.float64)


@dataclass(frozen=True)
class GeometricMedian(EachRule):
    """Move the weights by the point whose distances to all updates have the least sum.

    Parameters
    ----------
    weighting
        `equal`: updates count alike; `examples`: by rows, as in the paper, of which each client gives its word.
    passes
        Passes of Weiszfeld's algorithm, at most: it stops where it has converged. 4 is RFA.
    smoothing
        Distances below count as this.
    hostile, mixing, step, momentum
        As for `EachRule`.

    References
    ----------
    Pillutla, Kakade, Harchaoui, "Robust Aggregation for Federated Learning", IEEE TSP 2022, algorithm 2 (smoothed
    Weiszfeld), from the mean. The paper stops after 3 or 4 passes, which with far outliers is far from the median.
    """

    weighting: Counting = option("equal", "How clients weigh: equal, all alike; or examples, by their rows.")
    passes: int = option(1000, "Passes of Weiszfeld's algorithm at most; 4 is RFA.", at_least=1)
    smoothing: float = option(1e-6, "Distances from the median below count as this.", above=0)

    name: ClassVar[str] = "geometric-median"
    card: ClassVar[Card] = Card(
        title="Geometric median (RFA, smoothed Weiszfeld)",
        rule=(
            "The weights move by the z of least sum of a_i |z - x_i| over updates x_i with shares a_i: from the mean "
            "on, z <- sum of b_i x_i / sum of b_i with b_i = a_i / max(smoothing, |z - x_i|), until it stands still. "
            "Server step and momentum as in federated averaging."
        ),
        source="Pillutla, Kakade, Harchaoui, Robust Aggregation for Federated Learning, IEEE TSP 2022, algorithm 2",
        use_when="some clients may be broken or hostile, and nobody knows how many; plants may differ",
        avoid_when="the hostile send small, coordinated changes: it bounds how far they pull, not whereto",
        unbiased=False,
        breakdown="less than half of the weight: (n - 1) // 2 of n where all weigh alike",
        notes=(
            "weighting = examples lets a client pull by the rows that it says it has; then the f heaviest must weigh "
            "less than half.",
            "passes = 4 is RFA as published. After few passes it is between mean and median.",
            "The paper lets sums do for it, in a message a pass; here the server sees each update.",
            "It takes n^2 distances, whatever the passes: ten to twenty times the mean's time with a hundred clients.",
        ),
    )

    def estimate(self, received: Received) -> Float32Array:
        """Return the geometric median, (parameters,).

        Raises
        ------
        ConfigError
            If as many as may be hostile have half of the weight.
        """
        weights = received.weights if self.weighting == "examples" else np.ones(len(received.rows))
        together = np.cumsum(np.sort(weights)[::-1]) / weights.sum()
        most = int((together < 0.5).sum())
        if received.hostile > most:
            raise ConfigError(
                f"strategy.aggregation {self.name!r} bears hostile clients of less than half of the weight, got "
                f"hostile = {self.hostile!r}, and the {received.hostile} heaviest of {len(weights)} have "
                f"{together[received.hostile - 1]:.2f} of it; lower it to {most}, or set weighting to equal"
            )
        return combined(
            received.rows, weiszfeld(squared_distances(received.rows), weights, self.smoothing, self.passes)
        )


@dataclass(frozen=True)
class CentredClipping(EachRule):
    """Move a centre by the mean of the updates' ways from it, each no longer than a radius; the weights move by it.

    The centre goes on from round to round; it begins at zero.

    Parameters
    ----------
    radius
        Longest way that counts; None for the middle one of the round.
    passes
        How often the centre moves in a round.
    hostile, mixing, step, momentum
        As for `EachRule`.

    References
    ----------
    Karimireddy, He, Jaggi, "Learning from History for Byzantine Robust Optimization", ICML 2021, algorithm 2. There
    what clients send are momenta of their own, and the radius is fixed; here they are updates of clients without
    memory, and the middle way is a radius that f < n / 2 hostile clients cannot stretch beyond the honest ones.
    """

    radius: float | None = option(None, "Longest way from the centre that counts; the middle one if left out.", above=0)
    passes: int = option(1, "How often the centre moves in a round.", at_least=1)

    name: ClassVar[str] = "centred-clipping"
    card: ClassVar[Card] = Card(
        title="Centred clipping",
        rule=(
            "A centre v, zero at first, moves by the mean of (x_i - v) min(1, radius / |x_i - v|) over updates x_i, "
            "`passes` times; the weights move by v, and the next round begins with it. Server step and momentum as in "
            "federated averaging."
        ),
        source="Karimireddy, He, Jaggi, Learning from History for Byzantine Robust Optimization, ICML 2021, alg. 2",
        use_when="few clients may be hostile and patient: history holds them to what was the way so far",
        avoid_when="many may be hostile: their pull is bounded, not undone",
        unbiased=False,
        breakdown=(
            "(n - 1) // 2 of n for the middle way to be an honest one; f hostile pull the centre by passes * radius * "
            "f / n a round at most. Proved for f / n up to about 0.1"
        ),
        notes=(
            ROWS_NOTE,
            "The centre moves by one radius a pass at most: where updates change fast, it lags.",
            "Here the radius is the middle way of the round; in the paper it is fixed.",
        ),
    )

    def init(self, num_parameters: int) -> Carry:
        """Return a centre of zero beside the momentum."""
        return {"centre": np.zeros(num_parameters, np.float32), **super().init(num_parameters)}

    def kept(self, estimate: Float32Array) -> Carry:
        """Return the centre."""
        return {"centre": estimate}

    def estimate(self, received: Received) -> Float32Array:
        """Return where the centre is after the round, (parameters,)."""
        centre, number, radius = received.carry["centre"], len(received.rows), self.radius
        for _ in range(self.passes):
            ways = lengths(received.rows, centre)
            radius = float(np.median(ways)) if radius is None else radius
            shares = shortening(ways, radius) / number
            stays = np.float32(1.0 - shares.sum())
            centre = stays * centre + combined(received.rows, shares)
        return centre


@dataclass(frozen=True)
class NormBounding(EachRule):
    """Move the weights by the mean of the updates, each no longer than so many middle lengths.

    Parameters
    ----------
    times
        The bound, in middle lengths of the round.
    hostile, mixing, step, momentum
        As for `EachRule`.

    References
    ----------
    Sun, Kairouz, Suresh, McMahan, "Can You Really Backdoor Federated Learning?", 2019, section 4 (norm thresholding).
    There the bound is fixed: `strategy.aggregation.clip_norm`, under any rule. Here it follows the round.
    """

    times: float = option(1.0, "Longest update, in middle lengths of the round.", above=0)

    name: ClassVar[str] = "norm-bounding"
    card: ClassVar[Card] = Card(
        title="Norm bounding at the middle length",
        rule=(
            "The weights move by the equal mean of x_i min(1, M / |x_i|) over updates x_i, with M `times` the middle "
            "length of the round. Server step and momentum as in federated averaging."
        ),
        source="Sun, Kairouz, Suresh, McMahan, Can You Really Backdoor Federated Learning?, 2019, section 4",
        use_when="updates may be far too long: a backdoor that is to replace the model, or wrong units",
        avoid_when="the hostile send updates of usual length: their direction counts in full",
        unbiased=False,
        breakdown=(
            "(n - 1) // 2 of n for the middle length to be an honest one; f hostile pull the weights by M * f / n a "
            "round at most"
        ),
        notes=(ROWS_NOTE, "For a bound that is fixed, set clip_norm, under any rule."),
    )

    def estimate(self, received: Received) -> Float32Array:
        """Return the mean of the shortened updates, (parameters,)."""
        own = lengths(received.rows)
        bound = self.times * float(np.median(own))
        return combined(received.rows, shortening(own, bound) / len(own))
