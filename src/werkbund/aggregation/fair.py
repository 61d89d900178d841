"""Rules that care for the clients on whose rows the common model does worst."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.aggregation.contract import UPDATE, Card, Carry, Closing, LocalResult, Weighting
from werkbund.aggregation.sums import SumRule, Sums, begun, moved
from werkbund.core.arrays import Arrays, Float32Array, Float64Array, Int64Array
from werkbund.core.errors import FederationError
from werkbund.core.kinds import LARGEST, LOSS, Field
from werkbund.core.methods import option
from werkbund.core.store import Store

STEEPNESS = Field(
    "sums",
    "steepness",
    "bound on how fast the slope of its loss to the power of q + 1 changes, times learning rate and client's weight",
    (),
    "f",
    signal=LOSS,
    on_request=True,
    least=0.0,
    most=LARGEST,
)

_LEAST_LOSS = 1e-10
"""Added to each loss, so that powers of it are finite."""


@dataclass(frozen=True)
class FairHalf:
    """Multiply each client's update by a power of the loss that it began with.

    Parameters
    ----------
    q
        The power.
    """

    q: float

    weighted: ClassVar[tuple[str, ...]] = (STEEPNESS.name,)

    def before(self, sent: Arrays, clients: Int64Array, store: Store) -> Arrays:
        """Return nothing: the training is the usual one."""
        return {}

    def after(self, sent: Arrays, result: LocalResult, clients: Int64Array, store: Store) -> Arrays:
        """Return F^q d, and F^q + q F^(q-1) |d|^2 / rate; 0 for a client without rows."""
        has_rows = result.rows > 0
        loss = np.where(has_rows, result.loss(), 0.0) + _LEAST_LOSS
        share = np.where(has_rows, loss**self.q, 0.0)
        squared = np.square(result.update, dtype=np.float64).sum(axis=1)
        bend = self.q * loss ** (self.q - 1) * squared / result.learning_rate
        return {
            UPDATE: result.update * share[:, None].astype(np.float32),
            STEEPNESS.name: np.where(has_rows, share + bend, 0.0),
        }


@dataclass(frozen=True)
class QFedAvg(SumRule):
    """Average with weights that grow with a client's loss, with a step that follows from how steep the losses are.

    A client trains by the rate r, from weights of the mean loss F over its training rows, by the update d. It sends
    u = F^q d and h = F^q + q F^(q-1) |d|^2 / r, and the server moves by d <- sum u / sum h: m <- momentum * m + d,
    weights <- weights + m.

    Parameters
    ----------
    q
        How much larger losses count; 0 is federated averaging with equal weights.
    momentum
        Server momentum, 0 <= momentum < 1; the paper has none.

    References
    ----------
    Li, Sanjabi, Beirami, Smith, "Fair Resource Allocation in Federated Learning", ICLR 2020, algorithm 2, with L = 1/r.
    Its h is divided by L here, and its sum of Delta is -L times that of u: the quotient is the same. Numbers of rows
    count nowhere but where a selector asks for it.
    """

    q: float = option(1.0, "How much larger losses count; 0 is equal weights.", at_least=0, at_most=10)
    momentum: float = option(0.9, "Momentum of the server; the paper has none.", at_least=0, below=1)

    weighting: ClassVar[Weighting] = "equal"
    name: ClassVar[str] = "qfedavg"
    folds: ClassVar[tuple[str, ...]] = (STEEPNESS.name,)
    card: ClassVar[Card] = Card(
        title="Fair averaging by powers of the losses (q-FFL, q-FedAvg)",
        rule=(
            "Each client's update is multiplied by F^q, where F is the mean loss of the received weights over its "
            "training rows; the sum of these is divided by the sum of F^q + q F^(q-1) |d|^2 / rate, which keeps the "
            "step short where losses are steep."
        ),
        source="Li et al., ICLR 2020, algorithm 2",
        use_when="the model shall serve the worst-off plants better, at some cost to the mean",
        avoid_when="a plant's loss is high because its labels are wrong, or a plant may lie: then it counts most",
        unbiased=False,
        notes=(
            "Sums are enough; where the server sees each, it can work out each client's loss.",
            "A plant that does not let its loss leave (policy.signals) takes no part.",
            "With q above 2 a plant of very high loss sends an update a thousand times as long as the middle one, "
            "which is refused by name; lower q then.",
            "clip_norm shortens F^q d, and leaves what it is divided by as it is.",
            "On AI4I 2020, where one plant alone sees a failure mode (150 rounds, validation rows of three seeds), the "
            "worst plant's log loss was .24 with equal weights, .21 with q = .1 and .19 with q = 1, at an average "
            "precision of .74 each; q = 3 gave .19 too and an average precision of .65.",
        ),
    )

    @property
    def half(self) -> FairHalf:
        """What clients do beside training."""
        return FairHalf(self.q)

    def init(self, num_parameters: int) -> Carry:
        """Return a momentum of zero, or nothing where there is no momentum."""
        return begun(self.momentum, num_parameters)

    def finish(
        self, accumulator: Sums, weights: Float32Array, carry: Carry, closing: Closing = Closing()
    ) -> tuple[Float32Array, Carry]:
        """Return the moved weights, in the storage of the sums.

        Raises
        ------
        FederationError
            If nobody's update counts: no data is not the same as no change.
        """
        if not accumulator.weight > 0:
            raise FederationError(f"the total weight of the updates must be > 0, got {accumulator.weight}")
        steepness = float(accumulator.arrays[STEEPNESS.name])
        if closing.total is not None:
            steepness *= closing.total / accumulator.weight
        return moved(weights, accumulator.mean(total=steepness), carry, self.momentum)


def on_simplex(numbers: Float64Array) -> Float64Array:
    """Return the nearest shares, (n,), not negative and of the sum 1.

    References
    ----------
    Duchi et al., "Efficient Projections onto the l1-Ball", ICML 2008, figure 1.

    Examples
    --------
    >>> on_simplex(np.array([0.2, 0.3, 0.9])).round(4).tolist()
    [0.0667, 0.1667, 0.7667]
    """
    falling = np.sort(numbers)[::-1]
    excess = (np.cumsum(falling) - 1) / np.arange(1, len(falling) + 1)
    last = np.flatnonzero(falling > excess)[-1]
    return np.asarray(np.maximum(numbers - excess[last], 0.0))


@dataclass(frozen=True)
class Agnostic(SumRule):
    """Minimise the worst mixture of the clients' losses: shares of the clients follow their losses upwards.

    With shares l_i that sum to 1: d <- sum l_i d_i, m <- momentum * m + d, weights <- weights + m; then
    l <- P(l + rate * F), where F_i is the mean loss of the received weights over a client's training rows, and P takes
    the nearest shares.

    Parameters
    ----------
    rate
        How fast shares follow losses.
    momentum
        Server momentum, 0 <= momentum < 1; the paper has none.

    References
    ----------
    Mohri, Sivek, Suresh, "Agnostic Federated Learning", ICML 2019, algorithm 1. There each round is one gradient step
    of all clients, and the mean of the weights over the rounds is the result; here clients take as many steps as
    training says, and the weights kept are those of the best or the last round. A client of which no loss is known
    counts as one of the mean loss. FedJAX multiplies shares by exp(rate * F) instead, by which none ever becomes 0.
    """

    rate: float = option(0.01, "How fast the clients' shares follow their losses.", above=0)
    momentum: float = option(0.9, "Momentum of the server; the paper has none.", at_least=0, below=1)

    weighting: ClassVar[Weighting] = "factor"
    needs: ClassVar[frozenset[str]] = frozenset({"loss"})
    name: ClassVar[str] = "afl"
    card: ClassVar[Card] = Card(
        title="Agnostic averaging (AFL)",
        rule=(
            "Clients count by shares l that sum to 1, alike at first. Each round moves the weights along sum l d, and "
            "then the shares along the clients' losses: l <- nearest shares to l + rate * F."
        ),
        source="Mohri, Sivek, Suresh, ICML 2019, algorithm 1",
        use_when="a few plants, all of them there in each round, and the worst one is what counts",
        avoid_when=(
            "a plant's loss is high because its labels are wrong, or a plant may lie: it then decides alone; or many "
            "plants, of which only some train in a round"
        ),
        unbiased=False,
        notes=(
            "Each plant tells the server its mean training loss in clear, and may refuse (policy.signals); it then "
            "counts as one of the mean loss.",
            "On AI4I 2020, where one plant alone sees a failure mode (150 rounds, validation rows of three seeds), the "
            "worst plant's log loss was .24 with equal weights and .20 with rate .01, at an average precision of .74 "
            "each. With rate .1, which other implementations use with one step a round, shares swing under the "
            "server's momentum: .26, and an average precision of .68.",
            "A share that is 0 can rise again; its client trains meanwhile for nothing.",
            "Not with selection methods that weigh updates themselves.",
        ),
    )

    def init(self, num_parameters: int) -> Carry:
        """Return a momentum of zero, and no shares: how many clients there are is not known here."""
        return {**begun(self.momentum, num_parameters), "shares": np.zeros(0, np.float32)}

    def factors(self, carry: Carry, num_clients: int) -> Float64Array:
        """Return the clients' shares, (clients,)."""
        shares = carry["shares"]
        return shares.astype(np.float64) if len(shares) == num_clients else np.full(num_clients, 1 / num_clients)

    def finish(
        self, accumulator: Sums, weights: Float32Array, carry: Carry, closing: Closing = Closing()
    ) -> tuple[Float32Array, Carry]:
        """Return the moved weights; those before, where nobody answered whose share is above 0.

        Raises
        ------
        FederationError
            If nobody answered.
        """
        after = {**carry, "shares": self._shares(carry, closing)}
        if accumulator.num_updates and not accumulator.weight > 0:
            return weights, after
        return moved(weights, accumulator.mean(total=closing.total), after, self.momentum)

    def _shares(self, carry: Carry, closing: Closing) -> Float32Array:
        """Return the next shares, (clients,); as they were where no loss is known."""
        losses = np.full(closing.num_clients, np.nan)
        if "loss" in closing.told:
            losses[closing.told["clients"]] = closing.told["loss"]
        known = np.isfinite(losses)
        if not known.any():
            return carry["shares"]
        filled = np.where(known, losses, losses[known].mean())
        return on_simplex(self.factors(carry, len(losses)) + self.rate * filled).astype(np.float32)
